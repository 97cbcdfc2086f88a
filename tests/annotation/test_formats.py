"""What holds for every format: an unedited round trip, whatever the boxes; edits are seen; mistakes are named."""

from dataclasses import replace
from importlib.util import find_spec
from math import pi

import numpy as np
import pytest

from ssal3d.annotation import AnnotationFormat, Cuboid, LabelFrame, Reading, build_format, format_names
from ssal3d.annotation.checks import check_frame
from ssal3d.annotation.comparison import compare
from ssal3d.annotation.rotations import wrapped
from ssal3d.errors import UserError
from ssal3d.registry import ANNOTATION_FORMATS

NEEDS = {'mcap': 'mcap_ros2'}  # module of the extra that a format needs
READABLE = [
    pytest.param(name, marks=pytest.mark.skipif(name in NEEDS and find_spec(NEEDS[name]) is None,
                                                reason=f'pip install "ssal3d[{name}]"'))
    for name in format_names(readable=True)
]  # fmt: skip


def read_raw(folder, tool, **options):
    """Read without comparison: what stands in the files."""
    reading = build_format(tool, options).read(folder)
    assert not reading.problems
    return {frame.frame_id: frame for frame in reading.frames}


def assert_same(read, frame, prelabels, tool):
    # What people would see: within 1 mm and 0.1 degrees (formats that go through CVAT are tested for that elsewhere).
    boxes = np.array([cuboid.box for cuboid in prelabels]).reshape(-1, 7)
    order = np.argsort([int(cuboid.id) for cuboid in read]) if all(cuboid.id for cuboid in read) else range(len(read))
    read = [read[position] for position in order]
    back = np.array([cuboid.box for cuboid in read]).reshape(-1, 7)
    assert back.shape == boxes.shape, (tool, frame)
    assert np.abs(back[:, :6] - boxes[:, :6]).max(initial=0) < 1e-3
    turns = [abs(wrapped(first - second)) for first, second in zip(back[:, 6], boxes[:, 6])]
    assert max(turns, default=0) < np.radians(0.1)
    form = build_format(tool)
    assert [cuboid.class_name for cuboid in read] == [form.spelled(cuboid.class_name) for cuboid in prelabels]
    assert all(-pi <= cuboid.box[6] < pi for cuboid in read)
    assert all(cuboid.tilt == pytest.approx(0, abs=1e-6) for cuboid in read)


@pytest.mark.parametrize('cameras', [False, True], ids=['lidar_only', 'camera'])
@pytest.mark.parametrize('tool', READABLE)
def test_an_unedited_round_trip_gives_the_prelabels_back(batch, tool, cameras):
    folder, _ = batch.write(tool, cameras=cameras)
    raw = read_raw(folder, tool)
    for name, prelabels in batch.prelabels.items():
        if name in raw:
            assert_same(raw[name].cuboids, name, prelabels, tool)
    labels = batch.read(folder)
    assert not labels.problems
    assert labels.cost['accepted'] == sum(map(len, batch.prelabels.values()))
    assert sum(labels.cost.values()) == labels.cost['accepted']
    for frame in labels.frames:
        restored = sorted(frame.cuboids, key=lambda cuboid: int(cuboid.id))
        assert [cuboid.box for cuboid in restored] == [cuboid.box for cuboid in batch.prelabels[frame.frame_id]]
        assert {cuboid.attributes['source'] for cuboid in frame.cuboids} <= {'model'}


@pytest.mark.parametrize('tool', READABLE)
def test_random_boxes_survive_and_every_edit_is_seen(batch, tool):
    rng = np.random.default_rng(7)
    place = np.stack(np.meshgrid(np.arange(5) * 9.0 + 4, np.arange(6) * 9.0 - 22), -1).reshape(-1, 2)
    boxes = np.column_stack(
        (
            place + rng.uniform(-1, 1, place.shape),
            rng.uniform(-2, 1, 30),
            rng.uniform(0.3, 6, (30, 3)),
            rng.uniform(-pi, pi, 30),
        )
    )
    before = tuple(
        Cuboid('Car' if k % 2 else 'Pedestrian', tuple(box), str(k + 1), score=0.5)
        for k, box in enumerate(boxes.tolist())
    )
    folder, _ = batch.write(tool, prelabels={'vector': before}, frames=batch.frames[:1], out='random')
    assert_same(read_raw(folder, tool)['vector'].cuboids, 'vector', before, tool)
    # a person edits: the same boxes, exported anew in place of the first
    moved = list(before)
    moved[0] = replace(before[0], box=(before[0].box[0] + 0.05, *before[0].box[1:]))
    moved[1] = replace(before[1], box=(*before[1].box[:6], wrapped(before[1].box[6] + 0.02)))
    moved[2] = replace(before[2], box=(*before[2].box[:3], before[2].box[3] + 0.1, *before[2].box[4:]))
    moved[3] = replace(before[3], class_name='Pedestrian')
    moved[4] = Cuboid('Car', (30.0, 30.0, 0.0, 4.0, 1.8, 1.5, 1.0), '900')
    rng.shuffle(moved)
    edited, _ = batch.write(tool, prelabels={'vector': tuple(moved)}, frames=batch.frames[:1], out='edited')
    labels = batch.read(folder, edited)
    expected = {'accepted': 25, 'edited': 4, 'deleted': 1, 'added': 1}
    expected |= dict.fromkeys(('moved', 'turned', 'resized', 'relabelled'), 1)
    assert labels.cost == expected
    sources = [cuboid.attributes['source'] for cuboid in labels.frames[0].cuboids]
    assert {name: sources.count(name) for name in set(sources)} == {'model': 25, 'corrected': 4, 'human': 1}


@pytest.mark.parametrize('tool', READABLE)
def test_the_exported_points_are_those_of_the_scan(batch, tool):
    if tool in ('mcap', 'nuscenes'):
        pytest.skip('compressed, or with a fifth column; see test_mcap and test_nuscenes')
    batch.write(tool, frames=batch.frames[:1])
    scan = np.fromfile(batch.frames[0].scan, '<f4')
    candidates = [path for path in (batch.folder / 'export').rglob('*') if path.is_file()]
    assert any(path.read_bytes().endswith(scan.tobytes()) for path in candidates)


@pytest.mark.parametrize('tool', READABLE)
def test_frames_without_boxes_stay_labelled_frames_or_the_notes_say_so(batch, tool):
    folder, notes = batch.write(tool, frames=[frame for frame in batch.frames if frame.frame_id == 'empty.frame'])
    labels = batch.read(folder)
    assert [frame.frame_id for frame in labels.frames] == ['empty.frame'] or any('without' in note for note in notes)


@pytest.mark.parametrize('tool', READABLE)
def test_another_folder_is_not_taken_for_labels(batch, tool, tmp_path):
    batch.write(tool)
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'notes.md').write_text('nothing')
    with pytest.raises(UserError, match=r'other: found no .*; give the folder that holds them$'):
        batch.read(tmp_path / 'export', tmp_path / 'other')


@pytest.mark.parametrize('tool', READABLE)
def test_a_file_of_garbage_spoils_no_other_frame(batch, tool):
    folder, _ = batch.write(tool)
    reading = build_format(tool).read(folder)
    files = sorted({frame.origin for frame in reading.frames})
    if len(files) == 1:
        pytest.skip('one file holds all frames')
    victim = next(frame for frame in reading.frames if frame.frame_id == 'vector')
    victim.origin.write_text('{"x": [1 2')
    labels = batch.read(folder)
    assert [problem.frame_id for problem in labels.problems] == ['vector']
    assert str(victim.origin) in labels.problems[0].text
    assert 'line 1' in labels.problems[0].text or 'column' in labels.problems[0].text
    assert 'vector' not in {frame.frame_id for frame in labels.frames}
    assert len(labels.frames) == len(reading.frames) - 1


def test_a_format_of_ones_own_plugs_in(batch):
    name = 'one_line_each'

    class OneLineEach(AnnotationFormat):
        def __init__(self, separator: str = ';') -> None:
            self.separator = separator

        def export(self, frames, folder, batch):
            for frame in frames:
                lines = [
                    self.separator.join((c.id, c.class_name, *map(repr, map(float, c.box)))) for c in frame.cuboids
                ]
                (folder / f'{frame.frame_id}.txt').write_text('\n'.join(lines))
            return ['no scans in this format']

        def read(self, folder):
            frames = []
            for path in sorted(folder.glob('*.txt')):
                rows = [line.split(self.separator) for line in path.read_text().splitlines()]
                cuboids = tuple(Cuboid(row[1], tuple(map(float, row[2:])), row[0]) for row in rows)
                frames.append(LabelFrame(path.stem, cuboids, origin=path))
            return Reading(tuple(frames))

    ANNOTATION_FORMATS.register_module(name, module=OneLineEach)
    try:
        folder, notes = batch.write(name, options={'separator': '|'})
        assert notes == ['no scans in this format']
        assert '|Car|' in (folder / 'vector.txt').read_text()
        assert batch.read(folder).cost['accepted'] == 206
        with pytest.raises(UserError, match="unknown option of OneLineEach 'seperator'"):
            build_format(name, {'seperator': ','})
    finally:
        ANNOTATION_FORMATS.module_dict.pop(name)


def test_a_format_that_does_not_read_what_it_writes_is_a_bug_and_leaves_nothing(batch):
    class Lossy(AnnotationFormat):
        def export(self, frames, folder, batch):
            return []

        def read(self, folder):
            return Reading((LabelFrame('vector'),))

    ANNOTATION_FORMATS.register_module('lossy', module=Lossy)
    try:
        with pytest.raises(RuntimeError, match='Lossy changes the boxes of frame vector'):
            batch.write('lossy')
    finally:
        ANNOTATION_FORMATS.module_dict.pop('lossy')
    assert not (batch.folder / 'export').exists()


def test_misspelt_formats_are_named_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown annotation format 'sustech': .*did you mean 'sustechpoints'\?"):
        build_format('sustech')


def test_the_companions_pass_the_checks(batch):
    for frame in batch.frames:
        findings = check_frame(replace(frame, cuboids=batch.prelabels[frame.frame_id]), batch.classes)
        assert findings == []
    counts = compare(batch.prelabels['crowd'], batch.prelabels['crowd'], build_format('json').tolerance).counts
    assert counts['accepted'] == 200


def test_the_help_names_every_shipped_format():
    from ssal3d.cli.labels_arguments import FORMATS

    shipped = {name for name, kind in ANNOTATION_FORMATS.module_dict.items() if kind.__module__.startswith('ssal3d.')}
    assert set(FORMATS) == shipped <= set(format_names())
