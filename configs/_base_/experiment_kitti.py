"""The experiment of S-SSAL on KITTI, whatever the detector: a random start, one round with a query, the final model."""

train_cfg = dict(
    type='ActiveLearningLoop',
    initial=dict(sampler=dict(type='RandomSampler'), query=dict(budget=200)),  # boxes of the random start
    rounds=[dict(pretrain=['normal', 'cpsp'])],  # each: train, predict, query; its own sampler and query come first
    final=['supervised', 'final_cpsp'],  # from random weights on everything that was bought
    annotator=dict(
        type='SimulatedAnnotator',  # reveals a frame's labels when it is bought
        reveal_dontcare=False,  # True: an oracle, lets query.dontcare see DontCare regions of frames that nobody bought
    ),
)
