"""S-SSAL with PV-RCNN on own scans and classes, as `ssal3d create-data folder` converts them.

Everything that depends on the data stands in the first block; the rest follows from it. This is a template:
`ssal3d suggest FOLDER --out my.py` writes a copy whose first block comes from the labelled frames.

Run:      ssal3d train my.py
Continue: the same with --resume
"""

_base_ = [
    '../_base_/models/pvrcnn_kitti.py',
    '../_base_/stages_kitti.py',
    '../active/cal_kitti.py',
    '../_base_/default_runtime.py',
]

# --- what depends on the data
data_root = '{{$SSAL3D_FOLDER:data/folder/}}'  # or set the environment variable SSAL3D_FOLDER
tag = 'folder'  # prefix of the annotation files
class_names = ['car', 'truck', 'forklift']
point_cloud_range = [-54.4, -54.4, -3.0, 54.4, 54.4, 1.0]  # m: x, y, z minimum, then maximum
voxel_size = [0.1, 0.1, 0.1]  # m; the range must be a multiple of 16 voxels in x and y, and 40 voxels high
point_values = 4  # of a converted scan: x, y, z, intensity and what --columns kept
anchor_sizes = [[4.2, 1.8, 1.6], [8.0, 2.6, 3.2], [2.6, 1.3, 2.2]]  # m: length, width, height by class
anchor_bottoms = [-1.7, -1.7, -1.7]  # m: height of the bottom of the boxes by class
anchor_overlaps = [
    [0.6, 0.45],
    [0.6, 0.45],
    [0.5, 0.35],
]  # BEV IoU from which an anchor is positive, up to which negative
paste_groups = dict(car=15, truck=10, forklift=10)  # objects pasted per frame, by class
initial = dict(labels=data_root + '/labels/round_0.json')  # what is labelled already; or dict(sampler=..., query=...)
# --- end of what depends on the data

metainfo = dict(classes=class_names)
pool_dataset = dict(
    type='FolderDataset',
    data_root=data_root,
    ann_file=f'{tag}_infos_train.pkl',
    data_prefix=dict(pts='points'),
    modality=dict(use_lidar=True, use_camera=False),
    metainfo=metainfo,
    box_type_3d='LiDAR',
)

load_points = dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=point_values, use_dim=4)
flip = dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5)  # y -> -y
turn = dict(type='GlobalRotScaleTrans', rot_range=[-0.78539816, 0.78539816], scale_ratio_range=[0.95, 1.05])  # rad
crop = dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range)
augmentation = [
    flip,
    turn,
    crop,
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='PointShuffle'),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
]
paste = dict(
    type='PasteObjects',
    bank=None,  # set by the stage
    groups=paste_groups,
    mode='add',  # on top of what is there
    min_points=5,  # objects with fewer points are not pasted
    use_ground_plane=False,  # these frames have no road plane
)
labelled_pipeline = [
    load_points,
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(paste, sources=['ground_truth'], in_group_iou=0.0),
    *augmentation,
]
pseudo_pipeline = [
    load_points,
    dict(type='LoadBackground', bank=None),
    dict(paste, sources=['ground_truth', 'confident'], in_group_iou=0.3),
    *augmentation,
]
student_pipeline = [flip, turn, crop, dict(type='PointShuffle'), dict(type='Pack3DDetInputs', keys=['points'])]
test_pipeline = [load_points, crop, dict(type='Pack3DDetInputs', keys=['points'])]

train_dataloader = dict(
    batch_size=2,  # per process
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='UnlabelledView', dataset=dict(pool_dataset, pipeline=test_pipeline)),  # stages replace it
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pool_dataset, ann_file=f'{tag}_infos_val.pkl', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='LidarAPMetric',
    ann_file=f'{data_root}/{tag}_infos_val.pkl',
    ranges=[0, 30, 50, 80],  # m: edges of the bands
)
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.001, betas=(0.95, 0.99), weight_decay=0.01),
    clip_grad=dict(max_norm=10, norm_type=2),
)

_low, _high = point_cloud_range[:2], point_cloud_range[3:5]
_cells = [round((point_cloud_range[3 + axis] - point_cloud_range[axis]) / voxel_size[axis]) for axis in range(3)]
_assigner = dict(type='Max3DIoUAssigner', iou_calculator=dict(type='BboxOverlapsNearest3D'), ignore_iof_thr=-1)
_roi_assigner = dict(
    type='Max3DIoUAssigner',
    iou_calculator=dict(type='BboxOverlaps3D', coordinate='lidar'),
    pos_iou_thr=0.55,
    neg_iou_thr=0.55,
    min_pos_iou=0.55,
    ignore_iof_thr=-1,
)
model = dict(
    data_preprocessor=dict(voxel_layer=dict(point_cloud_range=point_cloud_range, voxel_size=voxel_size)),
    middle_encoder=dict(sparse_shape=[_cells[2] + 1, _cells[1], _cells[0]]),
    points_encoder=dict(point_cloud_range=point_cloud_range, voxel_size=voxel_size),
    rpn_head=dict(
        num_classes=len(class_names),
        anchor_generator=dict(
            ranges=[[*_low, bottom, *_high, bottom] for bottom in anchor_bottoms], sizes=anchor_sizes
        ),
    ),
    roi_head=dict(num_classes=len(class_names), bbox_head=dict(num_classes=len(class_names))),
    train_cfg=dict(
        rpn=dict(
            assigner=[
                dict(_assigner, pos_iou_thr=positive, neg_iou_thr=negative, min_pos_iou=negative)
                for positive, negative in anchor_overlaps
            ]
        ),
        rcnn=dict(assigner=[_roi_assigner] * len(class_names)),
    ),
)

stages = dict(
    cpsp=dict(false_positives=dict(dict.fromkeys(class_names, 3), _delete_=True)),
    threedioumatch=dict(method=dict(t_iou=dict(dict.fromkeys(class_names, 0.5), _delete_=True))),
    joint3d=dict(method=dict(t_score=dict(dict.fromkeys(class_names, 0.7), _delete_=True))),
    hssda=dict(method=dict(no_mid=[])),
)
active_sampler = dict(class_weights=None)  # those above are of KITTI's classes

train_cfg = dict(
    type='ActiveLearningLoop',
    initial=initial,
    rounds=[],  # e.g. [dict(pretrain=['normal', 'cpsp'])] * 2: train, choose frames, wait for their labels, twice
    final=['supervised', 'semi'],  # on everything that is labelled
    annotator=dict(
        type='FileAnnotator',  # people: frames go out as files, the run stops, --resume takes the labels
        format='json',  # of the annotation tool, see docs/annotate.md
        prelabels=dict(thresholds=0.5),  # score from which a predicted box is drawn already
        wait_for=1.0,  # share of the frames that must be labelled before the run goes on
    ),
    prediction=dict(batch_size=2, num_workers=2, frames_per_part=64),  # how the pool is predicted
)
