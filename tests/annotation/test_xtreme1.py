import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from ssal3d.errors import UserError
from ssal3d.fileio import write_json


@pytest.fixture
def export(batch):
    write_json(batch.folder / 'ids.json', {'Car': 123, 'Pedestrian': 124, 'park bench': 125})
    return batch.write('xtreme1', options={'class_ids': str(batch.folder / 'ids.json')})


def result(folder, frame='vector'):
    return json.loads((folder / 'round_1' / 'result' / f'{frame}.json').read_text())


def test_the_worked_example(export):
    (entry,) = result(export[0])['objects']
    assert entry['contour'] == {
        'center3D': {'x': 10.1234, 'y': 2.5678, 'z': -1.2345},
        'rotation3D': {'x': 0, 'y': 0, 'z': 2.9},
        'size3D': {'x': 4.1, 'y': 1.7, 'z': 1.5},
        'points': [],
        'viewIndex': 0,
    }
    assert (entry['type'], entry['classId'], entry['className'], entry['modelClass']) == ('3D_BOX', 123, 'Car', 'Car')
    assert entry['modelConfidence'] == 0.912
    assert len(entry['trackId']) >= 16


def test_folders_are_those_that_the_upload_looks_for(batch, export, tmp_path):
    assert (export[0] / 'round_1' / 'lidar_point_cloud_0' / 'empty.frame.pcd').exists()
    assert not (export[0] / 'round_1' / 'result' / 'empty.frame.json').exists()  # an empty one is an error there
    assert any('1 frames without pre-labels' in note for note in export[1])
    image = tmp_path / 'a.png'
    image.write_bytes(b'png')
    camera = replace(batch.camera, image=image)
    folder, _ = batch.write('xtreme1', frames=[replace(batch.frames[0], cameras=(camera, camera))], out='fusion')
    assert (folder / 'round_1' / 'camera_image_1' / 'vector.png').read_bytes() == b'png'
    config = json.loads((folder / 'round_1' / 'camera_config' / 'vector.json').read_text())
    assert len(config) == 2
    inner, outer = config[0]['camera_internal'], np.reshape(config[0]['camera_external'], (4, 4))
    assert config[0]['rowMajor'] is True
    intrinsic = np.array([[inner['fx'], 0, inner['cx']], [0, inner['fy'], inner['cy']], [0, 0, 1]])
    point = np.array([20.0, 3, -1, 1])
    shown, wanted = intrinsic @ (outer @ point)[:3], camera.projection @ camera.lidar_to_camera @ point
    assert np.allclose(shown[:2] / shown[2], wanted[:2] / wanted[2], atol=1e-6)


def test_without_ids_of_the_classes_the_tool_shows_a_models_boxes_and_the_notes_say_so(batch, export):
    folder, notes = batch.write('xtreme1', out='plain')
    (entry,) = result(folder)['objects']
    assert 'classId' not in entry
    assert 'className' not in entry
    assert any('class_ids=FILE' in note for note in notes)
    write_json(batch.folder / 'few.json', {'Car': 1})
    with pytest.raises(UserError, match="no id of class 'Pedestrian'"):
        batch.write('xtreme1', options={'class_ids': str(batch.folder / 'few.json')}, out='few')


def tools_export(folder, target, change=lambda name, objects: objects):
    """Write what the tool's export writes: lists of sources, ids of its own, image boxes among the others."""
    with zipfile.ZipFile(target, 'w') as archive:
        for path in sorted((folder / 'round_1' / 'lidar_point_cloud_0').glob('*.pcd')):
            name = path.stem
            archive.writestr(f'batch-7/data/{name}.json', json.dumps({'dataId': 5, 'name': name, 'type': 'LIDAR'}))
            source = folder / 'round_1' / 'result' / f'{name}.json'
            if not source.exists():
                continue
            objects = [{**entry, 'id': 9, 'pointN': 3} for entry in json.loads(source.read_text())['objects']]
            flat = {'id': 1, 'type': '2D_BOX', 'classId': 123, 'className': 'Car', 'contour': {'points': []}}
            content = [{'version': '1.0', 'dataId': 5, 'sourceName': 'Ground Truth', 'classificationValues': [],
                        'objects': [flat, *change(name, objects)]}]  # fmt: skip
            archive.writestr(f'batch-7/result/{name}.json', json.dumps(content))
    return target


def test_the_tools_own_export_comes_back(batch, export, tmp_path):
    def edit(name, objects):
        if name == 'vector':
            objects[0]['className'] = None  # a class that the data set does not have survives as modelClass only
            objects[0]['contour']['rotation3D']['z'] += 0.3
        return objects

    labels = batch.read(export[0], tools_export(export[0], tmp_path / 'back.zip', edit))
    assert (labels.cost['turned'], labels.cost['edited'], labels.cost['accepted']) == (1, 1, 205)
    assert [problem.frame_id for problem in labels.problems] == ['empty.frame']
    assert 'back.zip/batch-7/data/empty.frame.json: the frame has no result' in labels.problems[0].text
    labels = batch.read(export[0], tmp_path / 'back.zip', options={'empty_frames': True})
    assert not labels.problems
    assert [len(frame.cuboids) for frame in labels.frames if frame.frame_id == 'empty.frame'] == [0]
    for strict in ({'options': {'empty_frames': True}}, {'checked': frozenset({'empty.frame'})}):
        labels = batch.read(export[0], tmp_path / 'back.zip', accept_untouched=False, **strict)
        assert [(frame.frame_id, len(frame.cuboids)) for frame in labels.frames] == [('vector', 1), ('empty.frame', 0)]
        assert (len(labels.untouched), labels.problems) == (5, ())


def test_a_box_without_any_class_is_named(batch, export, tmp_path):
    def edit(name, objects):
        return [{**entry, 'className': None, 'modelClass': ''} for entry in objects] if name == 'vector' else objects

    labels = batch.read(export[0], tools_export(export[0], tmp_path / 'back.zip', edit))
    assert 'the box has no class' in next(p.text for p in labels.problems if p.frame_id == 'vector')
