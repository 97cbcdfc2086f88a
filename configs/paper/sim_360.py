"""What every row of the paper's Waymo tables has in common on simulated drives, for CPUs: equal frames a stage.

`tools/reproduce.py` adds the row and the seed. Each seed has a pool of its own; all are measured on one set of frames.
"""

_base_ = '../ssal/pillars_sim_360.py'

frames, more = 6000, 2400  # that a model learns from: from random weights, and from trained ones; whatever the method
fine_tuning = dict(max_lr=0.005)  # stages that start from trained weights
scratch = dict(epochs=5, frames=frames)
further = dict(epochs=4, frames=more, schedule=fine_tuning)
stages = dict(
    normal=dict(**scratch),
    supervised=dict(**scratch),
    longer=dict(type='SupervisedStage', **further),  # the control: as many frames without unlabelled ones
    cpsp=dict(**further),
    final_cpsp=dict(**further),
    threedioumatch=dict(**further),
    joint3d=dict(**further),
    nal=dict(**further, tau=0.5),  # score of an automatic label; nothing reaches the article's 0.9 after so few steps
    hssda=dict(**further),
)
del frames, more, fine_tuning, scratch, further  # parts of the above, no settings
