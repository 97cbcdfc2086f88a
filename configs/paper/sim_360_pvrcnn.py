"""`sim_360` with a small PV-RCNN: trains all rows of the paper's Waymo tables, three times as slowly."""

_base_ = '../ssal/pvrcnn_sim_360.py'

frames, more = 1000, 400  # that a model learns from: from random weights, and from trained ones; whatever the method
fine_tuning = dict(max_lr=0.003)  # stages that start from trained weights
scratch = dict(epochs=5, frames=frames)
further = dict(epochs=4, frames=more, schedule=fine_tuning)
# Thresholds of pseudo labels for a detector that has seen 1,000 frames; those of the articles let nothing pass.
lenient = dict(Car=0.3, Pedestrian=0.25, Cyclist=0.25)
stages = dict(
    normal=dict(**scratch),
    supervised=dict(**scratch),
    longer=dict(type='SupervisedStage', **further),  # the control: as many frames without unlabelled ones
    cpsp=dict(**further),
    final_cpsp=dict(**further),
    threedioumatch=dict(**further, method=dict(t_iou=lenient, t_sem=0.2)),
    joint3d=dict(**further, method=dict(t_score=lenient)),
    nal=dict(**further, tau=0.5),
    hssda=dict(**further),
)
del frames, more, fine_tuning, scratch, further, lenient  # parts of the above, no settings
