"""S-SSAL on KITTI with PV-RCNN: 200 + 150 labelled boxes, one round, as in the paper.

Run:      python tools/train.py configs/ssal/pvrcnn_kitti.py
Continue: the same with --resume
"""

_base_ = [
    '../_base_/datasets/kitti.py',
    '../_base_/models/pvrcnn_kitti.py',
    '../_base_/stages_kitti.py',
    '../active/cal_kitti.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(
    type='ActiveLearningLoop',
    initial=dict(sampler=dict(type='RandomSampler'), budget=200),  # boxes of the random start
    rounds=[dict(pretrain=['normal', 'cpsp'])],  # each: train, predict the pool, query; sampler and budget from above
    final=['supervised', 'semi'],  # from random weights on everything that was bought
    annotator=dict(
        type='SimulatedAnnotator',  # reveals a frame's labels when it is bought
        reveal_dontcare=True,  # the paper's rule for KITTI reads DontCare regions of frames that nobody bought
    ),
    prediction=dict(batch_size=2, num_workers=2, frames_per_part=64),  # how the pool is predicted
)
