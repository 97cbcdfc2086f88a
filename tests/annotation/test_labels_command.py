"""The commands as a person uses them: from a folder of scans to the second round, with files edited in between."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from ssal3d.data.label_state import LabelState
from ssal3d.fileio import write_json
from ssal3d.predictions.synthetic import CLASSES, second_model, synthetic_pool, write_predictions, write_scans

ROOT = Path(__file__).resolve().parents[2]
TWO_MODELS = ('--predictions', 'query_model', '--reference-predictions', 'reference_model')


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(script, *words, code=0):
        """Run a command; return what it printed, or the error line."""
        monkeypatch.setattr(sys, 'argv', [f'{script}.py', *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools' / f'{script}.py'), run_name='__main__')
        printed = capsys.readouterr()
        assert ended.value.code == code, printed.err or printed.out
        if code == 2:
            assert printed.err.count('\n') == 1, printed.err
        return printed.err if code else printed.out

    return run


@pytest.fixture
def pool(tmp_path):
    """Forty scans whose points lie in the predicted boxes, and predictions of two models."""
    predictions = synthetic_pool(40, boxes_per_frame=6)
    predictions.scores[:] = np.maximum(predictions.scores, 0.6)
    write_predictions(predictions, tmp_path / 'query_model')
    other = second_model(predictions)
    other.scores[:] = np.maximum(other.scores, 0.6)
    write_predictions(other, tmp_path / 'reference_model')
    write_scans(predictions, tmp_path / 'scans')
    return predictions


def edited(entries: list) -> list:
    """Do what a person does to the boxes of a frame in SUSTechPOINTS: move, relabel, delete, draw a new one."""
    for entry in entries[:2]:
        del entry['annotator']  # as the editor does
    entries[0]['psr']['position']['x'] += 0.3
    entries[1]['obj_type'] = 'Cyclist' if entries[1]['obj_type'] != 'Cyclist' else 'Car'
    added = json.loads(json.dumps(entries[2]))
    del added['annotator']
    added['obj_id'] = '99999'
    added['psr']['position']['x'] += 30.0
    added['psr']['rotation']['z'] += 0.5
    return [*entries[:2], *entries[3:], added]


def test_two_rounds_in_two_tools_from_a_folder_of_scans(run, pool, tmp_path):
    run('labels', 'init', '--scans', 'scans', '--classes', *CLASSES, '--out', 'labels', '--sample', 6, '--seed', 1)
    first = (tmp_path / 'labels' / 'first_frames.txt').read_text().split()
    assert len(set(first)) == 6
    state = LabelState.read(tmp_path / 'labels' / 'pool.json')
    assert (state.pool_size, state.frames) == (40, ())

    # Round 0: a person draws everything by hand, in CSV; nothing was predicted yet.
    run('al_export', '--frames', 'labels/first_frames.txt', '--labels', 'labels/pool.json', '--scans', 'scans',
        '--format', 'csv', '--out', 'batch_0')  # fmt: skip
    for name in first[:5]:
        table = tmp_path / 'batch_0' / 'labels' / f'{name}.csv'
        lines = table.read_text().splitlines()
        assert len(lines) == 2
        boxes = pool.boxes[pool.boxes_of(int(name))][:2]
        table.write_text('\n'.join([lines[0], *(f'{name},Car,' + ','.join(map(str, box)) + ',,,' for box in boxes)]))
    error = run('al_import', 'batch_0', '--labels', 'labels/pool.json', code=3)
    assert '5 of 6 frames imported; 0 missing, 1 unchanged, 0 with mistakes' in error
    assert len(LabelState.read('labels/round_0.json').frames) == 5
    run('al_import', 'batch_0', '--labels', 'labels/pool.json', '--accept-untouched')  # the sixth frame is empty
    state = LabelState.read('labels/round_0.json')
    assert [frame.frame_id for frame in state.frames] == first
    assert (state.frames[0].round, state.frames[0].boxes['Car'], state.frames[5].boxes['Car']) == (0, 2, 0)

    # Round 1: a query of two models, corrected in SUSTechPOINTS.
    run('al_select', ROOT / 'configs/active/entropy_kitti.py', '--predictions', 'query_model', '--labels',
        'labels/round_0.json', '--budget', 30, '--out', 'query_1.json', '--cfg-options', 'query.cost_score=0')  # fmt: skip
    run('labels', 'export', 'query_1.json', '--labels', 'labels/round_0.json', '--scans', 'scans', '--format',
        'sustechpoints', '--out', 'batch_1', '--predictions', 'query_model', '--reference-predictions',
        'reference_model', '--threshold', '0.5')  # fmt: skip
    manifest = json.loads((tmp_path / 'batch_1' / 'ssal3d_export.json').read_text())
    query = json.loads((tmp_path / 'query_1.json').read_text())
    assert list(manifest['frames']) == [frame['frame_id'] for frame in query['frames']]
    assert manifest['round'] == query['round'] == 1
    chosen = [name for name, frame in manifest['frames'].items() if len(frame['prelabels']) >= 4]
    for name in chosen:
        path = tmp_path / 'batch_1' / 'round_1' / 'label' / f'{name}.json'
        path.write_text(json.dumps(edited(json.loads(path.read_text()))))
    shown = run('labels', 'status', 'batch_1')
    assert f'{len(chosen)} of {len(query["frames"])} frames labelled' in shown
    code = 3 if len(chosen) < len(query['frames']) else 0
    run('labels', 'import', 'batch_1', '--labels', 'labels/round_0.json', '--out', 'labels', code=code)
    report = json.loads((tmp_path / 'labels' / 'round_1_import.json').read_text())
    assert {name: report['cost'][name] for name in ('edited', 'deleted', 'added', 'moved', 'relabelled')} == {
        'edited': 2 * len(chosen),
        'deleted': len(chosen),
        'added': len(chosen),
        'moved': len(chosen),
        'relabelled': len(chosen),
    }
    state = LabelState.read('labels/round_1.json')
    assert {frame.frame_id for frame in state.frames if frame.round == 1} == set(chosen)
    boxes = json.loads((tmp_path / 'labels' / 'boxes' / f'{chosen[0]}.json').read_text())['boxes']
    assert sum(state.frames[6].boxes.values()) == len(boxes)
    assert {box['attributes']['source'] for box in boxes} == {'model', 'corrected', 'human'}


def test_prelabels_need_both_models_and_the_threshold_of_their_class(run, pool, tmp_path):
    run('labels', 'init', '--scans', 'scans', '--classes', *CLASSES)
    (tmp_path / 'frames.txt').write_text('\n'.join(pool.frame_ids.tolist()))
    base = ['--frames', 'frames.txt', '--labels', 'labels/pool.json', '--scans', 'scans', '--format', 'json']
    models = ['--predictions', 'query_model', '--reference-predictions', 'reference_model']
    run('labels', 'export', *base, '--out', 'one', *models[:2])
    run('labels', 'export', *base, '--out', 'both', *models)
    run('labels', 'export', *base, '--out', 'strict', *models, '--threshold', '0.9', 'Pedestrian=0.0')

    def count(name, kind):
        frames = json.loads((tmp_path / name / 'ssal3d_export.json').read_text())['frames'].values()
        return sum(box['class'] == kind for frame in frames for box in frame['prelabels'])

    assert count('one', 'Car') == (pool.labels == 0).sum()
    assert 0.5 < count('both', 'Car') / count('one', 'Car') < 0.85  # the second model has 70 % of the boxes
    assert 0 < count('strict', 'Car') < count('both', 'Car')
    assert count('strict', 'Pedestrian') == count('both', 'Pedestrian') > 0
    source = json.loads((tmp_path / 'strict' / 'ssal3d_export.json').read_text())['source']
    assert source['thresholds'] == {'default': 0.9, 'Pedestrian': 0.0}


def test_provenance_names_query_checkpoint_and_versions(run, pool, tmp_path):
    from ssal3d.fileio import sha256

    pool.metadata['checkpoint_sha256'] = 'c0ffee'
    shutil.rmtree(tmp_path / 'query_model')
    write_predictions(pool, tmp_path / 'query_model')
    run('labels', 'init', '--scans', 'scans', '--classes', *CLASSES)
    run('al_select', ROOT / 'configs/active/entropy_kitti.py', '--predictions', 'query_model', '--labels',
        'labels/pool.json', '--budget', 10, '--out', 'query.json')  # fmt: skip
    run('al_export', 'query.json', '--labels', 'labels/pool.json', '--scans', 'scans', '--format', 'kitti', '--out',
        'batch', '--predictions', 'query_model')  # fmt: skip
    found = json.loads((tmp_path / 'batch' / 'ssal3d_export.json').read_text())
    assert found['query_sha256'] == sha256(tmp_path / 'query.json')
    assert found['checkpoint_sha256'] == 'c0ffee'
    assert (found['tool'], found['classes'], found['box']) == ('kitti', list(CLASSES), 'gravity_center_xyz_dxdydz_yaw')
    assert found['source']['versions']['ssal3d']
    frame = next(iter(found['frames'].values()))
    assert set(frame) == {'file', 'load_dim', 'points', 'label_sha256', 'query', 'prelabels'}
    assert frame['query']['rank'] == 0
    assert frame['points'] == (tmp_path / 'scans' / Path(frame['file']).name).stat().st_size // 16


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['export', '--labels', 'labels/pool.json'], 'expected a query.json or --frames FILE'),
        (['export', 'nowhere.json'], 'nowhere.json: no such file'),
        (['export', '--frames', 'other.txt'], 'no frame 999999; query and scans belong to different pools'),
        (['export', '--frames', 'empty.txt'], 'there is no frame in it'),
        (['export', '--frames', 'few.txt', '--format', 'cvat'], "unknown annotation format 'cvat'"),
        (['export', '--frames', 'few.txt', '--option', 'calib'], "--option: found 'calib', expected KEY=VALUE"),
        (['export', '--frames', 'few.txt', '--threshold', 'Car:0.5'], "--threshold: found 'Car:0.5'"),
        (['export', '--frames', 'few.txt', '--predictions', 'query_model', '--threshold', 'Cra=1'], "did you mean 'Car'"),
        (['export', '--frames', 'few.txt', '--reference-predictions', 'query_model'], 'expected --predictions as well'),
        (['export', '--frames', 'few.txt', '--threshold', '0.5'], '--threshold: expected --predictions as well'),
        (['export', '--frames', 'few.txt', '--predictions', 'query_model', '--threshold', '7'], '--threshold: found 7'),
        (['export', '--frames', 'few.txt', '--predictions', 'query_model', '--threshold', 'nan'], '--threshold: found nan'),
        (['export', '--frames', 'few.txt', *TWO_MODELS, '--iou', '7'], '--iou: found 7'),
        (['export', '--frames', 'few.txt', *TWO_MODELS, '--iou', 'nan'], '--iou: found nan'),
        (['export', '--frames', 'few.txt', *TWO_MODELS[:2], '--iou', '0.5'], '--iou: expected --reference-predictions'),
        (['export', '--frames', 'few.txt', '--load-dim', '-4'], '--load-dim: found -4'),
        (['export', '--frames', 'few.txt', '--scans', 'labels'], 'found no scan'),
        (['export', '--frames', 'few.txt', '--out', 'scans'], 'there is something already'),
        (['export', '--frames', 'few.txt', '--class-map', 'map.json'], "did you mean 'Car'"),
        (['export', '--frames', 'few.txt', '--class-map', 'same.json'], "are both 'Car' in the tool"),
        (['export', '--frames', 'few.txt', '--plugin', 'no_such_module'], '--plugin no_such_module: not importable'),
    ],
)  # fmt: skip
def test_mistakes_at_export_are_one_line(run, pool, tmp_path, words, message):
    run('labels', 'init', '--scans', 'scans', '--classes', *CLASSES)
    (tmp_path / 'few.txt').write_text('000001\n000002\n')
    (tmp_path / 'other.txt').write_text('999999\n')
    (tmp_path / 'empty.txt').write_text('\n')
    write_json(tmp_path / 'map.json', {'Cra': 'Auto'})
    write_json(tmp_path / 'same.json', {'Pedestrian': 'Car'})
    defaults = {'--labels': 'labels/pool.json', '--scans': 'scans', '--format': 'json', '--out': 'batch'}
    for name, value in defaults.items():
        words = words if name in words else [*words, name, value]
    assert message in run('labels', *words, code=2)
    assert not (tmp_path / 'batch').exists()


def test_a_damaged_scan_stops_the_export_and_leaves_nothing(run, pool, tmp_path):
    run('labels', 'init', '--scans', 'scans', '--classes', *CLASSES)
    (tmp_path / 'few.txt').write_text('000001\n000002\n')
    (tmp_path / 'scans' / '000002.bin').write_bytes(b'123')
    words = ['--frames', 'few.txt', '--labels', 'labels/pool.json', '--scans', 'scans', '--format', 'json']
    assert '000002.bin: found 3 bytes' in run('labels', 'export', *words, '--out', 'batch', code=2)
    assert not (tmp_path / 'batch').exists()


def test_a_state_is_extended_but_never_cut(run, pool, tmp_path):
    run('labels', 'init', '--scans', 'scans', '--classes', *CLASSES)
    (tmp_path / 'few.txt').write_text('000001\n000002\n000003\n')
    (tmp_path / 'two.txt').write_text('000001\n000002\n')
    (tmp_path / 'one.txt').write_text('000003\n')
    base = ['--labels', 'labels/pool.json']
    run('labels', 'export', '--frames', 'few.txt', *base, '--scans', 'scans', '--format', 'json', '--out', 'batch')
    words = ['import', 'batch', *base, '--accept-untouched']
    run('labels', *words, '--only', 'two.txt', code=3)
    assert LabelState.read('labels/round_0.json').frame_ids == ('000001', '000002')
    run('labels', *words, '--only', 'one.txt')
    assert LabelState.read('labels/round_0.json').frame_ids == ('000001', '000002', '000003')
    report = json.loads((tmp_path / 'labels' / 'round_0_import.json').read_text())
    assert (list(report['frames']), report['missing']) == (['000001', '000002', '000003'], [])
    error = run('labels', 'import', 'batch', '--labels', 'labels/round_0.json', '--accept-untouched', code=2)
    assert 'other frames are labelled in it (3) than when batch was exported' in error
    run('labels', *words, '--only', 'one.txt', '--overwrite', code=3)
    assert LabelState.read('labels/round_0.json').frame_ids == ('000003',)
    assert [path.stem for path in (tmp_path / 'labels' / 'boxes').iterdir()] == ['000003']


def test_corrections_of_an_earlier_round_are_carried_on_by_hand_and_said(run, pool, tmp_path):
    run('labels', 'init', '--scans', 'scans', '--classes', *CLASSES)
    (tmp_path / '0.txt').write_text('000001\n')
    (tmp_path / '1.txt').write_text('000002\n')
    for number, before in enumerate(('pool', 'round_0')):
        run('labels', 'export', '--frames', f'{number}.txt', '--labels', f'labels/{before}.json', '--scans', 'scans',
            '--format', 'json', '--out', f'batch_{number}')  # fmt: skip
        run('labels', 'import', f'batch_{number}', '--labels', f'labels/{before}.json', '--accept-untouched')
    path = tmp_path / 'batch_0' / 'labels' / '000001.json'
    box = {'class': 'Car', 'box': [*pool.boxes[0].tolist()]}
    path.write_text(json.dumps({**json.loads(path.read_text()), 'boxes': [box]}))
    shown = run('labels', 'import', 'batch_0', '--labels', 'labels/pool.json')
    assert 'labels/round_1.json holds other labels of these frames; import its batch again' in shown.replace('\n', ' ')
    run('labels', 'import', 'batch_1', '--labels', 'labels/round_0.json', '--accept-untouched')
    assert LabelState.read('labels/round_1.json').counts['Car'] == 1


def test_mistakes_at_init_leave_nothing(run, pool, tmp_path):
    words = ['labels', 'init', '--scans', 'scans', '--classes', *CLASSES, '--sample']
    assert '--sample: found 99, expected 1 to 40' in run(*words, 99, code=2)
    assert '--seed: found -1' in run(*words, 3, '--seed', -1, code=2)
    empty = run('labels', 'init', '--scans', 'scans', '--classes', 'Car', '', code=2)
    assert '--classes: found an empty name' in empty
    run(*words, 3)


def test_kitti_labels_need_the_calibration_of_every_frame(run, pool, tmp_path):
    from ssal3d.annotation.importing import read_labels
    from ssal3d.annotation.store import store
    from ssal3d.errors import UserError

    run('labels', 'init', '--scans', 'scans', '--classes', *CLASSES)
    (tmp_path / 'few.txt').write_text('000001\n')
    run('labels', 'export', '--frames', 'few.txt', '--labels', 'labels/pool.json', '--scans', 'scans', '--format',
        'json', '--out', 'batch')  # fmt: skip
    (tmp_path / 'checked.txt').write_text('000001\n')
    run('labels', 'status', 'batch', '--checked', 'checked.txt')
    labels = read_labels('batch')
    assert labels.untouched == ('000001',)
    state = LabelState.read('labels/pool.json')
    from ssal3d.annotation import ImportSettings

    labels = read_labels('batch', settings=ImportSettings(checked=frozenset({'000001'})))
    with pytest.raises(UserError, match='--kitti: has no frame 000001'):
        store(labels, state, 0, 'labels', kitti={})
    assert not (tmp_path / 'labels' / 'boxes').exists()


def test_kitti_labels_for_the_converter_come_from_any_tool(run, kitti_mini, tmp_path):
    """Real frames, real calibrations: what the converter reads are the boxes that the tool gave back."""
    from ssal3d.data.kitti_converter import convert_kitti
    from ssal3d.data.kitti_format import camera_boxes_to_lidar, read_calibration
    from ssal3d.data.kitti_objects import read_objects

    data = tmp_path / 'kitti'
    ids = ['000010', '000113', '000134']
    ids = [name for name in ids if (kitti_mini / 'training' / 'label_2' / f'{name}.txt').exists()]
    ids = ids or [path.stem for path in sorted((kitti_mini / 'training' / 'label_2').glob('0*.txt'))[:3]]
    for kind, suffix in (('velodyne', '.bin'), ('label_2', '.txt'), ('calib', '.txt')):
        (data / 'training' / kind).mkdir(parents=True)
        for name in ids:
            shutil.copy(kitti_mini / 'training' / kind / f'{name}{suffix}', data / 'training' / kind)
    (data / 'ImageSets').mkdir()
    (data / 'ImageSets' / 'train.txt').write_text('\n'.join(ids))
    convert_kitti(data, workers=1)
    truth = {}
    for name in ids:
        objects = read_objects(data / 'training' / 'label_2' / f'{name}.txt')
        objects = objects[np.isin(objects.names, CLASSES)]
        calibration = read_calibration(data / 'training' / 'calib' / f'{name}.txt')
        truth[name] = objects.names.tolist(), camera_boxes_to_lidar(objects, calibration)
    infos = ['--infos', data / 'kitti_infos_train.pkl', '--scans', data / 'training' / 'velodyne']
    run('labels', 'init', *infos, '--classes', *CLASSES)
    (tmp_path / 'ids.txt').write_text('\n'.join(ids))
    run('labels', 'export', '--frames', 'ids.txt', '--labels', 'labels/pool.json', *infos, '--format', 'sly', '--out',
        'batch')  # fmt: skip
    for name, (kinds, boxes) in truth.items():  # a person draws the true boxes
        path = tmp_path / 'batch' / 'ds0' / 'ann' / f'{name}.pcd.json'
        content = json.loads(path.read_text())
        for number, (kind, box) in enumerate(zip(kinds, boxes.tolist())):
            content['objects'].append({'key': f'k{number}', 'classTitle': kind, 'tags': []})
            geometry = {
                'position': dict(zip('xyz', box[:3])),
                'rotation': {'x': 0, 'y': 0, 'z': box[6]},
                'dimensions': dict(zip('xyz', box[3:6])),
            }
            content['figures'].append(
                {'key': f'f{number}', 'objectKey': f'k{number}', 'geometryType': 'cuboid_3d', 'geometry': geometry}
            )
        path.write_text(json.dumps(content))
    run('labels', 'import', 'batch', '--labels', 'labels/pool.json', '--kitti', infos[1], '--scans', infos[3])
    for name, (kinds, boxes) in truth.items():
        objects = read_objects(tmp_path / 'labels' / 'label_2' / f'{name}.txt', allowed=(15,))
        calibration = read_calibration(data / 'training' / 'calib' / f'{name}.txt')
        assert objects.names.tolist() == kinds
        assert np.allclose(camera_boxes_to_lidar(objects, calibration), boxes, atol=1e-4)
        original = read_objects(data / 'training' / 'label_2' / f'{name}.txt')
        original = original[np.isin(original.names, CLASSES)]
        assert np.allclose(objects.location, original.location, atol=1e-3)
        seen = ~np.isnan(objects.bbox).any(axis=1) & (original.truncated < 0.1)
        assert np.abs(objects.bbox - original.bbox)[seen].max() < 25  # pixels; KITTI's boxes are drawn by hand


def test_check_ranks_planted_errors_above_everything_else(run, pool, tmp_path):
    from ssal3d.annotation import Cuboid, LabelFrame
    from ssal3d.annotation.formats.plain import write_frame_json

    boxes = pool.boxes.astype(float)
    for frame, name in enumerate(pool.frame_ids.tolist()):
        rows = range(*pool.boxes_of(frame).indices(len(boxes)))
        cuboids = [Cuboid(CLASSES[pool.labels[row]], tuple(boxes[row])) for row in rows]
        if frame == 3:
            del cuboids[0]  # missed
        if frame == 4:
            cuboids[0] = Cuboid(cuboids[0].class_name, (*boxes[rows[0], :3], 20.0, 9.0, 4.0, boxes[rows[0], 6]))  # huge
        if frame == 5:
            cuboids.append(cuboids[0])  # twice
        if frame == 6:
            cuboids.append(Cuboid('Car', (-30.0, 0.0, 5.0, 4.0, 1.7, 1.5, 0.0)))  # in the air
        write_frame_json(tmp_path / 'boxes' / f'{name}.json', LabelFrame(name, tuple(cuboids)))
    shown = run('labels', 'check', 'boxes', '--scans', 'scans', '--classes', *CLASSES, '--predictions', 'query_model',
                '--out', 'check.json')  # fmt: skip
    assert 'suspicions in 40 frames' in shown
    found = json.loads((tmp_path / 'check.json').read_text())['suspicions']
    pairs = {(entry['frame_id'], entry['kind']) for entry in found}
    assert {('000003', 'missed'), ('000004', 'size'), ('000005', 'duplicate'), ('000006', 'points')} <= pairs
    assert [entry['rank'] for entry in found] == list(range(len(found)))
    assert [entry['suspicion'] for entry in found] == sorted((entry['suspicion'] for entry in found), reverse=True)
    innocent = [entry for entry in found if entry['frame_id'] not in ('000003', '000004', '000005', '000006')]
    assert len(innocent) <= 3, innocent


@pytest.fixture
def boxes(tmp_path):
    """One labelled frame without the boxes that models see."""
    from ssal3d.annotation import LabelFrame
    from ssal3d.annotation.formats.plain import write_frame_json

    write_frame_json(tmp_path / 'boxes' / '000003.json', LabelFrame('000003', ()))
    return tmp_path / 'boxes'


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--out', 'boxes/000003.json'), 'boxes/000003.json: lies in boxes, which this command reads'),
        (('--out', 'boxes'), 'boxes: is an input of this command'),
        (('--predictions', 'query_model', '--out', 'query_model/check'), 'lies in query_model'),
        (('--predictions', 'query_model', '--threshold', '5'), '--threshold: found 5'),
        ((*TWO_MODELS, '--iou', '-3'), '--iou: found -3'),
        (('--predictions', 'query_model', '--iou', '0.5'), '--iou: expected --reference-predictions as well'),
        (('--out', 'mine.json'), 'mine.json: is there and no list of this command'),
        (('--top', '-1'), '--top: found -1'),
        (('--reference-predictions', 'query_model'), '--reference-predictions: expected --predictions as well'),
    ],
)
def test_mistakes_at_check_are_one_line_and_leave_the_labels(run, boxes, words, message):
    before = (boxes / '000003.json').read_bytes()
    (boxes.parent / 'mine.json').write_text('{"schema": 1}')
    assert message in run('labels', 'check', 'boxes', '--classes', *CLASSES, *words, code=2)
    assert [path.read_bytes() for path in boxes.iterdir()] == [before]
    assert (boxes.parent / 'mine.json').read_text() == '{"schema": 1}'


def test_a_check_says_how_many_models_see_an_object(run, pool, boxes, tmp_path):
    words = ['labels', 'check', 'boxes', '--classes', *CLASSES, '--out', 'check.json', '--predictions', 'query_model']
    run(*words)
    assert 'no box where the model sees a' in (tmp_path / 'check.json').read_text()
    run(*words, '--reference-predictions', 'reference_model')
    assert 'no box where both models see a' in (tmp_path / 'check.json').read_text()
