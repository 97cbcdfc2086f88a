"""What a check of labels finds of planted errors, and which pictures it draws of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssal3d.annotation.formats.plain import write_frame_json
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.planted import KINDS, PlantedError, hits, plant, precision_at, recall_by_kind
from ssal3d.annotation.quality import Suspicion, size_outliers, suspicions
from ssal3d.annotation.store import read_boxes
from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from tests.helpers.kitti_street import boxes_of, scan_of

CLASSES = ('Car', 'Pedestrian', 'Cyclist')


@pytest.fixture(scope='module')
def street():
    """Forty frames of four objects with their scans."""
    frames, clouds = [], {}
    for number in range(40):
        random = np.random.default_rng(number)
        names, boxes = boxes_of(random, behind=True)
        boxes[:, 3:6] *= random.normal(1, 0.04, (len(boxes), 3))
        frames.append(LabelFrame(f'{number:03d}', tuple(map(Cuboid, names, map(tuple, boxes.tolist())))))
        clouds[f'{number:03d}'] = scan_of(random, boxes, ground=500)
    return frames, clouds


def seen_by_models(frames):
    """What two good models agree on: the true boxes, a little beside."""
    random = np.random.default_rng(7)
    return {
        frame.frame_id: tuple(
            replace(cuboid, score=0.9, box=(*(np.array(cuboid.box[:3]) + random.normal(0, 0.03, 3)), *cuboid.box[3:]))
            for cuboid in frame.cuboids
        )
        for frame in frames
    }


def test_the_same_seed_plants_the_same_errors_of_every_kind(street):
    frames, _ = street
    spoilt, errors = plant(frames, CLASSES, 0.3, seed=3)
    assert (spoilt, errors) == plant(frames, CLASSES, 0.3, seed=3)
    assert len(errors) == 48
    assert {error.kind for error in errors} == set(KINDS)
    before, after = (sum(len(frame.cuboids) for frame in some) for some in (frames, spoilt))
    assert after - before == 8, 'eight are missing, eight are twice, eight phantoms are new'


def test_right_labels_raise_no_suspicion(street):
    frames, clouds = street
    assert suspicions(frames, CLASSES, clouds.__getitem__, seen_by_models(frames)) == []


def test_planted_errors_come_first(street):
    frames, clouds = street
    spoilt, errors = plant(frames, CLASSES, 0.2, seed=1)
    found = hits(suspicions(spoilt, CLASSES, clouds.__getitem__, seen_by_models(frames)), errors)
    assert precision_at(found, 30) >= 0.95
    counts = recall_by_kind(found, errors)
    assert all(count >= 0.6 * total for count, total in counts.values()), counts
    for kind in ('missed', 'class', 'duplicate'):
        assert counts[kind][0] == counts[kind][1] > 3


def test_sizes_are_judged_by_the_spread_of_their_class():
    def frame(number, length, name='Car'):
        return LabelFrame(str(number), (Cuboid(name, (9.0, 0, -1, length, 1.7, 1.5, 0)),))

    alike = [frame(number, 4 + 0.01 * number) for number in range(20)]
    varied = [frame(number, 4 + 0.3 * number, 'Truck') for number in range(20)]
    found = size_outliers([*alike, *varied, frame('odd', 5.6), frame('truck', 5.6, 'Truck')])
    assert list(found) == ['odd']
    (entry,) = found['odd']
    assert 0.5 < entry.suspicion < 1
    assert 'measures 5.60 x 1.70 x 1.50 m, usual for the class is 4.10 x 1.70 x 1.50 m' in entry.text
    assert size_outliers(alike[:7]) == {}


def test_a_suspicion_points_at_the_nearest_error_of_its_frame():
    errors = [PlantedError('a', 'size', (0.0,) * 7), PlantedError('a', 'class', (3.0,) * 7)]
    near, far, other = (
        Suspicion(frame, 'size', 1.0, '', (x, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0))
        for frame, x in (('a', 1.0), ('a', 9.0), ('b', 0.0))
    )
    found = hits([near, far, other], errors)
    assert found == [0, -1, -1]
    assert (precision_at(found, 2), precision_at(found, 50), precision_at([], 50)) == (0.5, 1 / 3, 0.0)
    assert recall_by_kind(found, errors)['size'] == (1, 1)


def test_an_object_of_two_rounds_in_two_folders_is_a_duplicate(tmp_path, capsys):
    from ssal3d.cli.labels import main

    car, other, far = ((x, 0.0, -1.0, 4.0, 1.7, 1.5, 0.1) for x in (9.0, 20.0, 40.0))
    moved = (9.1, *car[1:])
    for folder, frame, boxes in (
        ('round_1', '000007', [('Car', car), ('Car', other)]),
        ('round_2', '000007', [('Car', moved), ('Cyclist', other), ('Car', far)]),
        ('round_2', '000008', [('Car', car)]),
    ):
        cuboids = tuple(Cuboid(name, box) for name, box in boxes)
        write_frame_json(tmp_path / folder / 'boxes' / f'{frame}.json', LabelFrame(frame, cuboids))
    folders = [str(tmp_path / folder / 'boxes') for folder in ('round_1', 'round_2')]
    with pytest.raises(SystemExit) as end:
        main(['check', *folders, '--classes', 'Car', 'Cyclist', '--out', str(tmp_path / 'check.json')])
    assert end.value.code == 0, capsys.readouterr().err
    first, second = read_json(tmp_path / 'check.json')['suspicions']
    assert first['kind'] == second['kind'] == 'duplicate'
    assert {first['frame_id'], second['frame_id']} == {'000007'}
    same = next(entry['text'] for entry in (first, second) if 'is the same object as' in entry['text'])
    assert f'{folders[1]}/000007.json, line 2' in same
    assert f'{folders[0]}/000007.json, line 2' in same
    for folder in folders:
        assert list(read_boxes(folder)) == sorted(path.stem for path in Path(folder).iterdir())
        assert suspicions(list(read_boxes(folder).values()), ('Car', 'Cyclist')) == []
    with pytest.raises(UserError, match=r'boxes: given twice'):
        read_boxes(folders[0], folders[1], f'{folders[0]}/../boxes')


def test_the_command_draws_the_most_suspicious_first(street, tmp_path):
    pytest.importorskip('matplotlib')
    from ssal3d.cli.labels import main

    frames, clouds = street
    spoilt, _ = plant(frames[:8], CLASSES, 0.4, seed=1)
    for frame in spoilt:
        write_frame_json(tmp_path / 'boxes' / f'{frame.frame_id}.json', frame)
        (tmp_path / 'scans').mkdir(exist_ok=True)
        clouds[frame.frame_id].tofile(tmp_path / 'scans' / f'{frame.frame_id}.bin')
    words = ['check', tmp_path / 'boxes', '--scans', tmp_path / 'scans', '--classes', *CLASSES]
    with pytest.raises(SystemExit) as end:
        main([*map(str, words), '--out', str(tmp_path / 'found'), '--pictures', '4'])
    assert end.value.code == 0
    listed = read_json(tmp_path / 'found' / 'check.json')['suspicions']
    pictures = sorted((tmp_path / 'found').glob('*.png'))
    assert [path.stem for path in pictures] == [
        f'{entry["rank"]:03d}_{entry["frame_id"]}_{entry["kind"]}' for entry in listed[:4]
    ]
    assert all(path.read_bytes().startswith(b'\x89PNG') for path in pictures)
