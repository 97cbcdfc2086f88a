"""What every row of the tables has in common on simulated streets, for CPUs: the pillar detector, equal frames a stage.

`tools/reproduce.py` adds the row and the seed. Each seed has a pool of its own; all are measured on one set of frames.
"""

_base_ = '../ssal/pillars_sim.py'

frames = 6000  # that a model learns from in each stage, whatever its labels and method
fine_tuning = dict(max_lr=0.005)  # stages that start from trained weights
scratch = dict(epochs=8, frames=frames)
further = dict(epochs=6, frames=frames, schedule=fine_tuning)
stages = dict(
    normal=dict(**scratch),
    supervised=dict(**scratch),
    longer=dict(type='SupervisedStage', **further),  # the control: as many frames without unlabelled ones
    cpsp=dict(**further),
    final_cpsp=dict(**further),
    threedioumatch=dict(**further),
    joint3d=dict(**further),
    nal=dict(**further),
    hssda=dict(**further),
)
del frames, fine_tuning, scratch, further  # parts of the above, no settings
