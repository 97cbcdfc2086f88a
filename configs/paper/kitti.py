"""What every row of the paper's KITTI tables has in common; `tools/reproduce.py` adds the row, the seed and the budget.

The settings are fair to every row, as they are by default: no row sees annotations that it did not buy (DontCare regions), and
CAL's limits come from labelled counts (Eq. 6), not from KITTI's frequencies.
"""

_base_ = '../ssal/pvrcnn_kitti.py'

stages = dict(
    longer=dict(  # the control of every semi-supervised final model: as many steps without unlabelled frames
        type='SupervisedStage', epochs=80, repeat=10, schedule=_base_.schedule
    ),
    hssda=dict(options={'train_dataloader.batch_size': 12}),  # smaller batches ruin it, as its authors say
)
