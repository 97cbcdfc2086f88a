"""Least confident frames on KITTI."""

budget = 150  # boxes to buy with one query
stop_rule = 'include_crossing'  # or 'exclude_crossing': stop before the budget is crossed, after a look at the counts
empty_cost = 0  # what a frame without boxes costs
active_sampler = dict(
    type='ConfidenceSampler',
    mode='least',  # doubt in a box: one minus its score; 'margin': nearness of the score to 0.5
    pool='mean',  # doubt in a frame: mean of its boxes; 'max': that of its least confident box
    dontcare='none',  # or 'paper' / 'frame', as for CAL, to compare with it on the same pool
)
