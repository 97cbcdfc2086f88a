"""S-SSAL with PV-RCNN on own scans and classes, as `ssal3d create-data folder` converts them.

Everything that depends on the data stands in the first block; the rest follows from it. This is a template:
`ssal3d suggest FOLDER --out my.py` writes a copy whose first block comes from the labelled frames.

Run:      ssal3d train my.py
Continue: the same with --resume
"""

_base_ = [
    '../_base_/datasets/folder.py',
    '../_base_/models/pvrcnn_kitti.py',
    '../_base_/schedules/onecycle_80e.py',
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
anchors = dict(  # m: size (length, width, height) and bottom; BEV IoU: positive from, negative up to
    _delete_=True,
    car=dict(size=[4.2, 1.8, 1.6], bottom=-1.7, pos_iou_thr=0.6, neg_iou_thr=0.45),
    truck=dict(size=[8.0, 2.6, 3.2], bottom=-1.7, pos_iou_thr=0.6, neg_iou_thr=0.45),
    forklift=dict(size=[2.6, 1.3, 2.2], bottom=-1.7, pos_iou_thr=0.5, neg_iou_thr=0.35),
)
paste_groups = dict(car=15, truck=10, forklift=10)  # objects pasted per frame, by class
initial = dict(labels='${data_root}/labels/round_0.json')  # what is labelled already; or dict(sampler=..., query=...)
# --- end of what depends on the data

stages = dict(  # thresholds for all classes; tables by class as in _base_/stages_kitti.py need _delete_=True
    cpsp=dict(false_positives=3),
    threedioumatch=dict(method=dict(t_iou=0.5)),
    joint3d=dict(method=dict(t_score=0.7)),
    hssda=dict(method=dict(no_mid=[])),
)
active_sampler = dict(class_weights=None)  # those above are of KITTI's classes
train_cfg = dict(
    type='ActiveLearningLoop',
    initial=initial,
    rounds=[],  # e.g. [dict(pretrain=['normal', 'cpsp'])] * 2: train, choose frames, wait for their labels, twice
    final=['supervised', 'final_cpsp'],  # on everything that is labelled
    annotator=dict(
        type='FileAnnotator',  # people: frames go out as files, the run stops, --resume takes the labels
        format='json',  # of the annotation tool, see docs/annotate.md
        prelabels=dict(thresholds=0.5),  # score from which a predicted box is drawn already
        wait_for=1.0,  # share of the frames that must be labelled before the run goes on
    ),
)
del initial  # it is train_cfg.initial now
