"""The Waymo converter: scans and annotation files, resumed, shared between machines, with damaged segments."""

import json
import os
import shutil

import numpy as np
import pytest
from mmdet3d.datasets import WaymoDataset
from mmdet3d.registry import DATASETS

import ssal3d.data.views
import ssal3d.data.waymo_dataset  # noqa: F401 - registers the data set
from ssal3d.data import waymo_segment
from ssal3d.data.counts import annotated_counts
from ssal3d.data.infos import read_infos
from ssal3d.data.label_state import LabelState
from ssal3d.data.waymo_converter import convert_waymo
from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import read_annotated_boxes
from tests.helpers import waymo_scene
from tests.helpers.waymo_scene import known_points, write_records, write_tables

SEGMENTS = [f'{k}000{k}_100_000_120_000' for k in (1, 2, 3)]
TRAINING = {'intervals': {'training': 2}, 'splits': ['training'], 'workers': 1}


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """Three segments of three, two and one frame for training, one for validation and one for testing."""
    root, frames = tmp_path_factory.mktemp('raw'), [waymo_scene.frame(number) for number in range(3)]
    for count, name in zip((3, 2, 1), SEGMENTS, strict=True):
        write_records(root / 'training' / f'segment-{name}_with_camera_labels.tfrecord', frames[:count], segment=name)
    write_records(root / 'validation' / 'segment-val.tfrecord', frames[1:2], segment='val')
    write_records(root / 'testing' / 'segment-test.tfrecord', frames[2:], segment='test', labelled=False)
    return root


@pytest.fixture
def root(source, tmp_path):
    """A copy that may be damaged."""
    return shutil.copytree(source, tmp_path / 'raw')


def scan(out, name, folder='training'):
    return np.fromfile(out / folder / 'velodyne' / f'{name}.bin', dtype=np.float32).reshape(-1, 6)


def contents(out):
    """Every file below a folder but the lock files, with its bytes."""
    files = (path for path in out.rglob('*') if path.is_file() and path.name != '.lock')
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_every_split_gets_its_scans_and_annotations(source, tmp_path):
    out = tmp_path / 'waymo'
    training, validation, testing = convert_waymo(source, out, intervals={'training': 2}, workers=1)
    assert (training.segments, training.counts['frames'], validation.counts['frames']) == (3, 4, 1)
    assert training.counts['Car'] == training.counts['without_points'] == 4
    infos = {split: read_infos(out / f'waymo_infos_{split}.pkl') for split in ('train', 'val', 'test')}
    ids = [info['sample_idx'] for info in infos['train']['data_list']]
    assert ids == [
        f'{name}_{index:03d}' for name, index in zip(np.repeat(SEGMENTS, (2, 1, 1)), (0, 2, 0, 0), strict=True)
    ]
    for info, number in zip(infos['train']['data_list'], (0, 2, 0, 0), strict=True):
        expected = known_points(waymo_scene.frame(number))
        np.testing.assert_allclose(scan(out, info['sample_idx'])[:, :5], expected, atol=3e-5)
        assert info['lidar_points']['num_points'] == len(expected)
        assert info['timestamp'] == waymo_scene.frame(number).time
    assert len(scan(out, 'val_000')) == infos['val']['data_list'][0]['lidar_points']['num_points']
    assert len(scan(out, 'test_000', 'testing'))
    assert not {'instances', 'empty_instances', 'no_label_zones'} & set(infos['test']['data_list'][0])
    assert testing.counts['Car'] == 0
    assert training.infos == out / 'waymo_infos_train.pkl'


def test_objects_are_as_mmdetection3d_wants_them(source, tmp_path):
    convert_waymo(source, tmp_path, **TRAINING)
    info = read_infos(tmp_path / 'waymo_infos_train.pkl')['data_list'][0]
    car, walker, cyclist = info['instances']  # neither the sign nor the hidden car
    assert [row['bbox_label_3d'] for row in info['instances']] == [0, 1, 2]
    assert [row['detection_difficulty'] for row in info['instances']] == [0, 2, 0]
    assert [row['track_id'] for row in info['empty_instances']] == ['hidden car']
    rows = list(waymo_scene.labels(waymo_scene.frame(0)))
    for row, (box, *_) in zip((car, walker, cyclist), rows, strict=False):
        np.testing.assert_allclose(row['bbox_3d'], np.array(box) - np.eye(7)[2] * box[5] / 2, rtol=1e-6, atol=1e-6)
    # A point ahead of the camera is in the middle of its image.
    image = info['images']['CAM_FRONT']
    ahead = waymo_scene.CAMERA @ (30, 0, 0, 1)
    u, v, depth = np.array(image['lidar2img']) @ ahead
    assert (u / depth, v / depth, depth) == (pytest.approx(960), pytest.approx(640), pytest.approx(30))
    left = waymo_scene.CAMERA @ (30, 3, 1, 1)
    u, v, depth = np.array(image['cam2img']) @ np.array(image['lidar2cam']) @ left
    assert u / depth == pytest.approx(960 - 2000 * 3 / 30)
    assert v / depth == pytest.approx(640 - 2010 * 1 / 30)
    truth = read_annotated_boxes(
        tmp_path / 'waymo_infos_train.pkl', [info['sample_idx']], ('Car', 'Pedestrian', 'Cyclist')
    )
    np.testing.assert_allclose(truth.boxes, [row[0] for row in rows[:3]], rtol=1e-6, atol=1e-6)


def test_the_stock_data_set_and_our_views_read_it(source, tmp_path, mmdet3d_scope):
    convert_waymo(source, tmp_path, **TRAINING)
    pipeline = [
        dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=6, use_dim=5),  # as in the stock configs
        dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
        dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
    ]
    settings = dict(
        data_root=str(tmp_path), ann_file='waymo_infos_train.pkl', data_prefix=dict(pts='training/velodyne')
    )
    stock = WaymoDataset(**settings, pipeline=pipeline)
    assert len(stock) == 4
    sample = stock[1]
    name = f'{SEGMENTS[0]}_002'
    ours = DATASETS.build(dict(type='WaymoFrameDataset', **settings, pipeline=pipeline))
    assert ours.frame_ids[1] == name
    for first, second in zip(stock, ours, strict=True):
        truth, again = (one['data_samples'].gt_instances_3d for one in (first, second))
        np.testing.assert_array_equal(*(one['inputs']['points'].numpy() for one in (first, second)))
        np.testing.assert_array_equal(truth.bboxes_3d.tensor.numpy(), again.bboxes_3d.tensor.numpy())
        assert truth.labels_3d.tolist() == again.labels_3d.tolist()
    np.testing.assert_array_equal(sample['inputs']['points'].numpy(), scan(tmp_path, name)[:, :5])
    boxes = sample['data_samples'].gt_instances_3d.bboxes_3d
    np.testing.assert_allclose(boxes.gravity_center.numpy(), [row[0][:3] for row in list(waymo_scene.labels(waymo_scene.frame(2)))[:3]], rtol=1e-5, atol=1e-4)  # fmt: skip
    assert sample['data_samples'].gt_instances_3d.labels_3d.tolist() == [0, 1, 2]
    ids = [info['sample_idx'] for info in read_infos(tmp_path / 'waymo_infos_train.pkl')['data_list']]
    state = LabelState.empty(['Car'], 'pool', ids).buy(0, [(ids[0], {'Car': 1})])
    pool = dict(type='WaymoDataset', **settings, pipeline=pipeline[:1])
    unlabelled = DATASETS.build(dict(type='UnlabelledView', dataset=pool, labels=state))
    assert unlabelled.frame_ids == ids[1:]
    assert not {'instances', 'empty_instances', 'no_label_zones'} & set(unlabelled.get_data_info(0))
    labelled = DATASETS.build(dict(type='LabelledView', dataset={**pool, 'pipeline': pipeline}, labels=state))
    assert len(labelled[0]['data_samples'].gt_instances_3d.labels_3d) == 3


def test_our_data_set_finds_a_cut_scan_and_a_misspelt_class_at_the_start(source, tmp_path, mmdet3d_scope):
    convert_waymo(source, tmp_path, **TRAINING)
    settings = dict(
        type='WaymoFrameDataset',
        data_root=str(tmp_path),
        ann_file='waymo_infos_train.pkl',
        data_prefix=dict(pts='training/velodyne'),
        pipeline=[],
    )
    with pytest.raises(UserError, match=r"unknown class 'Cyclits'.*did you mean 'Cyclist'"):
        DATASETS.build(dict(settings, metainfo=dict(classes=['Car', 'Cyclits'])))
    path = tmp_path / 'training' / 'velodyne' / f'{SEGMENTS[1]}_000.bin'
    path.write_bytes(path.read_bytes()[:-24])
    with pytest.raises(UserError, match=path.name):
        DATASETS.build(settings)


def test_boxes_without_points_count_only_if_all_boxes_do(source, tmp_path):
    convert_waymo(source, tmp_path, **TRAINING)
    infos = read_infos(tmp_path / 'waymo_infos_train.pkl')
    everything, seen = (annotated_counts(infos, ['Car', 'Cyclist'], policy) for policy in ('all', 'nonempty'))
    assert everything[f'{SEGMENTS[0]}_000'] == {'Car': 2, 'Cyclist': 1}
    assert seen[f'{SEGMENTS[0]}_000'] == {'Car': 1, 'Cyclist': 1}


def test_both_versions_give_the_same_files_but_for_zones(source, tmp_path):
    for name, count in zip(SEGMENTS, (3, 2, 1), strict=True):
        frames = [waymo_scene.frame(number) for number in range(count)]
        write_tables(tmp_path / 'v2' / 'training', frames, segment=name)
    convert_waymo(source, tmp_path / 'a', **TRAINING)
    convert_waymo(tmp_path / 'v2', tmp_path / 'b', **TRAINING)
    a, b = (read_infos(tmp_path / name / 'waymo_infos_train.pkl')['data_list'] for name in 'ab')
    for first, second in zip(a, b, strict=True):
        assert len(first.pop('no_label_zones')) == 1
        assert second.pop('no_label_zones') == []  # version 2 does not tell them
        assert first == second
        np.testing.assert_array_equal(*(scan(tmp_path / name, first['sample_idx']) for name in 'ab'))


def test_points_in_no_label_zones_are_dropped_unless_asked_for(source, tmp_path):
    (dropped,), (kept,) = (
        convert_waymo(source, tmp_path / name, keep_no_label_zones=keep, **TRAINING)
        for name, keep in (('dropped', False), ('kept', True))
    )
    assert dropped.counts['in_no_label_zone'] > 0 == kept.counts['in_no_label_zone']
    assert kept.counts['points'] == dropped.counts['points'] + dropped.counts['in_no_label_zone']


def test_a_rerun_does_only_what_is_missing_or_changed(root, tmp_path, monkeypatch):
    out = tmp_path / 'out'
    convert_waymo(root, out, **TRAINING)
    before = contents(out)
    converted = []
    original = waymo_segment._convert

    def spy(task, identity):
        converted.append(task.name)
        return original(task, identity)

    monkeypatch.setattr(waymo_segment, '_convert', spy)
    convert_waymo(root, out, **TRAINING)
    assert converted == []
    (out / 'training' / 'velodyne' / f'{SEGMENTS[1]}_000.bin').unlink()
    third = root / 'training' / f'segment-{SEGMENTS[2]}_with_camera_labels.tfrecord'
    os.utime(third, ns=(1, 1))  # replaced
    convert_waymo(root, out, **TRAINING)
    assert [name.split('_')[0] for name in converted] == [f'segment-{name.split("_")[0]}' for name in SEGMENTS[1:]]
    after = contents(out)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f'segments/training/{third.stem}.json'}  # which holds the time of its source
    converted.clear()
    convert_waymo(root, out, splits=['training'], intervals={'training': 1}, workers=1)
    assert len(converted) == 3


def test_an_interrupted_conversion_goes_on_and_ends_the_same(root, tmp_path, monkeypatch):
    convert_waymo(root, tmp_path / 'undisturbed', **TRAINING)
    out, calls = tmp_path / 'out', []
    original = waymo_segment.frame_points

    def killed_at_the_third_frame(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(waymo_segment, 'frame_points', killed_at_the_third_frame)
    with pytest.raises(KeyboardInterrupt):
        convert_waymo(root, out, **TRAINING)
    assert not (out / 'waymo_infos_train.pkl').exists()
    (out / 'training' / 'velodyne' / '.left.bin.1.tmp').touch()
    convert_waymo(root, out, **TRAINING)
    assert len(calls) == 3 + 2  # the first segment, of two frames, was finished
    assert {k: v for k, v in contents(out).items() if 'shard' not in k} == {
        k: v for k, v in contents(tmp_path / 'undisturbed').items() if 'shard' not in k
    }


def test_shards_share_the_segments_and_the_last_one_writes_the_annotations(root, tmp_path):
    convert_waymo(root, tmp_path / 'alone', **TRAINING)
    out = tmp_path / 'out'
    (first,) = convert_waymo(root, out, shard=(0, 2), **TRAINING)
    assert (first.segments, first.of_segments, first.infos) == (2, 3, None)
    assert not (out / 'waymo_infos_train.pkl').exists()
    (second,) = convert_waymo(root, out, shard=(1, 2), **TRAINING)
    assert (second.segments, second.infos) == (1, out / 'waymo_infos_train.pkl')
    assert (out / 'waymo_infos_train.pkl').read_bytes() == (tmp_path / 'alone' / 'waymo_infos_train.pkl').read_bytes()


def test_processes_change_nothing(tmp_path):
    for number in range(4):
        path = tmp_path / 'raw' / 'training' / f'{number}.tfrecord'
        write_records(path, [waymo_scene.frame(number % 3)], segment=f'segment{number}')
    for workers in (1, 2):
        convert_waymo(tmp_path / 'raw', tmp_path / str(workers), workers=workers)
    one, two = (contents(tmp_path / name) for name in '12')
    assert one == two
    assert len(one) == 4 + 4 + 1


def test_a_segment_that_is_there_twice_is_found(root, tmp_path):
    twice = root / 'training' / f'segment-{SEGMENTS[2]}_with_camera_labels.tfrecord'
    shutil.copy(twice, twice.with_name('a copy.tfrecord'))
    with pytest.raises(UserError, match=f'frame {SEGMENTS[2]}_000 is listed twice'):
        convert_waymo(root, tmp_path / 'out', **TRAINING)


def test_a_damaged_segment_stops_or_is_left_out(root, tmp_path):
    bad = root / 'training' / f'segment-{SEGMENTS[1]}_with_camera_labels.tfrecord'
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(UserError, match=r'ends inside record 1.*to leave bad segments out, use --on-error quarantine'):
        convert_waymo(root, tmp_path / 'out', **TRAINING)
    (summary,) = convert_waymo(root, tmp_path / 'out', on_error='quarantine', **TRAINING)
    assert (summary.segments, summary.quarantined) == (2, 1)
    listed = json.loads((tmp_path / 'out' / 'quarantine_training_0_of_1.json').read_text())['segments']
    assert listed[0]['segment'] == bad.name
    ids = [info['context_name'] for info in read_infos(tmp_path / 'out' / 'waymo_infos_train.pkl')['data_list']]
    assert set(ids) == {SEGMENTS[0], SEGMENTS[2]}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'splits': ['trainig']}, r"unknown split 'trainig'.*did you mean 'training'"),
        ({'intervals': {'trainig': 2}}, "unknown split 'trainig'"),
        ({'intervals': {'training': 0}}, 'interval of training: found 0'),
        ({'shard': (2, 2)}, 'shard: found 2 of 2'),
    ],
)
def test_options_are_checked(source, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        convert_waymo(source, tmp_path / 'out', **options)


def test_missing_data_says_where_to_get_it(tmp_path, source):
    with pytest.raises(UserError, match='none of training, validation, testing holds'):
        convert_waymo(tmp_path, tmp_path / 'out')
    (tmp_path / 'training').mkdir()
    with pytest.raises(UserError, match=r'download the split from https://waymo\.com/open'):
        convert_waymo(tmp_path, tmp_path / 'out', splits=['training'])
    shutil.copy(next((source / 'training').iterdir()), tmp_path / 'training' / 'a.tfrecord')
    (tmp_path / 'training' / 'lidar').mkdir()
    with pytest.raises(UserError, match=r'holds version 1 .* and version 2'):
        convert_waymo(tmp_path, tmp_path / 'out')
