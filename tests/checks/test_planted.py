"""Contradictions that people write into configs, found before training, with key, found and expected."""

import pytest

from ssal3d.checks import check_experiment
from ssal3d.configs import read_config
from tests.helpers.paths import ROOT

PVRCNN, PILLARS, CENTRE = 'pvrcnn_sim', 'pillars_sim', 'centerpoint_kitti'
HEADS = 'roi_head=dict(num_classes={0}, bbox_head=dict(num_classes={0}))'


# A config that copies a value, as MMDetection3D's do.
BEFORE = f"""_base_ = '{ROOT}/configs/ssal/pvrcnn_sim.py'
near = [0, -32, -3, 51.2, 32, 1]
test_pipeline = [dict(type='PointsRangeFilter', point_cloud_range=near), dict(type='Pack3DDetInputs', keys=['points'])]
"""


def findings(tmp_path, base: str, text: str, overrides=None):
    """Check a config that inherits from a shipped one, as a user would write it."""
    path, shipped = tmp_path / 'mine.py', f'{ROOT}/configs/ssal/{base}.py'
    if base == 'mine_before':
        shipped = 'before.py'
        (tmp_path / shipped).write_text(BEFORE)
    path.write_text(f"_base_ = '{shipped}'\n{text}\n")
    config = read_config(str(path), overrides)
    return [finding for outcome in check_experiment(config) for finding in outcome.findings]


# Base, lines of the config, dotted key, what was found, what was expected.
PLANTED = {
    'range of the voxels alone': (
        PVRCNN,
        'model = dict(data_preprocessor=dict(voxel_layer=dict(point_cloud_range=[-51.2, -32, -3, 51.2, 32, 1])))',
        'model.middle_encoder.sparse_shape',
        '[41, 320, 256]',
        '[41, 320, 512]',
    ),
    'range of the points encoder alone': (
        PVRCNN,
        'model = dict(points_encoder=dict(point_cloud_range=[0, -40, -3, 70.4, 40, 1]))',
        'model.points_encoder.point_cloud_range',
        '[0, -40, -3, 70.4, 40, 1]',
        '[0, -32, -3, 51.2, 32, 1]',
    ),
    'range of the pillars alone': (
        PILLARS,
        'model = dict(voxel_encoder=dict(point_cloud_range=[0, -40, -3, 70.4, 40, 1]))',
        'model.voxel_encoder.point_cloud_range',
        '[0, -40, -3, 70.4, 40, 1]',
        '[0, -25.6, -3, 44.8, 25.6, 1]',
    ),
    'a range upside down': (
        PVRCNN,
        'model = dict(data_preprocessor=dict(voxel_layer=dict(point_cloud_range=[51.2, -32, -3, 0, 32, 1])))',
        'model.data_preprocessor.voxel_layer.point_cloud_range',
        '[51.2,',
        'larger maximum',
    ),
    'size of the voxels alone': (
        PVRCNN,
        'model = dict(data_preprocessor=dict(voxel_layer=dict(voxel_size=[0.1, 0.1, 0.1])))',
        'model.points_encoder.voxel_size',
        '[0.2, 0.2, 0.1]',
        '[0.1, 0.1, 0.1]',
    ),
    'size of the pillars in the encoder alone': (
        PILLARS,
        'model = dict(voxel_encoder=dict(voxel_size=[0.16, 0.16, 4]))',
        'model.voxel_encoder.voxel_size',
        '[0.16, 0.16, 4]',
        '[0.2, 0.2, 4]',
    ),
    'canvas of the pillars': (
        PILLARS,
        'model = dict(middle_encoder=dict(output_shape=[496, 432]))',
        'model.middle_encoder.output_shape',
        '[496, 432]',
        '[256, 224]',
    ),
    'voxels that do not divide the range': (
        PILLARS,
        'model = dict(data_preprocessor=dict(voxel_layer=dict(voxel_size=[0.3, 0.3, 4])), '
        'voxel_encoder=dict(voxel_size=[0.3, 0.3, 4]))',
        'model.data_preprocessor.voxel_layer.voxel_size',
        '149.33 voxels along x',
        'divides the range',
    ),
    'a grid that the encoder does not divide': (
        PVRCNN,
        'near = [0, -32, -3, 52.2, 32, 1]\n'
        'model = dict(data_preprocessor=dict(voxel_layer=dict(point_cloud_range=near)), '
        'points_encoder=dict(point_cloud_range=near), middle_encoder=dict(sparse_shape=[41, 320, 261]))',
        'model.data_preprocessor.voxel_layer.point_cloud_range',
        '261 voxels along x',
        'a multiple of 8 voxels',
    ),
    'grid of a heat map': (
        CENTRE,
        'model = dict(train_cfg=dict(pts=dict(grid_size=[1024, 1024, 40])))',
        'model.train_cfg.pts.grid_size',
        '[1024, 1024, 40]',
        '[1408, 1600, 40]',
    ),
    'results cut off': (
        CENTRE,
        'model = dict(pts_bbox_head=dict(bbox_coder=dict(post_center_range=[0, -20, -5, 40, 20, 5])))',
        'model.pts_bbox_head.bbox_coder.post_center_range',
        '[0, -20, -5, 40, 20, 5]',
        'holds [0, -40, -3, 70.4, 40, 1]',
    ),
    'corner of a coder': (
        CENTRE,
        'model = dict(test_cfg=dict(pts=dict(pc_range=[-51.2, -51.2])))',
        'model.test_cfg.pts.pc_range',
        '[-51.2, -51.2]',
        '[0, -40]',
    ),
    'anchors that cover another range': (
        PVRCNN,
        'model = dict(rpn_head=dict(anchor_generator=dict(ranges=[[0, -40, -0.6, 70.4, 40, -0.6]] * 3)))',
        'model.rpn_head.anchor_generator.ranges.0',
        '[0, -40, -0.6, 70.4, 40, -0.6]',
        '[0, -32, -0.6, 51.2, 32, -0.6]',
    ),
    'anchors above the range': (
        PVRCNN,
        'model = dict(rpn_head=dict(anchor_generator=dict(ranges=[[0, -32, 2, 51.2, 32, 2]] * 3)))',
        'model.rpn_head.anchor_generator.ranges.0',
        'z = 2 m',
        'between -3 and 1 m',
    ),
    'a pipeline cropped elsewhere': (
        PVRCNN,
        'test_pipeline = [dict(step, point_cloud_range=[0, -40, -3, 70.4, 40, 1]) '
        "if 'point_cloud_range' in step else step for step in _base_.test_pipeline]",
        'test_pipeline.1.point_cloud_range',
        '[0, -40, -3, 70.4, 40, 1]',
        '[0, -32, -3, 51.2, 32, 1]',
    ),
    'pseudo-scenes cropped elsewhere': (
        PILLARS,
        'pseudo_pipeline = [dict(step, point_cloud_range=[0, -20, -3, 40, 20, 1]) '
        "if 'point_cloud_range' in step else step for step in _base_.pseudo_pipeline]",
        'pseudo_pipeline',
        '[0, -20, -3, 40, 20, 1]',
        '[0, -25.6, -3, 44.8, 25.6, 1]',
    ),
    'other classes in the RPN': (
        PVRCNN,
        'model = dict(rpn_head=dict(num_classes=1))',
        'model.rpn_head.num_classes',
        '1',
        '3 (Pedestrian, Cyclist, Car)',
    ),
    'other classes in the last head': (
        PVRCNN,
        'model = dict(roi_head=dict(bbox_head=dict(num_classes=10)))',
        'model.roi_head.bbox_head.num_classes',
        '10',
        '3 (',
    ),
    'other classes in a single-stage head': (
        PILLARS,
        'model = dict(bbox_head=dict(num_classes=2))',
        'model.bbox_head.num_classes',
        '2',
        '3 (',
    ),
    'tasks in another order': (
        CENTRE,
        "model = dict(pts_bbox_head=dict(tasks=[dict(num_class=3, class_names=['Car', 'Pedestrian', 'Cyclist'])]))",
        'model.pts_bbox_head.tasks',
        'Car, Pedestrian, Cyclist',
        'Pedestrian, Cyclist, Car',
    ),
    'a task that counts wrongly': (
        CENTRE,
        'model = dict(pts_bbox_head=dict(tasks=[dict(num_class=2, class_names=["Pedestrian", "Cyclist", "Car"])]))',
        'model.pts_bbox_head.tasks.0.num_class',
        '2',
        '3 as its names',
    ),
    'too few anchors': (
        PVRCNN,
        'model = dict(rpn_head=dict(anchor_generator=dict(sizes=[[3.9, 1.6, 1.56]], '
        'ranges=[[0, -32, -1.78, 51.2, 32, -1.78]])))',
        'model.rpn_head.anchor_generator.sizes',
        '1 sizes',
        '3, one per class',
    ),
    'too few ranges of anchors': (
        PVRCNN,
        'model = dict(rpn_head=dict(anchor_generator=dict(ranges=[[0, -32, -1.78, 51.2, 32, -1.78]] * 2)))',
        'model.rpn_head.anchor_generator.ranges',
        '2 ranges of 3 sizes',
        '3, or one for all',
    ),
    'too few assigners': (
        PILLARS,
        "model = dict(train_cfg=dict(assigner=[dict(type='Max3DIoUAssigner')]))",
        'model.train_cfg.assigner',
        '1 assigners',
        '3 (Pedestrian, Cyclist, Car), one per class',
    ),
    'classes in another order than the anchors': (
        PVRCNN,
        "names = dict(classes=['Car', 'Pedestrian', 'Cyclist'])\n"
        'pool_dataset = dict(metainfo=names)\n'
        'train_dataloader = dict(dataset=dict(dataset=dict(metainfo=names)))\n'
        'val_dataloader = dict(dataset=dict(metainfo=names))\ntest_dataloader = val_dataloader',
        'model.rpn_head.anchor_generator.sizes.0',
        'anchors of 0.8 x 0.6 m for Car, like those of a pedestrian',
        'about 3.9 x 1.6 m',
    ),
    'anchors too coarse for pedestrians': (
        PVRCNN,
        'model = dict(neck=dict(upsample_strides=[1, 2]))',
        'model.rpn_head.anchor_generator.sizes.0',
        'of the places of a Pedestrian have one',
        '90 %',
    ),
    'a neck that gives other channels': (
        PVRCNN,
        'model = dict(neck=dict(out_channels=[32, 32]))',
        'model.rpn_head.in_channels',
        '128',
        '64 as the neck gives',
    ),
    'a backbone that takes other channels': (
        PVRCNN,
        'model = dict(backbone=dict(in_channels=256))',
        'model.backbone.in_channels',
        '256',
        '64 as the encoder gives',
    ),
    'a higher range than the encoder takes': (
        PVRCNN,
        'near = [0, -32, -3, 51.2, 32, 3]\n'
        'model = dict(data_preprocessor=dict(voxel_layer=dict(point_cloud_range=near)), '
        'points_encoder=dict(point_cloud_range=near), middle_encoder=dict(sparse_shape=[61, 320, 256]))',
        'model.backbone.in_channels',
        '64',
        '96 as the encoder gives',
    ),
    'another width of the points': (
        PVRCNN,
        'test_pipeline = [dict(_base_.test_pipeline[0], load_dim=5, use_dim=5), *_base_.test_pipeline[1:]]',
        'test_pipeline.0.use_dim',
        '5 values',
        '4 as model.voxel_encoder.num_features',
    ),
    'classes of the pool alone': (
        PVRCNN,
        "pool_dataset = dict(metainfo=dict(classes=['Car']))",
        'val_dataloader.dataset.metainfo.classes',
        'Pedestrian, Cyclist, Car',
        'Car as in pool_dataset',
    ),
    'paste groups of other classes': (
        PVRCNN,
        "labelled_pipeline = [dict(step, groups=dict(Person=5)) if 'groups' in step else step "
        'for step in _base_.labelled_pipeline]',
        'labelled_pipeline.2.groups',
        "class 'Person'",
        "did you mean 'Pedestrian'?",
    ),
    'false positives of other classes': (
        PVRCNN,
        'stages = dict(cpsp=dict(false_positives=dict(Van=3)))',
        'stages.cpsp.false_positives',
        "class 'Van'",
        'Pedestrian, Cyclist, Car',
    ),
    'thresholds of a later stage': (
        PVRCNN,
        "train_cfg = dict(final=['supervised', 'threedioumatch'])\n"
        'stages = dict(threedioumatch=dict(method=dict(t_iou=dict(_delete_=True, car=0.5))))',
        'stages.threedioumatch.method.t_iou',
        "class 'car'",
        "did you mean 'Car'?",
    ),
    'a threshold missing in a later stage': (
        PVRCNN,
        "train_cfg = dict(final=['supervised', 'joint3d'])\n"
        'stages = dict(joint3d=dict(method=dict(t_score=dict(_delete_=True, Car=0.5))))',
        'stages.joint3d.method.t_score',
        'no value for Pedestrian, Cyclist',
        'one for each of',
    ),
    'classes without label in a later stage': (
        PVRCNN,
        "train_cfg = dict(final=['supervised', 'hssda'])\nstages = dict(hssda=dict(method=dict(no_mid=['Person'])))",
        'stages.hssda.method.no_mid',
        "class 'Person'",
        'Pedestrian',
    ),
    'weights of the sampler': (
        PVRCNN,
        'active_sampler = dict(class_weights=dict(_delete_=True, truck=1.0))',
        'active_sampler.class_weights',
        "class 'truck'",
        'Pedestrian, Cyclist, Car',
    ),
    'thresholds of the metric': (
        PVRCNN,
        'val_evaluator = dict(iou_thresholds=dict(Bus=dict(bev=0.5)))',
        'val_evaluator.iou_thresholds',
        "class 'Bus'",
        'Pedestrian, Cyclist, Car',
    ),
    'classes of the metric': (
        PVRCNN,
        "val_evaluator = dict(classes=['Car', 'Tram'])",
        'val_evaluator.classes',
        "class 'Tram'",
        'Pedestrian, Cyclist, Car',
    ),
    'a stage that changes the model': (
        PVRCNN,
        "stages = dict(final_cpsp=dict(options={'model.rpn_head.num_classes': 2}))",
        'stages.final_cpsp.options -> model.rpn_head.num_classes',
        '2',
        '3 (',
    ),
    'a mistyped option of a stage that comes later': (
        PVRCNN,
        'stages = dict(hssda=dict(mining=dict(intervall=2)))',
        'stages.hssda.mining.intervall',
        'nothing reads',
        "'interval'?",
    ),
    'a mistyped setting of the query': (
        PVRCNN,
        'query = dict(bugdet=5)',
        'query.bugdet',
        'nothing reads',
        "'budget'?",
    ),
    'half a box': (PVRCNN, 'query = dict(budget=4.5)', 'query', '4.5', 'settings of a query'),
    'a mistyped setting of confidence': (
        PVRCNN,
        'stages = dict(cpsp=dict(bank=dict(k_frist=3)))',
        'stages.cpsp.bank.k_frist',
        'nothing reads',
        "'k_first'?",
    ),
    'a mistyped option of pasting': (
        PVRCNN,
        "labelled_pipeline = [dict(step, min_point=3) if 'groups' in step else step for step in _base_.labelled_pipeline]",
        'labelled_pipeline.2.min_point',
        'of PasteObjects',
        "'min_points'?",
    ),
    'a mistyped option of a layer': (
        PVRCNN,
        'model = dict(backbone=dict(layer_num=[1, 1]))',
        'model.backbone.layer_num',
        'of SECOND',
        "'layer_nums'?",
    ),
    'a mistyped type': (
        PVRCNN,
        "model = dict(rpn_head=dict(type='ActivePartA2RPNHeads'))",
        'model.rpn_head.type',
        "'ActivePartA2RPNHeads'",
        "'ActivePartA2RPNHead'?",
    ),
    'a mistyped setting of the test': (
        PVRCNN,
        'model = dict(test_cfg=dict(rcnn=dict(_delete_=True, use_rotate_nms=True, use_raw_score=True, nms_thr=0.1, '
        'score_thrs=0.3)))',
        'model.test_cfg.rcnn.score_thrs',
        'does not read',
        "'score_thr'?",
    ),
    'a mistyped option of a loader': (
        PVRCNN,
        'train_dataloader = dict(batchsize=4)',
        'train_dataloader.batchsize',
        'nothing reads',
        "'batch_size'?",
    ),
    'a mistyped option of the loop': (
        PVRCNN,
        'train_cfg = dict(inital=dict(budget=3))',
        'train_cfg.inital',
        'of ActiveLearningLoop',
        "'initial'?",
    ),
    'a mistyped option of a purchase': (
        PVRCNN,
        'train_cfg = dict(initial=dict(querry=dict(budget=3)))',
        'train_cfg.initial.querry',
        'nothing reads',
        "'query'?",
    ),
    'a mistyped option of the prediction': (
        PVRCNN,
        'pool_dataloader = dict(batchsize=3)',
        'pool_dataloader.batchsize',
        'nothing reads',
        "'batch_size'?",
    ),
    'a mistyped option of the sampler': (
        PVRCNN,
        'active_sampler = dict(t_simm=0.8)',
        'active_sampler.t_simm',
        'of CALSampler',
        "'t_sim'?",
    ),
    'a mistyped name at the top': (
        PVRCNN,
        'paste_grups = dict(Car=5)',
        'paste_grups',
        'nothing reads',
        "'paste_groups'?",
    ),
    'a mistyped group at the top': (
        PVRCNN,
        'stage = dict(supervised=dict(epochs=1))',
        'stage',
        'nothing reads',
        "'stages'?",
    ),
    'a range of the user that was copied before': (
        'mine_before',
        'near = [0, -20, -3, 40, 20, 1]',
        'near',
        '[0, -20, -3, 40, 20, 1]',
        'point_cloud_range keeps the old [0, -32, -3, 51.2, 32, 1]',
    ),
    'a helper that nothing uses': (
        PVRCNN,
        "metainfo = dict(classes=['Car'])",
        'metainfo',
        'nothing reads',
        'remove it',
    ),
    'a mistyped setting of the test beside the right one': (
        PVRCNN,
        'model = dict(test_cfg=dict(rcnn=dict(score_thrr=0.3)))',
        'model.test_cfg.rcnn.score_thrr',
        'does not read',
        "'score_thr'?",
    ),
    'a mistyped list of classes': (
        PVRCNN,
        "pool_dataset = dict(metainfo=dict(clases=['Car']))",
        'pool_dataset.metainfo.clases',
        'nothing reads',
        "'classes'?",
    ),
    'a mistyped option of a hook that takes any': (
        PVRCNN,
        'default_hooks = dict(checkpoint=dict(intervall=5))',
        'default_hooks.checkpoint.intervall',
        'nothing reads',
        "'interval'?",
    ),
    'a mistyped hook': (
        PVRCNN,
        'default_hooks = dict(chekpoint=dict(interval=5))',
        'default_hooks.chekpoint',
        'nothing reads',
        "'checkpoint'?",
    ),
    'a mistyped limit of the gradient': (
        PVRCNN,
        'optim_wrapper = dict(clip_grad=dict(max_nrom=10))',
        'optim_wrapper.clip_grad.max_nrom',
        'nothing reads',
        "'max_norm'?",
    ),
    'a mistyped setting of processes': (
        PVRCNN,
        "env_cfg = dict(mp_cfg=dict(mp_start_methd='spawn'))",
        'env_cfg.mp_cfg.mp_start_methd',
        'nothing reads',
        "'mp_start_method'?",
    ),
    'settings of a mistyped stage': (
        PVRCNN,
        'stages = dict(suprvised=dict(epochs=1))',
        'stages.suprvised',
        'settings of no stage',
        "did you mean 'supervised'?",
    ),
    'a mistyped name in the options of a stage': (
        PVRCNN,
        "stages = dict(final_cpsp=dict(options={'train_dataloder.batch_size': 1}))",
        'stages.final_cpsp.options -> train_dataloder',
        'nothing reads',
        'a key of the config',
    ),
    'a mistyped key in the options of a stage': (
        PVRCNN,
        "stages = dict(final_cpsp=dict(options={'train_dataloader.batchsize': 1}))",
        'stages.final_cpsp.options -> train_dataloader.batchsize',
        'nothing reads',
        "'batch_size'?",
    ),
    'a stage that does not exist': (
        PVRCNN,
        "train_cfg = dict(final=['supervised', 'semii'])",
        'train_cfg.final',
        "stage 'semii'",
        'final_cpsp',
    ),
    'a name in place of a list of stages': (
        PVRCNN,
        "train_cfg = dict(final='supervised')",
        'train_cfg',
        "'supervised'",
        'stages that can be trained',
    ),
    'a method that the detector cannot do': (
        PILLARS,
        "train_cfg = dict(final=['supervised', 'threedioumatch'])",
        'train_cfg',
        "stage 'threedioumatch' (TeacherStudentStage) learns from 'rpn_scores_3d'",
        'ActiveVoxelNet',
    ),
    'a stage that needs another one before it': (
        PVRCNN,
        "train_cfg = dict(final=['nal'])",
        'stages.nal',
        'found no predictions to take labels from',
        'settings that the stage takes',
    ),
    'no epoch': (PVRCNN, 'stages = dict(normal=dict(epochs=0))', 'stages.normal.epochs', '0', 'at least 1'),
    'half a frame': (
        PVRCNN,
        'train_dataloader = dict(batch_size=1.5)',
        'train_dataloader.batch_size',
        '1.5',
        'a whole number of at least 1',
    ),
}


@pytest.mark.parametrize('name', PLANTED)
def test_a_planted_contradiction_is_found(tmp_path, name):
    base, text, key, found, expected = PLANTED[name]
    seen = findings(tmp_path, base, text)
    assert any(key in f.key and found in f.found and expected in f.expected for f in seen), [str(f) for f in seen]


@pytest.mark.parametrize(
    ('overrides', 'key', 'expected'),
    [
        ({'querry.budget': 5}, 'querry', "'query'?"),
        ({'stage.supervised.epochs': 1}, 'stage', "'stages'?"),
        ({'everything': 'new'}, 'everything', 'a key of the config'),
        ({'bugdet': 5}, 'bugdet', 'a key of the config'),
        ({'point_cloud_rage': [0, -20, -3, 40, 20, 1]}, 'point_cloud_rage', "'point_cloud_range'?"),
    ],
)
def test_names_of_the_command_line_that_nothing_reads_are_found(tmp_path, overrides, key, expected):
    seen = findings(tmp_path, 'pvrcnn_kitti', '', overrides)
    assert any(f.key == key and expected in f.expected for f in seen), [str(f) for f in seen]
