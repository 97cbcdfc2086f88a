"""One cycle of the learning rate over a whole stage, as in the authors' release.

Written for 80 epochs; a stage of another length stretches it to its own `epochs`.
"""

schedule = dict(  # of every stage; a stage's own schedule=dict(max_lr=...) counts for that stage
    max_lr=0.01,  # highest learning rate
    end_lr=1e-7,  # last learning rate
)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW',
        lr=0.001,  # first learning rate
        betas=(0.95, 0.99),  # of both moments; the schedule moves the first
        weight_decay=0.01,  # of all weights
    ),
    clip_grad=dict(max_norm=10, norm_type=2),  # of all gradients together
)
rise = dict(begin=0, end=32, T_max=32, by_epoch=True, convert_to_iter_based=True)  # half a cosine up
fall = dict(begin=32, end=80, T_max=48, by_epoch=True, convert_to_iter_based=True)  # half a cosine down
param_scheduler = [  # stepped every iteration; the first moment's beta moves against the learning rate
    dict(type='CosineAnnealingLR', eta_min='${schedule.max_lr}', **rise),
    dict(type='CosineAnnealingLR', eta_min='${schedule.end_lr}', **fall),
    dict(type='CosineAnnealingMomentum', eta_min=0.85, **rise),
    dict(type='CosineAnnealingMomentum', eta_min=0.95, **fall),
]
del rise, fall  # parts of the above, no settings
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
