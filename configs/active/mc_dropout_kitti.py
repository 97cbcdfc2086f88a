"""Monte-Carlo dropout on KITTI."""

budget = 150  # boxes to buy with one query
stop_rule = 'include_crossing'  # or 'exclude_crossing': stop before the budget is crossed, after a look at the counts
empty_cost = 0  # what a frame without boxes costs
active_sampler = dict(
    type='MCDropoutSampler',
    mode='var_sum',  # variance of scores and residuals (CRB code); 'reg': residuals alone; 'mi': mutual information
    passes=5,  # dropout passes that the detector makes when it predicts the pool
    dontcare='none',  # or 'paper' / 'frame', as for CAL, to compare with it on the same pool
)
