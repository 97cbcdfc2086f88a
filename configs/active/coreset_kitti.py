"""CoreSet on KITTI."""

budget = 150  # boxes to buy with one query
stop_rule = 'include_crossing'  # or 'exclude_crossing': stop before the budget is crossed, after a look at the counts
empty_cost = 0  # what a frame without boxes costs
active_sampler = dict(
    type='CoreSetSampler',
    init='min',  # distance to the nearest labelled frame; 'mean': root mean square of all of them (released code)
    pool='flatten',  # features of all RoIs in a row; 'mean' of the existing ones: shorter, and their order is of no account
    dontcare='none',  # or 'paper' / 'frame', as for CAL, to compare with it on the same pool
)
