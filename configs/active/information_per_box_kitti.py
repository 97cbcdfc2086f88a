"""Information per box on KITTI: the frames that teach most for the boxes that they cost."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='InformationPerBoxSampler',
    # how much the boxes of a frame tell, given what was bought before
    dim=64,  # directions of the box features to keep
    sigma=0.5,  # noise of one look at a box; the lower, the less a second, equal box adds
    reference='query',  # new to this query; 'labelled': to the labelled frames, too
    balance=0.5,  # exponent of the weight 1 / (1 + boxes) of a class; 0: all classes alike, 1: strongest balance
    # what the frame costs
    cost='predicted',  # number of predicted boxes; 'expected': sum of their scores; 'none': all frames cost the same
    frame_cost=None,  # what opening a frame costs, in boxes; more: fewer, fuller frames; None: as the query's unit says
)
