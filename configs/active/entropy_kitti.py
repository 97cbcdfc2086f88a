"""Entropy of the predicted boxes on KITTI."""

budget = 150  # boxes to buy with one query
stop_rule = 'include_crossing'  # or 'exclude_crossing': stop before the budget is crossed, after a look at the counts
empty_cost = 0  # what a frame without boxes costs
active_sampler = dict(
    type='EntropySampler',
    source='binary_score',  # of the final score; 'softmax_rpn': of the softmax of the column class_logits (CRB code)
    dontcare='none',  # or 'paper' / 'frame', as for CAL, to compare with it on the same pool
)
