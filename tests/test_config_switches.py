"""A child config or --cfg-options that sets one of the few switches reaches every place that depends on it."""

import json

import pytest
from mmdet3d.registry import MODELS
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import ROOT

DETECTORS = ('pvrcnn_kitti', 'second_kitti', 'pointpillars_kitti', 'centerpoint_kitti')
ALL = ('Pedestrian', 'Cyclist', 'Car')
WAYS = ('child', 'options')


@pytest.fixture(params=DETECTORS)
def detector(request):
    return request.param


@pytest.fixture(params=WAYS)
def changed(request, detector, tmp_path):
    """Return a function that reads the experiment with settings changed in a child config, or on the command line."""

    def read(**settings):
        path = ROOT / 'configs' / 'ssal' / f'{detector}.py'
        if request.param == 'options':
            return read_config(path, settings)
        lines = (f'{name} = {value!r}' for name, value in settings.items())
        (tmp_path / 'child.py').write_text('\n'.join((f"_base_ = '{path}'", *lines, '')))
        return read_config(tmp_path / 'child.py')

    return read


def pipelines(config):
    names = ('labelled_pipeline', 'pseudo_pipeline', 'student_pipeline', 'test_pipeline')
    return [config[name] for name in names] + [
        config[f'{kind}_dataloader'].dataset.pipeline for kind in ('val', 'test')
    ]


def parts_of(model):
    return [part for part in model.values() if isinstance(part, dict)]


def part(config, *names):
    return next(config.model[name] for name in names if name in config.model)


def head_of(config):
    return part(config, 'rpn_head', 'bbox_head', 'pts_bbox_head')


def assigners(config):
    return (config.model.train_cfg.rpn if 'rpn_head' in config.model else config.model.train_cfg).assigner


def run_of(config, name, tmp_path):
    inputs = StageInputs(tmp_path / name, tmp_path / 'labels.json', tmp_path / 'x.pth', tmp_path / 'predictions')
    return STAGES.build(dict(config.stages[name])).build_config(config, inputs)


def test_point_cloud_range(changed, tmp_path):
    limits = [0, -25.6, -3, 51.2, 25.6, 1]
    config = changed(point_cloud_range=limits)
    steps = [step for pipeline in pipelines(config) for step in pipeline if 'point_cloud_range' in step]
    assert len(steps) == 8
    assert all(step.point_cloud_range == limits for step in steps)
    model, size = config.model, config.voxel_size
    assert model.data_preprocessor.voxel_layer.point_cloud_range == limits
    assert all(part.point_cloud_range == limits for part in parts_of(model) if 'point_cloud_range' in part)
    x, y, z = (round((limits[3 + axis] - limits[axis]) / size[axis]) for axis in range(3))
    encoder = part(config, 'middle_encoder', 'pts_middle_encoder')
    assert encoder.get('output_shape', encoder.get('sparse_shape')) == ([y, x] if z == 1 else [z + 1, y, x])
    if 'anchor_generator' in head_of(config):
        for anchors in head_of(config).anchor_generator.ranges:
            assert [anchors[k] for k in (0, 1, 3, 4)] == [limits[k] for k in (0, 1, 3, 4)]
    else:
        assert model.train_cfg.pts.point_cloud_range == limits
        assert model.train_cfg.pts.grid_size == [x, y, z]
        assert model.test_cfg.pts.pc_range == head_of(config).bbox_coder.pc_range == limits[:2]
        expected = [-10, -35.6, -10, 61.2, 35.6, 10]
        assert model.test_cfg.pts.post_center_limit_range == pytest.approx(expected)
        assert head_of(config).bbox_coder.post_center_range == pytest.approx(expected)
    assert '70.4' not in json.dumps(config.to_dict()), 'nothing keeps the old range'
    run = run_of(config, 'cpsp', tmp_path)
    view = run.train_dataloader.dataset.backgrounds.dataset.pipeline
    assert [step.point_cloud_range for step in view if 'point_cloud_range' in step] == [limits] * 2


def test_voxel_size(changed):
    before = changed().voxel_size
    size = [2 * before[0], 2 * before[1], before[2]]
    config = changed(voxel_size=size)
    limits = config.point_cloud_range
    assert config.model.data_preprocessor.voxel_layer.voxel_size == size
    parts = [*parts_of(config.model), config.model.train_cfg.get('pts', {})]
    assert all(part.voxel_size == size for part in parts if 'voxel_size' in part)
    x, y, z = (round((limits[3 + axis] - limits[axis]) / size[axis]) for axis in range(3))
    encoder = part(config, 'middle_encoder', 'pts_middle_encoder')
    assert encoder.get('output_shape', encoder.get('sparse_shape')) == ([y, x] if z == 1 else [z + 1, y, x])
    if 'pts' in config.model.test_cfg:
        assert config.model.test_cfg.pts.voxel_size == head_of(config).bbox_coder.voxel_size == size[:2]


@pytest.mark.parametrize('names', [['Car'], ['Car', 'Pedestrian'], 'Cyclist'], ids=str)
def test_class_names(changed, names, tmp_path):
    config = changed(class_names=names)
    names = [names] if isinstance(names, str) else names
    head = head_of(config)
    for dataset in (config.pool_dataset, config.val_dataloader.dataset, config.test_dataloader.dataset):
        assert dataset.metainfo.classes == names
    sizes = {'Pedestrian': [0.8, 0.6, 1.73], 'Cyclist': [1.76, 0.6, 1.73], 'Car': [3.9, 1.6, 1.56]}
    if 'anchor_generator' in head:
        assert head.num_classes == len(names)
        assert head.anchor_generator.sizes == [sizes[name] for name in names]
        assert [anchors[2] for anchors in head.anchor_generator.ranges] == [
            -1.78 if name == 'Car' else -0.6 for name in names
        ]
        assert len(assigners(config)) == len(names)
        assert [entry.pos_iou_thr == 0.6 for entry in assigners(config)] == [name == 'Car' for name in names]
    else:
        assert [name for task in head.tasks for name in task.class_names] == names
        radii = {'Pedestrian': 0.3, 'Cyclist': 0.6, 'Car': 2}
        assert config.model.test_cfg.pts.min_radius == [radii[name] for name in names]
    if 'roi_head' in config.model:
        assert config.model.roi_head.num_classes == config.model.roi_head.bbox_head.num_classes == len(names)
        assert len(config.model.train_cfg.rcnn.assigner) == len(names)
    pasted = [step.groups for pipeline in pipelines(config) for step in pipeline if step.type == 'PasteObjects']
    assert [set(groups) for groups in pasted] == [set(names)] * 2
    assert set(config.stages.cpsp.false_positives) == set(names)
    assert set(config.stages.threedioumatch.method.t_iou) == set(names)
    assert set(config.stages.hssda.method.no_mid) == {'Pedestrian'} & set(names)
    assert set(config.active_sampler.class_weights) == set(names)
    text = json.dumps(config.to_dict())
    assert [name for name in ALL if f'"{name}"' in text] == [name for name in ALL if name in names]
    init_default_scope('mmdet3d')
    MODELS.build(config.model)
    for name in ('normal', 'cpsp'):
        assert run_of(config, name, tmp_path).pool_dataset.metainfo.classes == names


def test_an_own_class(changed):
    settings = dict(class_names=['Car', 'Van'], **{'paste_groups': dict(Car=15, Van=5)})
    with pytest.raises(UserError, match="'Van' is missing"):
        changed(**settings)
    size = dict(size=[5.0, 1.9, 2.2], bottom=-1.78, pos_iou_thr=0.6, neg_iou_thr=0.45)
    config = changed(**settings, anchors=dict(Van=size), nms_radius=dict(Car=2, Van=3))
    assert config.pool_dataset.metainfo.classes == ['Car', 'Van']
    if 'anchor_generator' in head_of(config):
        assert head_of(config).anchor_generator.sizes == [[3.9, 1.6, 1.56], [5.0, 1.9, 2.2]]
    else:
        assert config.model.test_cfg.pts.min_radius == [2, 3]


def test_paste_groups(changed, tmp_path):
    config = changed(paste_groups=dict(Car=1))
    expected = {'Pedestrian': 10, 'Cyclist': 10, 'Car': 1}
    pasted = [step.groups for pipeline in pipelines(config) for step in pipeline if step.type == 'PasteObjects']
    assert pasted == [expected] * 2
    run = run_of(config, 'normal', tmp_path)
    pipeline = run.train_dataloader.dataset.dataset.dataset.pipeline
    assert [step.groups for step in pipeline if step.type == 'PasteObjects'] == [expected]


@pytest.mark.parametrize('share', [None, 0.5])
def test_annotated_share_of_pseudo_scenes(changed, share, tmp_path):
    run = run_of(changed(stages=dict(cpsp=dict(annotated_share=share))), 'cpsp', tmp_path)
    scenes = run.train_dataloader.dataset.backgrounds.dataset.pipeline
    labelled = run.train_dataloader.dataset.labelled.dataset.pipeline
    steps = [step for pipeline in (scenes, labelled) for step in pipeline if step.type == 'PasteObjects']
    assert [step.get('annotated_share') for step in steps] == [share, None]


def test_schedule(changed, tmp_path):
    config = changed(schedule=dict(max_lr=0.007))
    for name in ('normal', 'cpsp', 'supervised', 'final_cpsp'):
        scheduler = run_of(config, name, tmp_path).param_scheduler
        assert scheduler[0].eta_min == 0.007
        assert scheduler[1].eta_min == 1e-7
        assert max(entry.end for entry in scheduler) == config.stages[name].epochs
    config = changed(stages=dict(cpsp=dict(schedule=dict(max_lr=0.002), epochs=10)))
    peak = {
        name: run_of(config, name, tmp_path).param_scheduler[0].eta_min for name in ('normal', 'cpsp', 'final_cpsp')
    }
    assert peak == {'normal': config.schedule.max_lr, 'cpsp': 0.002, 'final_cpsp': config.schedule.max_lr}
    assert run_of(config, 'cpsp', tmp_path).param_scheduler[0].end == 4


def test_another_param_scheduler_and_optimiser(changed, tmp_path):
    steps = dict(type='MultiStepLR', milestones=[40, 60], end=80)
    config = changed(param_scheduler=[steps], optim_wrapper=dict(optimizer=dict(lr=0.02)))
    config.stages.normal.epochs = 20
    run = run_of(config, 'normal', tmp_path)
    assert run.param_scheduler == [dict(steps, milestones=[10, 15], end=20)]
    assert run.optim_wrapper.optimizer.lr == 0.02


def test_data_root(changed, tmp_path):
    config = changed(data_root='elsewhere')
    for dataset in (config.pool_dataset, config.val_dataloader.dataset, config.test_dataloader.dataset):
        assert dataset.data_root == 'elsewhere'
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert evaluator.ann_file == 'elsewhere/kitti_infos_val.pkl'
    assert 'data/kitti' not in json.dumps(config.to_dict())
    assert run_of(config, 'normal', tmp_path).train_dataloader.dataset.dataset.dataset.data_root == 'elsewhere'


def test_what_a_user_sets_himself_stays(changed):
    """Whether it contradicts is for a check to say; nothing is overwritten in silence."""
    name = 'pts_middle_encoder' if 'pts_middle_encoder' in changed().model else 'middle_encoder'
    config = changed(point_cloud_range=[0, -32, -3, 51.2, 32, 1], model={name: dict(sparse_shape=[1, 2, 3])})
    assert config.model[name].sparse_shape == [1, 2, 3]
    config = changed(class_names=['Car'], pool_dataset=dict(metainfo=dict(classes=['Car', 'Pedestrian'])))
    assert config.pool_dataset.metainfo.classes == ['Car', 'Pedestrian']
    assert config.val_dataloader.dataset.metainfo.classes == ['Car']


@pytest.mark.parametrize('experiment', ['pvrcnn_sim', 'pvrcnn_kitti_mini', 'pillars_sim', 'pillars_sim_demo'])
def test_derived_experiments_follow_too(experiment):
    settings = dict(point_cloud_range=[0, -12.8, -3, 25.6, 12.8, 1], class_names=['Car'], data_root='there')
    config = read_config(ROOT / 'configs' / 'ssal' / f'{experiment}.py', settings)
    steps = [step for pipeline in pipelines(config) for step in pipeline if 'point_cloud_range' in step]
    assert all(step.point_cloud_range == settings['point_cloud_range'] for step in steps)
    assert head_of(config).num_classes == len(head_of(config).anchor_generator.ranges) == 1
    assert config.val_evaluator.ann_file == 'there/kitti_infos_val.pkl'


def test_the_metric_measures_the_chosen_classes(changed):
    assert 'classes' not in changed(class_names=['Car']).val_evaluator, 'it takes those of the data set'
