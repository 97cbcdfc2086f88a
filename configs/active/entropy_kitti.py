"""Entropy of the predicted boxes on KITTI."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='EntropySampler',
    source='binary_score',  # of the final score; 'softmax_rpn': of the softmax of the column class_logits (CRB code)
)
