"""BADGE on KITTI."""

budget = 150  # boxes to buy with one query
stop_rule = 'include_crossing'  # or 'exclude_crossing': stop before the budget is crossed, after a look at the counts
empty_cost = 0  # what a frame without boxes costs
active_sampler = dict(
    type='BADGESampler',
    layer='roi_cls',  # gradient of the last hidden layer of the RoI score branch; 'rpn_conv_cls': released code
    proj_dim=64,  # project both sides of the gradient matrix to so many dimensions; None: keep all
    dontcare='none',  # or 'paper' / 'frame', as for CAL, to compare with it on the same pool
)
