"""Learning loss (LLAL) on KITTI; the stage `loss_net` of the experiment trains the loss net."""

budget = 150  # boxes to buy with one query
stop_rule = 'include_crossing'  # or 'exclude_crossing': stop before the budget is crossed, after a look at the counts
empty_cost = 0  # what a frame without boxes costs
active_sampler = dict(
    type='LLALSampler',
    dontcare='none',  # or 'paper' / 'frame', as for CAL, to compare with it on the same pool
)
