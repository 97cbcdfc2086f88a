import json
import sys
from math import pi
from types import SimpleNamespace

import numpy as np
import pytest

from ssal3d.annotation.formats import load_in_fiftyone
from ssal3d.errors import UserError


@pytest.fixture
def folder(batch):
    return batch.write('fiftyone')[0]


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_worked_example(folder):
    first = rows_of(folder / 'samples.jsonl')[0]
    assert (first['frame_id'], first['filepath'], first['tags']) == ('vector', 'scenes/vector.fo3d', ['query'])
    assert first['prelabels'] == [
        {
            'id': '1',
            'label': 'Car',
            'location': [10.1234, 2.5678, -1.2345],
            'dimensions': [4.1, 1.7, 1.5],
            'rotation': [0, 0, 2.9],
            'confidence': 0.912,
        }
    ]
    scene = json.loads((folder / 'scenes' / 'vector.fo3d').read_text())
    assert scene['camera']['up'] == 'Z'
    assert scene['children'][0]['pcdPath'] == 'vector.pcd'
    assert (folder / 'scenes' / 'vector.pcd').exists()
    assert 'import ssal3d' not in (folder / 'load_in_fiftyone.py').read_text()


def test_edited_rows_come_before_the_exported_ones(batch, folder):
    rows = rows_of(folder / 'samples.jsonl')
    rows[0]['prelabels'][0]['location'][0] += 1
    rows[1]['prelabels'].pop()
    (folder / 'edited.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    labels = batch.read(folder)
    assert (labels.cost['moved'], labels.cost['deleted'], labels.cost['accepted']) == (1, 1, 204)
    labels = batch.read(folder, accept_untouched=False)  # all frames came back, two of them changed
    assert [frame.frame_id for frame in labels.frames] == ['vector', 'near_pi']
    assert len(labels.untouched) == 5


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"frame_id": "vector", ', 'line 1, column'),
        ('{"frame_id": "vector"}', "'prelabels' is missing"),
        ('{"frame_id": "vector", "prelabels": [{"location": [1, 2]}]}', 'found 2 numbers in location, expected 3'),
    ],
)
def test_mistakes_name_the_line(batch, folder, line, message):
    (folder / 'edited.jsonl').write_text(line + '\n')
    text = batch.read(folder).problems[0].text
    assert message in text
    assert text.startswith(f'{folder}/edited.jsonl, line 1')


def test_a_mistake_in_one_frame_keeps_no_other_of_the_file_out(batch, folder):
    rows = rows_of(folder / 'samples.jsonl')
    rows[1]['prelabels'][0].pop('label')
    (folder / 'edited.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    labels = batch.read(folder)
    assert [(problem.frame_id, problem.text.split(':')[0]) for problem in labels.problems] == [
        (rows[1]['frame_id'], f'{folder}/edited.jsonl, line 2')
    ]
    assert len(labels.frames) == 6


class Record(dict):
    """What the script needs of FiftyOne's samples and detections, which take fields as arguments and as keys."""

    def __init__(self, **fields):
        super().__init__(fields)
        self.__dict__ = self


def test_the_script_does_not_replace_a_data_set_unless_it_is_told_to(folder, monkeypatch, capsys):
    """With a stand-in for FiftyOne's data base: what was edited there exists nowhere else."""
    stored = {}

    class Dataset(list):
        def __init__(self, name, persistent, overwrite):
            assert overwrite or name not in stored
            stored[name] = self

        add_samples = list.extend

    stand_in = SimpleNamespace(
        Dataset=Dataset, Detection=Record, Detections=Record, Sample=Record, dataset_exists=stored.__contains__
    )
    monkeypatch.setitem(sys.modules, 'fiftyone', stand_in)
    monkeypatch.setattr(load_in_fiftyone, 'HERE', folder)
    monkeypatch.setattr(sys, 'argv', ['load_in_fiftyone.py', '--name', 'round_1'])
    load_in_fiftyone.main()
    stored['round_1'][0].prelabels.detections[0].location = [11, 2, -1]
    with pytest.raises(SystemExit) as stopped:
        load_in_fiftyone.main()
    assert stopped.value.code == 2
    assert 'has a data set round_1, which may hold edits' in capsys.readouterr().err
    assert stored['round_1'][0].prelabels.detections[0].location == [11, 2, -1]
    monkeypatch.setattr(sys, 'argv', [*sys.argv, '--overwrite'])
    load_in_fiftyone.main()
    assert stored['round_1'][0].prelabels.detections[0].location == [10.1234, 2.5678, -1.2345]


def test_fiftyones_own_classes_take_scenes_and_boxes_and_the_script_hands_them_back(batch, folder, foreign):
    """Without its data base: the script's samples, FiftyOne's scene files, and an edit of one box."""
    script = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import fiftyone as fo
from fiftyone.core.threed import Scene
import load_in_fiftyone as ours
found = ours.samples(Path(sys.argv[1]), 'prelabels')
kinds = {sample.media_type for sample in found}
clouds = {}
for sample in found:
    scene = Scene.from_fo3d(sample.filepath)
    clouds[sample.frame_id] = [scene.camera.up, *[child.pcd_path for child in scene.children]]
found[0].prelabels.detections[0].rotation = [0, 0, 3.0]
found[1].prelabels.detections.append(
    fo.Detection(label='Car', location=[30, 3, -1], dimensions=[4, 2, 1.5], rotation=[0, 0, 0.1]))
Path(sys.argv[1], 'edited.jsonl').write_text(''.join(json.dumps(row) + '\\n' for row in ours.rows(found, 'prelabels')))
print(json.dumps([sorted(kinds), clouds]))
"""
    kinds, clouds = foreign('fiftyone', script, folder)
    assert kinds == ['3d']
    assert set(clouds) == set(batch.prelabels)
    assert clouds['vector'][0] == 'Z'
    assert clouds['vector'][1].endswith('vector.pcd')
    labels = batch.read(folder)
    assert not labels.problems
    assert (labels.cost['turned'], labels.cost['added'], labels.cost['accepted']) == (1, 1, 205)


def test_rotations_are_read_as_zyx_and_leaning_boxes_are_refused(batch, folder):
    rows = rows_of(folder / 'samples.jsonl')
    rows[0]['prelabels'][0]['rotation'] = [0.3, 0, 2.9]
    (folder / 'edited.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    assert f'leans by {np.degrees(0.3):.1f} degrees' in batch.read(folder).problems[0].text
    rows[0]['prelabels'][0]['rotation'] = [0, 0, 2.9 + 2 * pi]
    (folder / 'edited.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    assert batch.read(folder).cost['accepted'] == 206


def test_looking_only_formats_cannot_be_imported(batch):
    other, _ = batch.write('tao', out='tao')
    with pytest.raises(UserError, match="'tao' is for looking only"):
        batch.read(other)
