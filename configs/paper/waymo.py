"""What every row of the paper's Waymo tables has in common; `tools/reproduce.py` adds the row and the seed.

The settings are fair to every row: one query for all samplers, CAL's limits from labelled counts (Eq. 6) and not from
Waymo's frequencies, which `configs/active/cal_waymo_released.py` has.
"""

_base_ = '../ssal/pvrcnn_waymo.py'

stages = dict(
    longer=dict(  # the control of every semi-supervised final model: as many steps without unlabelled frames
        type='SupervisedStage',
        epochs=30,
        repeat=15,
    ),
)
