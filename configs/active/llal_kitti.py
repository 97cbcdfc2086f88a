"""Learning loss (LLAL) on KITTI; the stage `loss_net` of the experiment trains the loss net."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='LLALSampler',
)
