"""What every row of the paper's KITTI tables has in common; `tools/reproduce.py` adds the row and the seed.

The settings are fair to every row: one query for all samplers, no annotation that was not bought (no DontCare regions),
CAL's limits from labelled counts (Eq. 6) and not from KITTI's frequencies. `configs/ssal/pvrcnn_kitti_paper_query.py`
has the others.
"""

_base_ = '../ssal/pvrcnn_kitti.py'

stages = dict(
    longer=dict(  # the control of every semi-supervised final model: as many steps without unlabelled frames
        type='SupervisedStage',
        epochs=80,
        repeat=10,
    ),
)
