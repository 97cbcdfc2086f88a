"""What a config's settings imply is filled in: references, tables by class, schedules of stages."""

from pathlib import Path

import mmdet3d
import pytest
from mmengine.config import Config

from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.resolving import resolve

ANCHOR = dict(size=[4, 2, 1.5], bottom=-1.7, pos_iou_thr=0.6, neg_iou_thr=0.45)


def schedule_config(**stage):
    return {
        'schedule': {'max_lr': 0.01, 'end_lr': 0.0},
        'param_scheduler': [{'eta_min': '${schedule.max_lr}'}, {'eta_min': '${schedule.end_lr}'}],
        'stages': {'normal': {'epochs': 2}, 'cpsp': stage},
    }


def test_a_reference_is_the_value_of_its_key_and_part_of_a_text():
    found = resolve(
        {'a': {'b': [1, 2]}, 'whole': '${a.b}', 'one': '${a.b.1}', 'text': '${one}-${a.b.0}.pkl', 'c': ('${one}',)}
    )
    assert found == {'a': {'b': [1, 2]}, 'whole': [1, 2], 'one': 2, 'text': '2-1.pkl', 'c': (2,)}
    assert found['whole'] is not found['a']['b'], 'a later change of one is no change of the other'
    assert resolve(found) == found


def test_other_texts_with_dollars_and_braces_stay():
    content = {'a': '$HOME/{x}', 'b': '${}', 'c': '${ a }', 'd': float('inf'), 'e': None}
    assert resolve(content) == content


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ({'point_cloud_range': [], 'a': ['${point_cloud_rang}']}, "a.0: unknown reference 'point_cloud_rang'.*mean 'point_cloud_range'"),
        ({'a': {'c': 1}, 'b': '${a.d}'}, "b: unknown reference 'd': expected one of c"),
        ({'a': '${b}', 'b': '${c}', 'c': 'x${a}'}, 'circle, b -> c -> a -> b'),
        ({'a': [1], 'b': '${a}.pkl'}, r'b: \$\{a\} is \[1\], expected a text or number'),
        ({'head': '${num_classes}'}, 'head: .* follows from class_names, which the config lacks'),
        ({'class_names': ['Car'], 'num_classes': 3, 'head': '${num_classes}'}, 'num_classes: found 3, but it follows from'),
        ({'class_names': ['Car', 'Car']}, 'class_names: found .* expected different names'),
        ({'class_names': []}, 'class_names: found .* expected different names'),
        ({'class_names': ['Van'], 'anchors': {'Car': ANCHOR}, 'x': '${anchor_sizes}'}, "anchors: class 'Van' is missing; add"),
        ({'class_names': ['Car'], 'anchors': {'Car': ANCHOR, 'Caar': {'bottom': 1}}}, "anchors: found bottom for class 'Caar'"),
        ({'class_names': ['Car'], 'paste_groups': {'Van': 3}}, "paste_groups: class 'Car' is missing"),
        (
            {'point_cloud_range': [0, 0, 0, 1.05, 1, 1], 'voxel_size': [0.1] * 3, 'x': '${sparse_shape}'},
            'point_cloud_range: found 1.05 m along x, expected a whole number of voxels of 0.1 m',
        ),
        ({'point_cloud_range': [0, 1], 'voxel_size': [1] * 3, 'x': '${grid_size}'}, 'point_cloud_range: found .* expected 6'),
        (schedule_config(schedule={'max_rl': 1}), "unknown key of stages.cpsp.schedule 'max_rl'.*mean 'max_lr'"),
        ({**schedule_config(), 'schedule': {'max_lr': 1, 'end_rl': 2}}, "unknown key of schedule 'end_rl'"),
        (
            {**schedule_config(schedule={'max_lr': 1}), 'param_scheduler': [{'eta_min': 3}]},
            'stages.cpsp.schedule: found .* but param_scheduler refers to no',
        ),
    ],
)  # fmt: skip
def test_what_leads_to_no_value_is_named(content, said):
    with pytest.raises(UserError, match=said):
        resolve(content)


def test_tables_by_class_keep_the_chosen_classes():
    found = resolve(
        {
            'class_names': ['Car', 'Van'],
            'anchors': {name: ANCHOR for name in ('Pedestrian', 'Car', 'Van')},
            'paste_groups': {'Pedestrian': 1, 'Car': 2, 'Van': 3},
            'stages': {'a': {'t': {'Pedestrian': 1, 'Car': 2}, 'no_mid': ['Pedestrian', 'Car'], 'other': {'Truck': 1}}},
            'sampler': {'class_weights': {'Pedestrian': 1}, 'names': ['Pedestrian']},
        }
    )
    assert list(found['anchors']) == ['Car', 'Van']
    assert found['paste_groups'] == {'Car': 2, 'Van': 3}
    assert found['stages']['a'] == {'t': {'Car': 2}, 'no_mid': ['Car'], 'other': {'Truck': 1}}, (
        'Truck is for others to refuse'
    )
    assert found['sampler'] == {'class_weights': {}, 'names': ['Pedestrian']}


def test_a_table_of_a_used_stage_without_any_chosen_class_is_refused():
    content = {
        'class_names': ['Van'],
        'paste_groups': {'Car': 1, 'Van': 1},
        'stages': {'cpsp': {'false_positives': {'Car': 3}}, 'idle': {'false_positives': {'Car': 3}}},
        'train_cfg': {'rounds': [{'pretrain': ['cpsp']}], 'final': []},
    }
    with pytest.raises(UserError, match=r'stages\.cpsp\.false_positives: found Car, expected one of Van'):
        resolve(content)
    content['train_cfg'] = {'rounds': [], 'final': [['cpsp'], ['normal']]}
    with pytest.raises(UserError, match=r'stages\.cpsp\.false_positives'):
        resolve(content)
    content['train_cfg'] = {'by_epoch': True, 'max_epochs': 3}
    assert resolve(content)['stages']['idle']['false_positives'] == {}


def test_the_best_anchor_of_an_object_may_overlap_less_than_a_negative_one():
    anchors = {'Car': ANCHOR, 'Van': {**ANCHOR, 'min_pos_iou': 0.05}}
    found = resolve({'class_names': ['Van', 'Car'], 'anchors': anchors, 'x': '${anchor_assigners}'})['x']
    assert [entry['min_pos_iou'] for entry in found] == [0.05, 0.45]
    assert {(entry['pos_iou_thr'], entry['neg_iou_thr']) for entry in found} == {(0.6, 0.45)}


def test_a_schedule_of_a_stage_counts_for_that_stage():
    found = resolve(schedule_config(schedule={'max_lr': 0.003}, epochs=4))
    assert found['param_scheduler'] == [{'eta_min': 0.01}, {'eta_min': 0.0}]
    assert found['stages'] == {
        'normal': {'epochs': 2},
        'cpsp': {'epochs': 4, 'param_scheduler': [{'eta_min': 0.003}, {'eta_min': 0.0}]},
    }
    own = [{'eta_min': '${schedule.max_lr}', 'begin': 3}]
    found = resolve(schedule_config(schedule={'max_lr': 0.003}, param_scheduler=own))
    assert found['stages']['cpsp'] == {'param_scheduler': [{'eta_min': 0.003, 'begin': 3}]}
    assert resolve(found) == found


def test_the_name_of_a_config_stands_for_its_sampler(tmp_path):
    experiment = 'ssal3d::ssal/pvrcnn_kitti.py'
    annotated = read_config('ssal3d::active/entropy_kitti.py').active_sampler
    options = {'active_sampler': 'configs/active/entropy_kitti.py', 'active_sampler.source': 'softmax_rpn'}
    found = read_config(experiment, options, custom_imports=False).active_sampler
    assert found == {**annotated, 'source': 'softmax_rpn'}
    (tmp_path / 'mine.py').write_text(
        f"_base_ = '{experiment}'\nactive_sampler = 'ssal3d::active/entropy_kitti.py'\n"
        "train_cfg = dict(rounds=[dict(pretrain=['normal'], sampler='ssal3d::active/badge_kitti.py')])\n"
    )
    config = read_config(tmp_path / 'mine.py', custom_imports=False)
    assert config.active_sampler == annotated
    assert config.train_cfg.rounds[0].sampler == read_config('ssal3d::active/badge_kitti.py').active_sampler
    with pytest.raises(UserError, match=r'active_sampler: configs/_base_/stages_kitti\.py has no active_sampler'):
        read_config(experiment, {'active_sampler': 'configs/_base_/stages_kitti.py'}, custom_imports=False)
    with pytest.raises(UserError, match=r"no such config.*did you mean 'ssal3d::active/entropy_kitti\.py'"):
        read_config(experiment, {'active_sampler': 'configs/active/entropi_kitti.py'}, custom_imports=False)


def test_a_config_of_mmdetection3d_is_read_as_it_is():
    path = Path(mmdet3d.__file__).parent / '.mim/configs/pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py'
    assert read_config(path, custom_imports=False).to_dict() == Config.fromfile(path).to_dict()
