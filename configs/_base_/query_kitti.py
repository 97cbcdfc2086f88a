"""What a query may spend and what it chooses from, the same for every sampler; a round of an experiment changes single keys."""

query = dict(
    budget=150,  # what one query may spend, in `unit`
    unit='boxes',  # or 'frames', or what a frame and each of its boxes cost, e.g. in seconds: dict(frame=10, box=5)
    stop_rule='include_crossing',  # or 'exclude_crossing': stop before the budget is crossed, after a look at the counts
    empty_cost=0,  # what a frame without boxes costs; with unit='boxes' alone
    cost_score='calibrated',  # score above which a predicted box counts, by class on labelled frames; or a number, or a dict
    dontcare='none',  # oracle, reads labels that nobody bought: leave out frames with 3 boxes ('paper') or any ('frame') in DontCare
)
