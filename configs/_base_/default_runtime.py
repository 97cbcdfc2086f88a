"""What every run shares: registration, hooks, log, environment."""

custom_imports = dict(imports=['ssal3d.register'], allow_failed_imports=False)  # add modules of your own
default_scope = 'mmdet3d'  # whose registries come first

randomness = dict(seed=2025)  # one seed for weights, data, sampling and selection
launcher = 'none'  # set by --launcher: none, pytorch, slurm or mpi
log_level = 'INFO'  # or 'WARNING', 'DEBUG'
resume = False  # set by --resume
load_from = None  # weights to start from; the stages of an experiment set their own

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),  # iterations between two log lines
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,  # True: faster with inputs of one size, not repeatable
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),  # of loader processes
    dist_cfg=dict(
        backend='cpu:gloo,cuda:nccl',  # gradients by NCCL, all else by gloo; gloo alone is chosen without a GPU
        timeout=6 * 3600,  # seconds that a process waits for the others, e.g. while rank 0 evaluates
    ),
)
log_processor = dict(
    type='LogProcessor',
    window_size=50,  # iterations of a mean
    by_epoch=True,  # count epochs, then iterations
    mean_pattern=r'.*(loss|time|data_time|grad_norm|pseudo).*',  # shown as means over the window, others as they are
)
vis_backends = [dict(type='LocalVisBackend')]  # add TensorboardVisBackend, WandbVisBackend, ... here
visualizer = dict(type='mmengine.Visualizer', vis_backends=vis_backends)
