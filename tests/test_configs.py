"""Every shipped config loads, and every stage of every experiment becomes a complete run config."""

from pathlib import Path

import pytest
from mmdet3d.registry import MODELS
from mmengine.config import Config

import ssal3d.register  # noqa: F401
from ssal3d.config_text import config_text
from ssal3d.configs import read_config
from ssal3d.loop.chains import order_stages
from ssal3d.loop.querying import build_sampler
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / 'configs' / 'ssal').glob('*.py'))
ABLATIONS = [
    path for path in EXPERIMENTS if path.stem.startswith('pvrcnn_kitti_') and 'pvrcnn_kitti.py' in path.read_text()
]
# What mmengine's Runner takes, and what an experiment has beside it; anything else would be a key without effect.
OF_THE_RUNNER = {
    *('model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg', 'test_cfg'),
    *('optim_wrapper', 'param_scheduler', 'val_evaluator', 'test_evaluator', 'default_hooks', 'load_from', 'resume'),
    *('launcher', 'env_cfg', 'log_processor', 'log_level', 'visualizer', 'default_scope', 'randomness'),
    *('custom_imports', 'vis_backends'),
}
PIPELINES = {'labelled_pipeline', 'pseudo_pipeline', 'student_pipeline', 'test_pipeline'}
OF_THE_EXPERIMENT = {'active_sampler', 'query', 'stages', 'pool_dataset', 'pool_dataloader'}
SETTINGS = {
    *(
        'data_root',
        'dataset_type',
        'scans',
        'tag',
        'class_names',
        'point_cloud_range',
        'voxel_size',
        'point_values',
        'use_ground_plane',
    ),
    *(
        'paste_groups',
        'anchors',
        'nms_radius',
        'roi_iou_thr',
        'schedule',
        'point_features',
        'mirror_ahead',
        'paste_mode',
    ),
}


@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda path: path.stem)
def test_every_stage_becomes_a_run(path, tmp_path):
    config = read_config(str(path))
    names = [name for entry in config.train_cfg.rounds for name in entry['pretrain']]
    names += [place.name for place in order_stages(config.train_cfg.final)]
    assert names
    for name in names:
        stage = STAGES.build(dict(config.stages[name]))
        inputs = StageInputs(tmp_path / name, tmp_path / 'round_0.json', tmp_path / 'x.pth', tmp_path / 'predictions')
        run = stage.build_config(config, inputs)
        again = Config.fromstring(config_text(run.to_dict()), '.py')
        assert again.to_dict() == run.to_dict()
        assert run.train_cfg.type == 'EpochBasedTrainLoop'
        assert 'stages' not in run
        text = config_text(run.train_dataloader.to_dict())
        assert 'bank=None' not in text
        assert MODELS.get(run.model.type) is not None
        assert str(tmp_path / name / 'bank') in text
    for entry in config.train_cfg.rounds:
        assert build_sampler(config, entry).config['type'] == config.active_sampler.type


@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda path: path.stem)
def test_data_and_model_agree_on_the_range_and_the_voxels(path):
    config = read_config(str(path))
    model, voxels = config.model, config.model.data_preprocessor.voxel_layer
    limits, size = voxels.point_cloud_range, voxels.voxel_size
    assert (limits, size) == (config.point_cloud_range, config.voxel_size)
    pipelines = [config.labelled_pipeline, config.pseudo_pipeline, config.test_pipeline]
    pipelines += [config.student_pipeline, config.val_dataloader.dataset.pipeline]
    steps = [step for pipeline in pipelines for step in pipeline if 'point_cloud_range' in step]
    assert len(steps) >= len(pipelines)
    parts = [part for part in model.values() if isinstance(part, dict) and 'point_cloud_range' in part]
    assert all(part.point_cloud_range == limits for part in (*steps, *parts))
    assert all(part.voxel_size == size for part in parts)
    cells = [round((limits[3 + axis] - limits[axis]) / size[axis]) for axis in (2, 1, 0)]
    encoder = model.get('middle_encoder', model.get('pts_middle_encoder'))
    if encoder.type == 'PointPillarsScatter':
        assert encoder.output_shape == cells[1:]
    else:
        assert encoder.sparse_shape == [cells[0] + 1, *cells[1:]]
    head = model.get('rpn_head', model.get('bbox_head', model.get('pts_bbox_head')))
    if 'anchor_generator' in head:
        for anchors in head.anchor_generator.ranges:
            assert [anchors[k] for k in (0, 1, 3, 4)] == [limits[k] for k in (0, 1, 3, 4)]
    else:
        training = model.train_cfg.pts
        assert (training.point_cloud_range, training.voxel_size) == (limits, size)
        assert training.grid_size == cells[::-1]
        assert head.bbox_coder.pc_range == model.test_cfg.pts.pc_range == limits[:2]
        assert [name for task in head.tasks for name in task.class_names] == config.class_names


@pytest.mark.parametrize('path', ABLATIONS, ids=lambda path: path.stem)
def test_ablations_are_short(path):
    assert len(path.read_text().splitlines()) <= 6
    assert read_config(path).to_dict() != read_config(ROOT / 'configs/ssal/pvrcnn_kitti.py').to_dict()


def test_there_are_twenty_ablations():
    assert len(ABLATIONS) >= 20


@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda path: path.stem)
def test_every_key_of_an_experiment_has_an_effect(path):
    config = read_config(path)
    assert set(config) <= OF_THE_RUNNER | PIPELINES | OF_THE_EXPERIMENT | SETTINGS
    assert '${' not in config_text(config.to_dict())


def test_names_of_configs_have_no_hyphen():
    assert [path for path in (ROOT / 'configs').rglob('*.py') if '-' in path.name] == []


@pytest.mark.parametrize('name', [path.stem[len('pvrcnn_kitti_') :] for path in ABLATIONS])
def test_an_experiment_with_another_sampler_inherits_its_annotated_file(name):
    path = ROOT / f'configs/active/{name}_kitti.py'
    if path.exists():
        config, annotated = read_config(ROOT / f'configs/ssal/pvrcnn_kitti_{name}.py'), read_config(path)
        assert {key: config[key] for key in annotated} == annotated.to_dict()


def test_the_paper_scale_numbers():
    config = read_config(ROOT / 'configs/ssal/pvrcnn_kitti.py')
    assert (config.train_cfg.initial.query.budget, config.query.budget) == (200, 150)
    own = ('normal', 'cpsp', 'supervised', 'final_cpsp')
    assert {config.stages[name].epochs for name in own} == {80}
    assert {name: config.stages[name].repeat for name in own} == {
        'normal': 10,
        'cpsp': 20,
        'supervised': 5,
        'final_cpsp': 10,
    }
    assert config.stages['final_cpsp'].get('false_positives') is None


SHARED = sorted((ROOT / 'configs/_base_').rglob('*.py'))


@pytest.mark.parametrize('path', SHARED, ids=lambda path: path.stem)
def test_every_setting_is_explained_where_it_stands(path):
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        name = line.partition(' = ')[0]
        if name in SETTINGS | PIPELINES | {'pool_dataloader', 'param_scheduler'}:
            assert '#' in line or lines[number - 1].startswith('#'), line


def test_every_key_of_the_experiment_is_explained():
    text = (ROOT / 'configs/_base_/experiment_kitti.py').read_text()
    for key in ('initial', 'rounds', 'final', 'reveal_dontcare'):
        line = next(line for line in text.splitlines() if f'{key}=' in line)
        assert '#' in line, line
