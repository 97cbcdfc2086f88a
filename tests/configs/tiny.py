"""The smallest experiment that goes through every step: 12 frames, 12.8 m, two epochs a stage."""

_base_ = ['../../configs/ssal/pvrcnn_kitti_mini.py']

point_cloud_range = [0, -6.4, -3, 12.8, 6.4, 1]
anchors = dict(Pedestrian=dict(bottom=-1.7), Cyclist=dict(bottom=-1.7), Car=dict(bottom=-1.7))
model = dict(
    dense_cpu_dtype='float32',  # compared with the stock detector
    points_encoder=dict(num_keypoints=128),
    train_cfg=dict(rpn_proposal=dict(nms_pre=256, nms_post=32, max_num=32), rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(rpn=dict(nms_pre=64, nms_post=16, max_num=16), rcnn=dict(score_thr=0.05)),
)
train_dataloader = dict(num_workers=1, persistent_workers=True)  # as in real runs: workers must change nothing
pool_dataloader = dict(batch_size=2, num_workers=0, frames_per_part=2)
val_dataloader = dict(num_workers=0, persistent_workers=False)
query = dict(budget=4)
stages = dict(
    normal=dict(epochs=2, repeat=1),
    cpsp=dict(epochs=3, repeat=1, interval=1, bank=dict(k_first=2, k_next=2)),
    supervised=dict(epochs=2, repeat=1),
    final_cpsp=dict(epochs=2, repeat=1, interval=1, bank=dict(k_first=2, k_next=2)),
    loss_net=dict(epochs=2, repeat=1),
    threedioumatch=dict(epochs=2, repeat=1),
    joint3d=dict(epochs=2, repeat=1),
    nal=dict(epochs=2, repeat=1, tau=0.1),
    hssda=dict(epochs=2, repeat=1, mining=dict(interval=1)),
)
train_cfg = dict(initial=dict(query=dict(budget=5)))
