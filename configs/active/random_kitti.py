"""Random frames on KITTI: the baseline, and with `--budget 50 --unit frames` the start of an experiment."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='RandomSampler',
)
