"""Every semi-supervised method as the final model: same labels, same start, same number of steps.

Run: torchrun --nproc_per_node 2 tools/train.py configs/ssal/pvrcnn_kitti_mini_methods.py --launcher pytorch
"""

_base_ = './pvrcnn_kitti_mini.py'

train_dataloader = dict(batch_size=2)  # over all processes; the command starts two
fine_tuning = dict(max_lr=0.003)
short = dict(epochs=2, repeat=3, schedule=fine_tuning)
# Thresholds for a detector that has seen some 50 frames; the precision in the log tells how good they are.
stages = dict(
    normal=dict(epochs=4, repeat=4),
    supervised=dict(epochs=8, repeat=6),
    longer=dict(type='SupervisedStage', **short),  # the control: as many steps without unlabelled frames
    final_cpsp=dict(**short, interval=1),
    threedioumatch=dict(**short, method=dict(t_iou=dict(Car=0.5, Pedestrian=0.4, Cyclist=0.4), t_sem=0.1)),
    joint3d=dict(**short, method=dict(t_score=dict(Car=0.5, Pedestrian=0.4, Cyclist=0.4))),
    nal=dict(**short, tau=0.5),
    hssda=dict(  # an epoch goes through all frames: about as many steps as the others
        epochs=1,
        schedule=fine_tuning,
        mining=dict(interval=1, defaults=dict(s=[0.6, 0.3], r=[0.3, 0.1], view_iou=[0.7, 0.5])),
    ),
)
methods = ['longer', 'final_cpsp', 'threedioumatch', 'joint3d', 'nal', 'hssda']
train_cfg = dict(
    rounds=[dict(pretrain=['normal'])],
    final=[['supervised'], *(['supervised', method] for method in methods)],
)
del fine_tuning, short, methods
