"""Least confident frames on KITTI."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='ConfidenceSampler',
    mode='least',  # doubt in a box: one minus its score; 'margin': nearness of the score to 0.5
    pool='mean',  # doubt in a frame: mean of its boxes; 'max': that of its least confident box
)
