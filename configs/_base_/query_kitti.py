"""What a query may spend and what it chooses from, for every sampler; a round of an experiment changes single keys."""

query = dict(
    budget=150,  # what one query may spend, in `unit`
    unit='boxes',  # or 'frames', or the cost of a frame and of each box, e.g. in seconds: dict(frame=10, box=5)
    stop_rule='include_crossing',  # or 'exclude_crossing': stop before the budget is crossed, after a look at the counts
    empty_cost=0,  # what a frame without boxes costs; with unit='boxes' alone
    cost_score='calibrated',  # score above which a predicted box counts, from labelled frames; a number, or by class
    dontcare='none',  # oracle: leave out frames with 3 boxes in DontCare regions ('paper'), or with any region ('frame')
)
