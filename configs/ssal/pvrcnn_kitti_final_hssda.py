"""S-SSAL with HSSDA as the final model, as in the paper's KITTI tables."""

_base_ = './pvrcnn_kitti.py'
train_cfg = dict(final=['supervised', 'hssda'])
