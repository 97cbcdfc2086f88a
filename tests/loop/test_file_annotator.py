"""Frames go out as files and labels come back: settings, shares, mistakes, kills, KITTI's camera frame."""

import json

import numpy as np
import pytest
from mmengine.config import Config

import ssal3d.register  # noqa: F401
from ssal3d.active.query.query_file import Query
from ssal3d.annotation.provenance import Export
from ssal3d.data.infos import frame_id, read_infos
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.label_state import LabelState
from ssal3d.data.labelled import state_of
from ssal3d.data.views import LabelledView
from ssal3d.errors import UserError, WaitingError
from ssal3d.fileio import read_json, write_json
from ssal3d.loop import handing_out
from ssal3d.loop.querying import buy_initial_frames, check_annotator, query_reads
from tests.helpers.kitti_street import write_street
from tests.helpers.labelling_person import Person
from tests.helpers.warehouse import CLASSES, objects_of, write_hall


@pytest.fixture(scope='module')
def hall(tmp_path_factory):
    return write_hall(tmp_path_factory.mktemp('hall'))


@pytest.fixture
def config(hall):
    pool = dict(
        type='FolderDataset',
        data_root=str(hall),
        ann_file='folder_infos_train.pkl',
        data_prefix=dict(pts='points'),
        metainfo=dict(classes=CLASSES),
        box_type_3d='LiDAR',
    )
    return Config(dict(pool_dataset=pool, randomness=dict(seed=0), train_cfg=dict()))


def entry(budget=4):
    return dict(sampler=dict(type='RandomSampler'), query=dict(unit='frames', budget=budget))


def ask(config, work, budget=4, **settings):
    return buy_initial_frames(config, entry(budget), dict(type='FileAnnotator', **settings), work)


def hand_out(config, work, **settings):
    with pytest.raises(WaitingError):
        ask(config, work, **settings)
    return work / 'initial' / 'to_label'


def test_what_came_back_is_what_is_learnt_from(config, tmp_path):
    person = Person(CLASSES, objects_of)
    person.edit_json(hand_out(config, tmp_path))
    facts = ask(config, tmp_path)
    assert (facts['frames'], facts['asked'], facts['spent']) == (4, 4, 8)
    assert facts['edits']['added'] == 8
    query = Query.read(tmp_path / 'initial' / 'query.json')
    assert (query.spent, query.cost, query.spent_per_class) == (4, 'annotated', {'forklift': 4, 'pallet': 4})
    assert LabelState.read(facts['files']['labels']).frame_ids == query.frame_ids
    view = LabelledView(
        dict(config.pool_dataset, ann_file=str(facts['files']['annotations']), pipeline=[]), facts['files']['labels']
    )
    for name, boxes, names, usable in view.annotated_objects():
        expected, truth = objects_of(int(name))
        np.testing.assert_allclose(boxes[:, :6], truth[:, :6], atol=1e-5)
        assert names.tolist() == expected
        assert usable.all()
    info = read_infos(facts['files']['annotations'])['data_list'][0]
    counts = [entry['num_lidar_pts'] for entry in info.get('instances', [])]
    assert all(count > 100 for count in counts)


def test_waiting_changes_nothing_and_the_frames_stay_the_same(config, tmp_path):
    hand_out(config, tmp_path)
    first = (tmp_path / 'initial' / 'asked.json').read_bytes()
    hand_out(config, tmp_path)
    assert (tmp_path / 'initial' / 'asked.json').read_bytes() == first
    assert not (tmp_path / 'labels').exists()


def test_a_share_is_enough_and_the_rest_stays_in_the_pool(config, tmp_path, capsys):
    folder = hand_out(config, tmp_path, wait_for=0.5)
    frames = list(Export.read(folder).frames)
    person = Person(CLASSES, objects_of)
    person.edit_json(folder, frames[:1])
    hand_out(config, tmp_path, wait_for=0.5)
    assert 'frame ' + frames[1] in capsys.readouterr().out
    person.edit_json(folder, frames[1:2])
    facts = ask(config, tmp_path, wait_for=0.5)
    assert (facts['frames'], facts['asked']) == (2, 4)
    assert LabelState.read(facts['files']['labels']).frame_ids == tuple(frames[:2])
    labelled = {
        frame_id(info) for info in read_infos(facts['files']['annotations'])['data_list'] if 'instances' in info
    }
    assert labelled == set(frames[:2])


def test_frames_without_objects_are_named_in_a_list(config, tmp_path):
    folder = hand_out(config, tmp_path)
    frames = list(Export.read(folder).frames)
    Person(CLASSES, objects_of).edit_json(folder, frames[:3])
    (tmp_path / 'initial' / 'checked.txt').write_text(f'{frames[3]}\n')
    state = LabelState.read(ask(config, tmp_path)['files']['labels'])
    assert dict(state.frames[3].boxes) == {'forklift': 0, 'pallet': 0}
    (tmp_path / 'initial' / 'checked.txt').write_text('999\n')
    with pytest.raises(UserError, match='frame 999 was not handed out'):
        ask(config, tmp_path)


def test_frames_without_objects_of_a_tool_that_has_no_place_for_them(config, tmp_path, capsys):
    folder = hand_out(config, tmp_path, format='xtreme1')
    frames = list(Export.read(folder).frames)
    for name in frames:
        write_json(tmp_path / 'initial' / 'labelled' / 'data' / f'{name}.json', {'name': name})
    hand_out(config, tmp_path, format='xtreme1')
    assert 'the frame has no result' in capsys.readouterr().out
    (tmp_path / 'initial' / 'checked.txt').write_text('\n'.join(frames[:3]))
    hand_out(config, tmp_path, format='xtreme1')
    assert '3 of 4 frames labelled' in capsys.readouterr().out
    facts = ask(config, tmp_path, format='xtreme1', options=dict(empty_frames=True))
    assert facts['frames'] == 4


@pytest.mark.parametrize(('share', 'asked', 'expected'), [(0.56, 25, 14), (0.5, 3, 2), (1.0, 7, 7), (0.01, 4, 1)])
def test_a_share_is_counted_without_the_errors_of_floats(share, asked, expected):
    assert handing_out.enough(share, asked) == expected


def test_mistakes_are_listed_by_file_and_line(config, tmp_path, capsys):
    folder = hand_out(config, tmp_path)
    Person(CLASSES, objects_of).edit_json(folder)
    path = sorted((folder / 'labels').glob('*.json'))[0]
    path.write_text(path.read_text().replace('"forklift"', '"fork lift"'))
    capsys.readouterr()
    hand_out(config, tmp_path)
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if 'fork lift' in text) - 1
    assert f'wrong: {path}, line {line}: ' in capsys.readouterr().out


def test_another_query_is_refused_while_people_work(config, tmp_path):
    hand_out(config, tmp_path)
    with pytest.raises(UserError, match=r'handed out with query.budget = 4, now it is 5; resume with .* or delete'):
        ask(config, tmp_path, budget=5)


def test_a_kill_before_the_frames_are_written_is_mended(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(handing_out, '_hand_out', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ask(config, tmp_path)
    asked = read_json(tmp_path / 'initial' / 'asked.json')['frames']
    folder = hand_out(config, tmp_path)
    assert list(Export.read(folder).frames) == [frame['frame_id'] for frame in asked]


def test_a_kill_before_the_journal_knows_is_mended(config, tmp_path):
    Person(CLASSES, objects_of).edit_json(hand_out(config, tmp_path))
    first = {role: path.read_bytes() for role, path in ask(config, tmp_path)['files'].items()}
    assert {role: path.read_bytes() for role, path in ask(config, tmp_path)['files'].items()} == first


def test_labels_of_two_places_are_refused(config, tmp_path):
    hand_out(config, tmp_path)
    (tmp_path / 'initial' / 'labelled').mkdir()
    (tmp_path / 'initial' / 'labelled.zip').write_bytes(b'')
    with pytest.raises(UserError, match='there is also'):
        ask(config, tmp_path)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(format='slyy'), "did you mean 'sly'"),
        (dict(format='tao'), 'for looking only'),
        (dict(options=dict(flavour='ros2')), "unknown option of JsonFormat 'flavour'"),
        (dict(wait_for=0), 'wait_for: found 0'),
        (dict(wait_for=1.5), r'expected a number in \[0, 1\]'),
        (dict(prelabels=dict(threshold=0.5)), "did you mean 'thresholds'"),
        (dict(class_map=dict(forclift='Stapler')), "did you mean 'forklift'"),
        (dict(aliases=dict(Stapler='forclift')), "did you mean 'forklift'"),
        (dict(front='+z'), 'unknown value of front'),
    ],
)
def test_wrong_settings_are_found_before_anything_is_trained(config, settings, message):
    with pytest.raises(UserError, match=message):
        check_annotator(config, dict(type='FileAnnotator', **settings))


def test_a_held_out_report_needs_labels_that_nobody_has(config):
    config.train_cfg.held_out_report = True
    with pytest.raises(UserError, match='held_out_report'):
        check_annotator(config, dict(type='FileAnnotator'))
    check_annotator(config, dict(type='SimulatedAnnotator'))


def test_how_people_work_is_no_part_of_what_a_query_reads(config):
    first, second = (
        query_reads(config, entry(), 0, dict(type='FileAnnotator', format=name)) for name in ('json', 'sly')
    )
    assert first == second


def test_kitti_frames_get_boxes_in_the_camera_frame(tmp_path):
    root, work = tmp_path / 'kitti', tmp_path / 'work'
    write_street(root)
    convert_kitti(root, workers=1)
    pool = dict(
        type='KittiFrameDataset',
        data_root=str(root),
        ann_file='kitti_infos_train.pkl',
        data_prefix=dict(pts='training/velodyne_reduced'),
        metainfo=dict(classes=['Car', 'Pedestrian']),
    )
    config = Config(dict(pool_dataset=pool, randomness=dict(seed=0), train_cfg=dict()))
    truth = {name: (boxes, names) for name, boxes, names, _ in whole_pool(pool)}
    folder = hand_out(config, work)
    for path in (folder / 'labels').glob('*.json'):
        boxes, names = truth[path.stem]
        rows = [{'class': n, 'box': b} for n, b in zip(names, boxes.tolist()) if n in ('Car', 'Pedestrian')]
        path.write_text(json.dumps({'schema': 1, 'frame_id': path.stem, 'boxes': rows}))
    facts = ask(config, work)
    view = LabelledView(dict(pool, ann_file=str(facts['files']['annotations']), pipeline=[]), facts['files']['labels'])
    assert len(view) == 4
    for name, boxes, names, _ in view.annotated_objects():
        expected, known = truth[name]
        kept = np.isin(known, ['Car', 'Pedestrian'])
        np.testing.assert_allclose(boxes, expected[kept], atol=1e-4)
        assert names.tolist() == known[kept].tolist()


def whole_pool(pool):
    infos = read_infos(f'{pool["data_root"]}/{pool["ann_file"]}')
    state = state_of(infos, pool['metainfo']['classes'], 'kitti_infos_train')
    return LabelledView(dict(pool, pipeline=[]), state).annotated_objects()
