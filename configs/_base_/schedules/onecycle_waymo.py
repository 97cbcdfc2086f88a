"""One cycle of the learning rate over a whole stage, with a tenth of KITTI's weight decay (authors' release)."""

_base_ = './onecycle_80e.py'

optim_wrapper = dict(optimizer=dict(weight_decay=0.001))  # of all weights
