"""A folder of own data: own classes, LiDAR only, all around, labelled in part, in every format of labels."""

import json
import os

import numpy as np
import pytest
from mmdet3d.datasets import LyftDataset
from mmdet3d.registry import DATASETS

import ssal3d.data.folder.dataset
import ssal3d.data.views  # noqa: F401
from ssal3d.annotation import build_format
from ssal3d.annotation.checks import check_frame
from ssal3d.annotation.provenance import NAME
from ssal3d.data.boxes import to_gravity_array
from ssal3d.data.folder.converter import convert_folder
from ssal3d.data.folder.layout import EXPORT, find_scans
from ssal3d.data.infos import read_infos
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from tests.helpers.kitti_street import CALIBRATION, boxes_of, label, line, scan_of

OWN = {'Car': 'car', 'Pedestrian': 'forklift', 'Cyclist': 'truck'}
CLASSES = ['car', 'truck', 'forklift']
PIPELINE = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
]


def recordings(root, frames=8, behind=True, sequences=('',)):
    """Write scans and return names and boxes by frame id."""
    random, truth = np.random.default_rng(0), {}
    for number in range(frames):
        sequence = sequences[number * len(sequences) // frames]
        folder = root / sequence / 'points'
        folder.mkdir(parents=True, exist_ok=True)
        names, boxes = boxes_of(random, behind=behind)
        scan_of(random, boxes).tofile(folder / f'scan_{number}.bin')
        frame = f'{sequence}__scan_{number}' if sequence else f'scan_{number}'
        truth[frame] = [OWN[name] for name in names], boxes
    return truth


def objects(names, boxes):
    return [{'class': name, 'box': list(box)} for name, box in zip(names, boxes.tolist(), strict=True)]


def as_json(root, truth):
    (root / 'labels').mkdir(exist_ok=True)
    for frame, (names, boxes) in truth.items():
        (root / 'labels' / f'{frame}.json').write_text(json.dumps({'objects': objects(names, boxes)}))


def as_one_json(root, truth):
    frames = {frame: objects(*entry) for frame, entry in truth.items()}
    (root / 'labels.json').write_text(json.dumps({'frames': frames}), encoding='utf-8-sig')


def rows_of(names, boxes):
    return [','.join((name, *map(str, box))) for name, box in zip(names, boxes.tolist(), strict=True)]


def as_one_csv(root, truth):
    rows = [f'{frame},{row}' for frame, entry in truth.items() for row in rows_of(*entry) or [',,,,,,,']]
    (root / 'labels.csv').write_text('frame,class,x,y,z,length,width,height,yaw\n' + '\n'.join(rows))


def as_csv(root, truth):
    (root / 'labels').mkdir(exist_ok=True)
    for frame, entry in truth.items():
        text = 'class,x,y,z,length,width,height,yaw\n' + '\n'.join(rows_of(*entry))
        (root / 'labels' / f'{frame}.csv').write_text(text)


def as_the_annotators_csv(root, truth):
    """What `ssal3d labels` writes in the format ``csv``, put together to one table."""
    rows = [f'{frame},{row},7,,' for frame, entry in truth.items() for row in rows_of(*entry) or [',,,,,,,']]
    (root / 'labels.csv').write_text('frame_id,class,x,y,z,dx,dy,dz,yaw,id,track_id,score\n' + '\n'.join(rows))


def as_lines(root, truth):
    (root / 'labels').mkdir(exist_ok=True)
    for frame, (names, boxes) in truth.items():
        rows = [' '.join((*map(str, box), name)) for name, box in zip(names, boxes.tolist(), strict=True)]
        (root / 'labels' / f'{frame}.txt').write_text('\n'.join(rows))


def as_kitti(root, truth):
    (root / 'labels').mkdir(exist_ok=True)
    for frame, (names, boxes) in truth.items():
        rows = [line(n, b[[5, 4, 3]], b[:3], b[6], (0, 0, 0, 0)) for n, b in zip(names, boxes, strict=True)]
        (root / 'labels' / f'{frame}.txt').write_text(''.join(rows))


FORMATS = [as_json, as_one_json, as_one_csv, as_csv, as_the_annotators_csv, as_lines, as_kitti]


def convert(root, **options):
    return convert_folder(root, root.parent / 'out', CLASSES, **{'workers': 1, **options})


def frames_of(root, split='train'):
    return read_infos(root.parent / 'out' / f'folder_infos_{split}.pkl')['data_list']


def dataset(root, kind='FolderDataset', **options):
    return dict(
        type=kind,
        data_root=str(root.parent / 'out'),
        ann_file='folder_infos_train.pkl',
        data_prefix=dict(pts='points'),
        pipeline=PIPELINE,
        metainfo=dict(classes=CLASSES),
        serialize_data=False,
        **options,
    )


@pytest.fixture
def root(tmp_path):
    return tmp_path / 'mine'


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize('write', FORMATS)
def test_every_format_of_labels_gives_the_same_boxes(root, write):
    truth = recordings(root)
    known = {frame: truth[frame] for frame in list(truth)[:5]}
    empty = list(truth)[5]
    write(root, {**known, empty: ([], np.zeros((0, 7)))})
    (summary,) = convert(root)
    assert (summary.frames, summary.labelled_frames, summary.faults) == (8, 6, ())
    assert [row[2] for row in summary.table] == [0, 0, 0], 'every box holds points'
    for info in frames_of(root):
        frame = info['token']
        if frame == empty:
            assert info['instances'] == []
        elif frame not in known:
            assert 'instances' not in info, 'unlabelled is not empty'
        else:
            names, boxes = known[frame]
            found = np.array([entry['bbox_3d'] for entry in info['instances']])
            np.testing.assert_allclose(found, boxes, atol=6e-4)
            assert [CLASSES[entry['bbox_label_3d']] for entry in info['instances']] == names
    state = LabelState.read(root.parent / 'out' / 'labels' / 'round_0.json')
    assert state.counts == {'car': 10, 'truck': 5, 'forklift': 5}
    assert len(state.frames) == 6


def test_kitti_labels_with_a_camera_keep_whole_scans(root):
    truth = recordings(root, behind=False)
    for folder in ('labels', 'calib'):
        (root / folder).mkdir()
    for frame, (names, boxes) in truth.items():
        (root / 'calib' / f'{frame}.txt').write_text(CALIBRATION)
        (root / 'labels' / f'{frame}.txt').write_text(''.join(map(label, names, boxes)))
    (summary,) = convert(root)
    assert summary.kept == summary.points
    first = frames_of(root)[0]
    np.testing.assert_allclose([e['bbox_3d'] for e in first['instances']], truth[first['token']][1], atol=2e-3)
    assert set(first['images']['CAM2']) == {'cam2img', 'lidar2cam', 'lidar2img'}


MISTAKES = {
    'degrees instead of radians': lambda b: b * [1, 1, 1, 1, 1, 1, 180 / np.pi],
    'angles that turn the other way': lambda b: b * [1, 1, 1, 1, 1, 1, -1],
    'boxes turned by 90 degrees': lambda b: b[:, [0, 1, 2, 4, 3, 5, 6]],
    'the centre of the bottom taken for that of the box': lambda b: b - np.outer(b[:, 5] / 2, [0, 0, 1, 0, 0, 0, 0]),
    'x axis points to the right and y axis forward': lambda b: np.column_stack(
        (-b[:, 1], b[:, 0], b[:, 2:6], b[:, 6] + np.pi / 2)
    ),
    'labels whose y axis points to the right': lambda b: b * [1, -1, 1, 1, 1, 1, -1],
    'sizes in centimetres': lambda b: b * [1, 1, 1, 100, 100, 100, 1],
}


@pytest.mark.parametrize('cause', MISTAKES)
def test_the_likely_cause_of_wrong_labels_is_named(root, cause):
    truth = recordings(root)
    as_json(root, {frame: (names, MISTAKES[cause](boxes)) for frame, (names, boxes) in truth.items()})
    with pytest.raises(UserError, match=f'split train: .*{cause}'):
        convert(root)
    assert not (root.parent / 'out' / 'folder_infos_train.pkl').exists()
    assert convert(root, accept_implausible=True)[0].faults


def test_other_classes_are_named_or_dropped(root):
    truth = recordings(root)
    names, boxes = truth['scan_0']
    truth['scan_0'] = ['lorry', *names[1:]], boxes
    as_json(root, truth)
    with pytest.raises(
        UserError, match=r"scan_0\.json: unknown class 'lorry'.*did you mean 'truck'.*--classes.*--drop"
    ):
        convert(root)
    convert(root, drop=['lorry'])
    assert len(frames_of(root)[0]['instances']) == 3


BOX = (9.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.1)
WRONG_BOXES = {
    r"'car' at \(9, 2, -1\) has the yaw 90, expected radians": [(*BOX[:6], 90.0)],
    r"'car' at \(9, 2, -1\) measures 420 x 180 x 150 m, expected at most 60": [(*BOX[:3], 420.0, 180.0, 150.0, 0.1)],
    r"'car' at \(9000, 2, -1\) is too far away, expected at most 300 m": [(9000.0, *BOX[1:])],
    r"'car' at \(9.05, 2, -1\) is the same object as a box before it": [BOX, (9.05, *BOX[1:])],
}


@pytest.mark.parametrize('fault', WRONG_BOXES)
def test_a_single_box_that_cannot_be_right_stops_the_conversion(root, fault):
    recordings(root, frames=3)
    boxes = WRONG_BOXES[fault]
    as_json(root, {'scan_1': (['truck'] + ['car'] * len(boxes), np.array([(-9.0, *BOX[1:]), *boxes]))})
    with pytest.raises(UserError, match=f'split train: frame scan_1: {fault}.*--accept-implausible'):
        convert(root)
    (summary,) = convert(root, accept_implausible=True)
    assert len(summary.faults) == 1
    assert summary.boxes == {'car': len(boxes), 'truck': 1, 'forklift': 0}


ALMOST = [(*BOX[:6], 6.9)], [(*BOX[:3], 59.0, 1.7, 1.5, 0.1)], [(299.0, *BOX[1:])], [BOX, (9.6, *BOX[1:])]


@pytest.mark.parametrize('boxes', [*WRONG_BOXES.values(), *ALMOST])
def test_what_annotators_may_give_back_is_what_may_be_converted(root, boxes):
    recordings(root, frames=3)
    path = root / 'labels' / 'scan_1.json'
    path.parent.mkdir()
    rows = [{'class': 'car', 'box': box} for box in boxes]
    path.write_text(json.dumps({'schema': 1, 'frame_id': 'scan_1', 'boxes': rows}))
    try:
        convert(root)
        converted = True
    except UserError:
        converted = False
    given = build_format('json').read(path.parent)
    findings = [finding for frame in given.frames for finding in check_frame(frame, CLASSES)]
    assert converted == (not given.problems and not any(finding.is_error for finding in findings))
    assert converted == (boxes in ALMOST)


# ---------------------------------------------------------------- layout


def test_a_label_file_in_a_folder_belongs_to_that_sequence_alone(root):
    truth = recordings(root, frames=4, sequences=('street_1', 'street_2'))  # street_2 begins with scan_2
    (root / 'labels' / 'street_2').mkdir(parents=True)
    path = root / 'labels' / 'street_2' / 'scan_1.json'
    path.write_text('[]')
    with pytest.raises(
        UserError,
        match=r'street_2/scan_1\.json: no scan of this name; 2 are there, from street_2__scan_2 to street_2__',
    ):
        convert(root)
    path.rename(root / 'labels' / 'street_2' / 'scan_3.json')
    (root / 'labels' / 'scan_0.json').write_text('[]')  # beside the folders, a name that one sequence has is enough
    convert(root)
    assert [info['token'] for info in frames_of(root) if 'instances' in info] == [
        'street_1__scan_0',
        'street_2__scan_3',
    ]
    assert len(truth) == 4


def test_what_was_written_below_the_root_is_no_recording(root, monkeypatch):
    recordings(root, frames=3)
    monkeypatch.chdir(root.parent)
    for out in (root / 'conv', root / 'conv', root / 'another'):
        (summary,) = convert_folder(root.name, out, CLASSES, workers=1)  # one relative, one absolute
        assert summary.frames == 3
    (root / 'batch' / 'lidar').mkdir(parents=True)
    (root / 'batch' / 'lidar' / 'scan_0.bin').write_bytes((root / 'points' / 'scan_0.bin').read_bytes())
    (root / 'batch' / EXPORT).write_text('{}')
    assert len(find_scans(root, root / 'conv')) == 3
    (root / 'batch' / EXPORT).unlink()
    (root / 'batch' / 'manifest.json').write_text('{"schema": 1, "of": "something else"}')
    assert len(find_scans(root, root / 'conv')) == 4
    assert NAME == EXPORT


def test_links_are_followed_once_and_never_out_of_the_root(root):
    recordings(root, frames=2, sequences=('street_2',))
    disk = root.parent / 'disk'
    recordings(disk, frames=2, sequences=('street_1',))
    recordings(root.parent / 'beside', frames=2)
    (root / 'street_1').symlink_to(disk / 'street_1')
    (root / 'again').symlink_to(root / 'street_2')
    (root / 'street_2' / 'up').symlink_to(root.parent)
    (disk / 'street_1' / 'round').symlink_to(disk / 'street_1')
    (root / 'loop').symlink_to('loop')
    (disk / 'labels' / 'street_1').mkdir(parents=True)
    (disk / 'labels' / 'street_1' / 'scan_1.json').write_text('[]')
    (root / 'labels').symlink_to(disk / 'labels')
    convert(root)
    assert {info['token']: 'instances' in info for info in frames_of(root)} == {
        'street_1__scan_0': False,
        'street_1__scan_1': True,
        'street_2__scan_0': False,
        'street_2__scan_1': False,
    }


def test_hidden_files_are_no_scans_and_no_labels(root):
    recordings(root, frames=2)
    as_json(root, {'scan_0': ([], np.zeros((0, 7)))})
    for path in (root / 'points' / '._scan_0.bin', root / 'labels' / '._scan_0.json'):
        path.write_bytes(b'\0\5\x16\7\0\2\0\0Mac OS X')  # macOS puts them on disks of other systems
    (root / '.street.81.tmp').mkdir()
    (root / '.street.81.tmp' / '0.bin').write_bytes(b'')  # of a killed run
    (summary,) = convert(root)
    assert (summary.frames, summary.labelled_frames) == (2, 1)


@pytest.mark.parametrize('name', [os.fsencode('narrow\u202f0'), b'stra\xdfe', b'a\\b', b'a\tb'])
@pytest.mark.parametrize('place', ['scan', 'sequence'])
def test_names_that_no_file_can_carry_are_refused_where_they_are_found(root, name, place):
    recordings(root, frames=2, sequences=('street',))
    old, new = ('street/points/scan_0.bin', b'street/points/' + name + b'.bin') if place == 'scan' else ('street', name)
    os.rename(os.fsencode(root / old), os.path.join(os.fsencode(root), new))
    with pytest.raises(UserError, match=r"points/.*\.bin': found a name that is not UTF-8.*; rename the file or"):
        convert(root)
    assert not (root.parent / 'out').exists()


def test_sequences_poses_and_times(root):
    truth = recordings(root, frames=24, sequences=('a', 'b'))
    as_json(root, truth)
    poses = [[*np.eye(4)[:3].reshape(-1)] for _ in range(12)]
    for number, pose in enumerate(poses):
        pose[3] = float(number)
    (root / 'a' / 'poses.txt').write_text('\n'.join(' '.join(map(str, pose)) for pose in poses))
    (root / 'a' / 'times.txt').write_text('\n'.join(str(0.1 * number) for number in range(12)))
    convert(root)
    frames = frames_of(root)
    assert [info['token'] for info in frames] == list(truth), 'scan_10 behind scan_9'
    assert {info['sequence'] for info in frames} == {'a', 'b'}
    assert frames[3]['ego2global'][0][3] == 3
    assert frames[3]['timestamp'] == pytest.approx(0.3)
    assert 'ego2global' not in frames[-1]
    (root / 'a' / 'poses.txt').write_text('1 2 3')
    with pytest.raises(UserError, match=r'poses\.txt, line 1: expected 12 or 16 finite numbers'):
        convert(root)


def test_lists_and_held_out_frames(root):
    truth = recordings(root)
    as_json(root, {frame: truth[frame] for frame in list(truth)[:6]})
    train, val = convert(root, val_share=0.5)
    assert (train.name, train.frames, train.labelled_frames) == ('train', 5, 3)
    assert (val.name, val.frames, val.labelled_frames) == ('val', 3, 3), 'only labelled frames measure'
    (root / 'splits').mkdir()
    (root / 'splits' / 'train.txt').write_text('scan_0\npoints/scan_1.bin\nscan_2.bin\n')
    (root / 'splits' / 'val.txt').write_text('scan_4\n')
    assert [summary.frames for summary in convert(root)] == [3, 1]
    with pytest.raises(UserError, match='there are split lists already'):
        convert(root, val_share=0.5)
    (root / 'splits' / 'val.txt').write_text('scan_2\n')
    with pytest.raises(UserError, match=r'val\.txt: 1 of 1 frames are also in train\.txt'):
        convert(root)
    (root / 'splits' / 'val.txt').write_text('scan_77\n')
    with pytest.raises(UserError, match=r'val\.txt, line 1: no scan of frame scan_77'):
        convert(root)


def test_a_later_run_does_not_train_on_what_an_earlier_one_measures(root):
    truth = recordings(root)
    as_json(root, truth)
    convert(root, val_share=0.25)
    with pytest.raises(
        UserError, match=r'folder_infos_val\.pkl: .*held out 2 frames that are in train now, .*scan_6; .*--val-share'
    ):
        convert(root)
    assert len(frames_of(root)) == 6, 'nothing was written'
    convert(root, val_share=0.5)
    assert convert(root, extra_tag='whole')[0].frames == 8, 'a data set of its own'
    (root.parent / 'out' / 'folder_infos_val.pkl').unlink()
    assert convert(root)[0].frames == 8


def test_a_rerun_reads_only_what_changed(root):
    truth = recordings(root)
    as_json(root, truth)
    convert(root)
    points = root.parent / 'out' / 'points'
    times = {path.name: path.stat().st_mtime_ns for path in points.iterdir()}
    (root / 'points' / 'scan_3.bin').touch()
    (root / 'labels' / 'scan_0.json').write_text(json.dumps({'objects': []}))
    convert(root)
    changed = {path.name for path in points.iterdir() if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {'scan_3.bin'}
    assert frames_of(root)[0]['instances'] == []


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda root: (root / 'labels' / 'scan_1.json').write_text('{'), r'scan_1\.json: not valid JSON'),
        (
            lambda root: (root / 'labels' / 'scan_1.json').write_text('[{"class": "car"}]'),
            r'object 1 lacks "class" or "box"',
        ),
        (
            lambda root: (root / 'labels' / 'scan_1.json').write_text(
                '[{"class": "car", "box": [1, 2, 3, 4, 0, 1, 0]}]'
            ),
            r'found the size 4 x 0 x 1 m, expected more than 0',
        ),
        (lambda root: (root / 'labels' / 'other.json').write_text('[]'), r'other\.json: no scan of this name'),
        (lambda root: (root / 'labels' / 'scan_1.csv').write_text(''), r'scan_1 has labels in .* already'),
        (lambda root: (root / 'points' / 'scan_1.npy').write_bytes(b''), r'frame scan_1 is already .*scan_1\.bin'),
        (lambda root: (root / 'points' / 'scan_1.bin').write_bytes(b''), r'scan_1\.bin: found an empty file'),
    ],
)
def test_what_is_wrong_is_named(root, damage, message):
    as_json(root, recordings(root))
    damage(root)
    with pytest.raises(UserError, match=message):
        convert(root)


def test_a_folder_without_scans_and_a_result_among_them(root):
    with pytest.raises(UserError, match='no such folder'):
        convert(root)
    root.mkdir()
    with pytest.raises(UserError, match='no scan in it'):
        convert(root)
    with pytest.raises(UserError, match='cannot lie in --root-path itself'):
        convert_folder(root, root, CLASSES)


# ---------------------------------------------------------------- training


@pytest.mark.usefixtures('mmdet3d_scope')
def test_views_of_own_classes(root):
    truth = recordings(root)
    as_json(root, {frame: truth[frame] for frame in list(truth)[:3]})
    convert(root)
    labels = str(root.parent / 'out' / 'labels' / 'round_0.json')
    view = DATASETS.build(dict(type='LabelledView', dataset=dataset(root), labels=labels))
    assert view.frame_ids == list(truth)[:3]
    found = view[0]['data_samples'].gt_instances_3d
    np.testing.assert_allclose(to_gravity_array(found.bboxes_3d)[:, :6], truth['scan_0'][1][:, :6], atol=1e-4)
    assert [CLASSES[number] for number in found.labels_3d] == truth['scan_0'][0]
    rest = DATASETS.build(dict(type='UnlabelledView', dataset=dataset(root), labels=labels))
    assert len(rest) == 5
    assert not any('instances' in rest.get_data_info(index) for index in range(5))


@pytest.mark.usefixtures('mmdet3d_scope')
def test_fewer_classes_and_unknown_ones(root):
    truth = recordings(root)
    as_json(root, truth)
    convert(root)
    built = DATASETS.build(dataset(root) | {'metainfo': dict(classes=['forklift'])})
    assert built.metainfo['classes'] == ('forklift',)
    assert [len(built[index]['data_samples'].gt_instances_3d) for index in range(2)] == [1, 1]
    assert DATASETS.build(dataset(root) | {'metainfo': None}).metainfo['classes'] == tuple(CLASSES)
    with pytest.raises(UserError, match=r"unknown class 'lorry'.*did you mean 'truck'"):
        DATASETS.build(dataset(root) | {'metainfo': dict(classes=['lorry'])})


@pytest.mark.usefixtures('mmdet3d_scope')
def test_stock_mmdetection3d_reads_the_annotation_file(root):
    truth = recordings(root)
    truth = {
        frame: ([name.replace('forklift', 'bus') for name in names], boxes) for frame, (names, boxes) in truth.items()
    }
    as_json(root, truth)
    convert_folder(root, root.parent / 'out', ['car', 'truck', 'bus'], workers=1)
    options = {key: value for key, value in dataset(root).items() if key != 'type'}
    built = LyftDataset(**options | {'metainfo': dict(classes=['car', 'truck', 'bus'])})
    assert len(built) == 8
    for index, frame in enumerate(truth):
        found = built[index]['data_samples'].gt_instances_3d
        np.testing.assert_allclose(to_gravity_array(found.bboxes_3d)[:, :6], truth[frame][1][:, :6], atol=1e-4)
