"""Monte-Carlo dropout on KITTI."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='MCDropoutSampler',
    mode='var_sum',  # variance of scores and residuals (CRB code); 'reg': residuals alone; 'mi': mutual information
    passes=5,  # dropout passes that the detector makes when it predicts the pool
)
