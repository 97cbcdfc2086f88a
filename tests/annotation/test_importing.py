import json
from shutil import copytree

import pytest

from ssal3d.annotation.importing import ImportSettings, read_labels
from ssal3d.annotation.provenance import Export
from ssal3d.annotation.store import next_state, read_boxes, store
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError


@pytest.fixture
def folder(batch):
    return batch.write('json')[0]


def save(folder, name, change=lambda content: content):
    """Save a frame's file as an editor does."""
    path = folder / 'labels' / f'{name}.json'
    path.write_text(json.dumps(change(json.loads(path.read_text())), indent=2))


def test_frames_that_nobody_saved_are_not_labelled(folder):
    labels = read_labels(folder)
    assert labels.frames == ()
    assert len(labels.untouched) == 7
    save(folder, 'crowd')
    save(folder, 'empty.frame')
    labels = read_labels(folder)
    assert [frame.frame_id for frame in labels.frames] == ['empty.frame', 'crowd']  # in the order of the query
    assert len(labels.untouched) == 5
    assert labels.counts(['Car', 'Pedestrian']) == [
        ('empty.frame', {'Car': 0, 'Pedestrian': 0}),
        ('crowd', {'Car': 0, 'Pedestrian': 200}),
    ]


def test_an_archive_that_the_tool_wrote_anew_says_nothing_of_frames_that_nobody_changed(batch, tmp_path):
    """Tools write every file of a task with new keys and times, also of frames that nobody opened."""
    folder = batch.write('sly')[0]
    copytree(folder / 'ds0', tmp_path / 'back' / 'ds0')
    for path in (tmp_path / 'back' / 'ds0' / 'ann').iterdir():
        content = json.loads(path.read_text())
        for figure in content['figures']:
            figure['updatedAt'] = '2026-11-27T12:00:00.000Z'
            if path.name.startswith('vector'):
                figure['geometry']['position']['x'] += 0.2
        path.write_text(json.dumps(content, indent=3))
    labels = read_labels(folder, tmp_path / 'back')
    assert [frame.frame_id for frame in labels.frames] == ['vector']
    assert set(labels.untouched) == set(batch.prelabels) - {'vector'}
    labels = read_labels(folder, tmp_path / 'back', ImportSettings(checked=frozenset({'bench', 'empty.frame'})))
    assert [(frame.frame_id, len(frame.cuboids)) for frame in labels.frames] == [
        ('vector', 1),
        ('bench', 1),
        ('empty.frame', 0),
    ]
    assert labels.cost['accepted'] == labels.cost['edited'] == 1


def test_of_a_table_for_all_frames_those_with_other_boxes_count(batch, tmp_path):
    folder = batch.write('csv')[0]
    tables = [
        (folder / 'labels' / f'{name}.csv').read_text().splitlines() for name in ('vector', 'bench', 'empty.frame')
    ]
    rows = [tables[0][0], tables[0][1].replace('10.1234', '10.9'), tables[1][1], tables[2][1]]
    for path in (folder / 'labels').iterdir():
        path.unlink()
    (folder / 'labels' / 'all.csv').write_text('\n'.join(rows))
    labels = read_labels(folder)
    assert [frame.frame_id for frame in labels.frames] == ['vector']
    assert labels.untouched == ('bench', 'empty.frame')


def test_a_file_of_unknown_frames_that_cannot_be_read_is_named(batch, tmp_path):
    folder = batch.write('csv')[0]
    (folder / 'labels' / 'all.csv').write_bytes(b'\xff\xfe no table')
    labels = read_labels(folder, settings=ImportSettings(only=frozenset({'vector'})))
    assert 'all.csv' in labels.problems[0].text


def test_a_checked_frame_that_did_not_come_back_is_as_it_was_handed_out(batch, folder):
    (folder / 'labels' / 'near_pi.json').unlink()
    labels = read_labels(folder, settings=ImportSettings(checked=frozenset({'near_pi'})))
    (frame,) = labels.frames
    assert [cuboid.box for cuboid in frame.cuboids] == [cuboid.box for cuboid in batch.prelabels['near_pi']]
    assert {cuboid.attributes['source'] for cuboid in frame.cuboids} == {'model'}
    with pytest.raises(UserError, match='frame nowhere is not in the batch'):
        read_labels(folder, settings=ImportSettings(checked=frozenset({'nowhere'})))


def test_missing_frames_frames_of_others_and_frames_twice(batch, folder, tmp_path):
    (folder / 'labels' / 'flat.json').unlink()
    (folder / 'labels' / 'stranger.json').write_text('{"schema": 1, "frame_id": "stranger", "boxes": []}')
    (folder / 'labels' / 'copy.json').write_text((folder / 'labels' / 'bench.json').read_text())
    labels = batch.read(folder)
    assert labels.missing == ('flat',)
    assert any(warning.startswith('1 frames in ') for warning in labels.warnings)
    assert [problem.frame_id for problem in labels.problems] == ['bench']
    assert 'came back twice' in labels.problems[0].text
    assert {'bench', 'flat', 'stranger'}.isdisjoint(frame.frame_id for frame in labels.frames)


def test_only_some_frames(batch, folder):
    labels = batch.read(folder, only=frozenset({'bench'}))
    assert ([frame.frame_id for frame in labels.frames], labels.missing) == (['bench'], ())
    with pytest.raises(UserError, match='frame nowhere is not in the batch round_1'):
        batch.read(folder, only=frozenset({'nowhere'}))


def test_a_folder_that_is_no_export(tmp_path):
    with pytest.raises(UserError, match=r'ssal3d_export\.json: no such file'):
        read_labels(tmp_path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda content: content.pop('frames'), "missing key 'frames'"),
        (lambda content: content['frames']['vector'].pop('file'), r'malformed \(KeyError'),
        (
            lambda content: content['frames']['vector']['prelabels'][0].update(box='x'),
            r"box: found 'x', expected a list",
        ),
        (lambda content: content['frames'].update({'../x': content['frames']['vector']}), 'is not a file name'),
        (lambda content: content.update(tool='skiff'), "unknown annotation format 'skiff'"),
        (lambda content: content.update(options={'speed': 1}), "unknown option of JsonFormat 'speed'"),
    ],
)
def test_damaged_provenance_is_one_line(folder, change, message):
    content = json.loads((folder / 'ssal3d_export.json').read_text())
    change(content)
    (folder / 'ssal3d_export.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_labels(folder)


def test_provenance_is_read_as_it_was_written(batch, folder):
    export = Export.read(folder)
    assert {name: frame.prelabels for name, frame in export.frames.items()} == batch.prelabels
    export.write(folder.parent)
    assert (folder.parent / 'ssal3d_export.json').read_bytes() == (folder / 'ssal3d_export.json').read_bytes()


def test_scans_that_moved_are_found_and_lost_ones_only_cost_the_count(batch, folder, tmp_path):
    def lonely(content):
        content['boxes'][0]['box'][0] = 60.0
        return content

    save(folder, 'vector', lonely)
    assert any('holds no point' in warning for warning in batch.read(folder).warnings)
    (batch.folder / 'scans').rename(tmp_path / 'elsewhere')
    assert not any('holds no point' in warning for warning in batch.read(folder).warnings)
    assert any('holds no point' in warning for warning in batch.read(folder, scans=tmp_path / 'elsewhere').warnings)


def test_archives_that_are_none(batch, folder, tmp_path):
    (tmp_path / 'back.zip').write_bytes(b'no zip')
    with pytest.raises(UserError, match=r'back\.zip: not readable as an archive'):
        batch.read(folder, tmp_path / 'back.zip')
    with pytest.raises(UserError, match='no such file or folder; check --from'):
        batch.read(folder, tmp_path / 'nowhere')


def test_an_archive_cannot_write_outside_its_folder(batch, folder, tmp_path):
    import io
    import tarfile

    with tarfile.open(tmp_path / 'evil.tar', 'w') as archive:
        info = tarfile.TarInfo('../../escaped.json')
        info.size = 2
        archive.addfile(info, io.BytesIO(b'{}'))
    with pytest.raises(UserError, match=r'evil\.tar'):
        batch.read(folder, tmp_path / 'evil.tar')
    assert not list(tmp_path.rglob('escaped.json'))


def test_the_store_holds_exact_boxes_and_where_they_come_from(batch, folder, tmp_path):
    def edit(content):
        content['boxes'][0]['box'][2] += 0.2
        del content['boxes'][1]
        content['boxes'].append({'class': 'Car', 'box': [40, 0, -1, 4, 1.8, 1.5, 1.0], 'track_id': '9'})
        return content

    save(folder, 'near_pi', edit)
    labels = read_labels(folder)
    pool = LabelState.empty(batch.classes, 'made', list(batch.prelabels))
    path = store(labels, pool, 1, tmp_path / 'labels')
    assert LabelState.read(path) == next_state(labels, pool, 1)
    assert LabelState.read(path).counts == {'Car': 2, 'Pedestrian': 0, 'park bench': 0}
    (frame,) = read_boxes(tmp_path / 'labels' / 'boxes').values()
    assert [cuboid.attributes['source'] for cuboid in frame.cuboids] == ['corrected', 'human']
    assert (frame.cuboids[0].id, frame.cuboids[1].id, frame.cuboids[1].track_id) == ('2', '', '9')
    assert all(cuboid.score is None for cuboid in frame.cuboids)  # a label has no score
    report = json.loads((tmp_path / 'labels' / 'round_1_import.json').read_text())
    assert report['frames'] == {'near_pi': {'edited': 1, 'moved': 1, 'added': 1, 'deleted': 1}}
    assert len(report['untouched']) == 6


def test_settings_default_to_the_strict_reading():
    settings = ImportSettings()
    assert (settings.accept_untouched, settings.only, settings.front) == (False, None, 'auto')
