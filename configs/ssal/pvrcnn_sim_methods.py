"""Every semi-supervised method as the final model on simulated streets: same labels, same start, same number of steps.

Run: torchrun --nproc_per_node 2 tools/train.py configs/ssal/pvrcnn_sim_methods.py --launcher pytorch
"""

_base_ = './pvrcnn_sim.py'

fine_tuning = dict(max_lr=0.003)
short = dict(epochs=2, repeat=2, schedule=fine_tuning)
# Thresholds for a detector that has trained for minutes; the precision in the log tells how good they are.
stages = dict(
    normal=dict(epochs=2, repeat=3),
    supervised=dict(epochs=6, repeat=4),
    longer=dict(type='SupervisedStage', **short),  # the control: as many steps without unlabelled frames
    final_cpsp=dict(**short, interval=1),
    threedioumatch=dict(**short, method=dict(t_iou=0.35, t_sem=0.1)),
    joint3d=dict(**short, method=dict(t_score=0.35)),
    nal=dict(**short, tau=0.35),
    hssda=dict(  # an epoch goes through all frames: about as many steps as the others, of six frames
        epochs=1,
        schedule=fine_tuning,
        options=dict(train_dataloader=dict(batch_size=6)),  # over all processes
        mining=dict(interval=1, defaults=dict(s=[0.4, 0.3], r=[0.3, 0.1], view_iou=[0.7, 0.5])),
    ),
)
methods = ['longer', 'final_cpsp', 'threedioumatch', 'joint3d', 'nal', 'hssda']
train_cfg = dict(
    rounds=[dict(pretrain=['normal'])],
    final=[['supervised'], *(['supervised', method] for method in methods)],
    held_out_report=True,  # measures models and pseudo labels on the frames that stay unlabelled
)
del fine_tuning, short, methods
