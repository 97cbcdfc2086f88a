"""Shipped configs contradict nothing, and what a user may do to them does not either."""

import pytest
from mmengine.config import Config

from ssal3d.checks import check_experiment, refuse_contradictions
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from tests.helpers.paths import ROOT

EXPERIMENTS = sorted((ROOT / 'configs' / 'ssal').glob('*.py'))


@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda path: path.stem)
def test_a_shipped_experiment_has_no_contradiction(path):
    outcomes = check_experiment(read_config(str(path)))
    assert [str(finding) for outcome in outcomes for finding in outcome.findings] == []
    assert len(outcomes) >= 12


@pytest.mark.parametrize(
    'overrides',
    [
        {'query.budget': 5, 'stages.normal.epochs': 1, 'model.rpn_head.loss_cls.gamma': 1.0},
        {'randomness.deterministic': True, 'train_dataloader.prefetch_factor': 4, 'work_dir': 'x'},
        {'active_sampler.t_sim': 0.5, 'train_cfg.rounds': [], 'model.test_cfg.rcnn.score_thr': 0.3},
        {'default_hooks.early_stopping': dict(type='EarlyStoppingHook', monitor='loss', priority='LOW')},
        {
            'vis_backends': [dict(type='TensorboardVisBackend')],
            'stages.final_cpsp.options': {'train_dataloader.batch_size': 1},
        },
        {'class_names': ['Car']},
        {'class_names': ['Car', 'Cyclist', 'Pedestrian'], 'point_cloud_range': [-25.6, -32, -3, 51.2, 32, 1]},
        {'schedule.max_lr': 0.003, 'paste_groups.Car': 1, 'voxel_size': [0.1, 0.1, 0.1]},
    ],
)
def test_what_users_change_is_no_contradiction(overrides):
    outcomes = check_experiment(read_config('ssal3d::ssal/pvrcnn_sim.py', overrides))
    assert [
        str(finding) for outcome in outcomes for finding in outcome.findings if 'vis_backends' not in finding.key
    ] == []


def test_every_contradiction_is_told_and_the_first_one_is_the_error():
    config = read_config(
        'ssal3d::ssal/pvrcnn_sim.py', {'model.rpn_head.num_classes': 1, 'stages.normal.epochs': 0, 'querry': 1}
    )
    with pytest.raises(UserError, match=r"^querry: found .*, expected 'query'\? \(2 more contradictions"):
        refuse_contradictions(config)


def test_the_config_of_one_stage_is_checked_like_an_experiment(tmp_path):
    from ssal3d.registry import STAGES
    from ssal3d.stages.supervised import StageInputs

    config = read_config('ssal3d::ssal/pvrcnn_sim.py')
    for name in ('normal', 'cpsp', 'hssda', 'threedioumatch'):
        inputs = StageInputs(tmp_path / name, tmp_path / 'round_0.json', tmp_path / 'x.pth', tmp_path / 'predictions')
        run = Config(STAGES.build(dict(config.stages[name])).build_config(config, inputs).to_dict())
        assert [str(finding) for outcome in check_experiment(run) for finding in outcome.findings] == []
        key = 'model.detector.rpn_head.num_classes' if 'detector' in run.model else 'model.rpn_head.num_classes'
        run.merge_from_dict({key: 2})
        found = [finding for outcome in check_experiment(run) for finding in outcome.findings]
        assert [finding.key for finding in found] == [key]


@pytest.mark.parametrize(
    'name',
    [
        'second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py',
        'pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py',
        'centerpoint/centerpoint_voxel01_second_secfpn_8xb4-cyclic-20e_nus-3d.py',
        'votenet/votenet_8xb16_sunrgbd-3d.py',
    ],
)
def test_names_of_stock_configs_refuse_no_training(tmp_path, name):
    from ssal3d import compat

    compat.apply_all()
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = 'mmdet3d::{name}'\n")
    config = read_config(str(path))
    config.dump(tmp_path / 'dumped.py')
    for file in (path, tmp_path / 'dumped.py'):
        found = {outcome.name: outcome.findings for outcome in check_experiment(read_config(str(file)))}
        assert [
            str(finding) for check in ('names', 'options') for finding in found[check] if finding.severity == 'error'
        ] == []


@pytest.mark.parametrize(
    'overrides',
    [
        {'model.train_cfg.rpn.assigner.1.pos_iou_thr': 'x'},
        {'model.rpn_head.anchor_generator.ranges': -1},
        {'model.rpn_head.anchor_generator.sizes.0.1': []},
        {'model.middle_encoder.encoder_channels': 3.5},
        {'model.backbone.layer_strides.0': 'x'},
        {'train_cfg.rounds.0': None},
        {'train_cfg.rounds.0.pretrain': -1},
        {'train_cfg.initial.sampler': -1},
        {'active_sampler.type': 3.5},
        {'stages': []},
        {'model': []},
        {'student_pipeline.0': None},
        {'pool_dataset': 'x'},
        {'randomness': None},
        {'train_dataloader': {}},
        {'pool_dataset.metainfo.classes.1': 3.5},
    ],
    ids=str,
)
def test_a_value_of_a_wrong_type_is_an_error_of_the_user(overrides):
    content = read_config('ssal3d::ssal/pvrcnn_sim.py').to_dict()
    for key, value in overrides.items():
        place = content
        *above, last = (int(part) if part.isdigit() else part for part in key.split('.'))
        for part in above:
            place = place[part]
        place[last] = value
    with pytest.raises(UserError) as caught:
        refuse_contradictions(Config(content))
    assert '\n' not in str(caught.value)
