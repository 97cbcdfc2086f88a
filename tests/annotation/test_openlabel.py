import json
from dataclasses import replace
from math import pi

import numpy as np
import pytest

from ssal3d.annotation import build_format
from ssal3d.errors import UserError


@pytest.fixture
def folder(batch):
    return batch.write('openlabel', cameras=True)[0]


def document(folder, frame='vector'):
    return json.loads((folder / 'labels' / f'{frame}.json').read_text())['openlabel']


def test_the_worked_example(folder):
    found = document(folder)
    ((key, entry),) = found['frames']['0']['objects'].items()
    (cuboid,) = entry['object_data']['cuboid']
    worked = [10.1234, 2.5678, -1.2345, 0, 0, 0.992713, 0.1205028, 4.1, 1.7, 1.5]
    assert cuboid['val'] == pytest.approx(worked, abs=1e-6)
    assert cuboid['coordinate_system'] == 'lidar'
    assert cuboid['attributes']['num'] == [{'name': 'score', 'val': 0.912}]
    assert found['objects'][key]['type'] == 'Car'
    assert found['metadata']['schema_version'] == '1.0.0'
    assert found['frames']['0']['frame_properties']['external_id'] == 'vector'
    assert (folder / 'lidar' / 'vector.pcd').exists()


def test_the_camera_is_kittis_whole_projection_and_the_pose_maps_it_to_the_lidar(batch, folder):
    found = document(folder)
    pinhole = found['streams']['CAM2']['stream_properties']['intrinsics_pinhole']
    matrix = np.reshape(pinhole['camera_matrix'], (3, 4))
    assert np.allclose(matrix, batch.camera.projection[:3])
    assert (pinhole['width_px'], pinhole['height_px']) == (1242, 375)
    pose = np.reshape(found['coordinate_systems']['CAM2']['pose_wrt_parent']['matrix4x4'], (4, 4))
    assert np.allclose(pose @ batch.camera.lidar_to_camera, np.eye(4))
    assert found['coordinate_systems']['CAM2']['parent'] == 'lidar'


def test_kognics_front_is_y_with_the_width_along_x(batch, folder):
    other, _ = batch.write('openlabel', options={'front': '+y'}, out='kognic')
    (entry,) = document(other)['frames']['0']['objects'].values()
    value = entry['object_data']['cuboid'][0]['val']
    assert value[7:] == [1.7, 4.1, 1.5]
    assert 2 * np.arctan2(value[5], value[6]) == pytest.approx(1.329204, abs=1e-6)
    assert batch.read(other).cost['accepted'] == 206
    with pytest.raises(UserError, match="unknown front '-x'"):
        build_format('openlabel', {'front': '-x'})


def rewrite(folder, change, frame='vector'):
    content = document(folder, frame)
    change(content)
    (folder / 'labels' / f'{frame}.json').write_text(json.dumps({'openlabel': content}))


def box_of(content):
    (entry,) = content['frames']['0']['objects'].values()
    return entry['object_data']['cuboid'][0]


def test_euler_angles_in_zyx_are_read(batch, folder):
    def euler(content):
        box_of(content)['val'] = [10.1234, 2.5678, -1.2345, 0.0, 0.0, 2.9, 4.1, 1.7, 1.5]

    rewrite(folder, euler)
    assert batch.read(folder).cost['accepted'] == 206
    rewrite(folder, lambda content: box_of(content)['val'].__setitem__(3, 0.1))
    assert 'leans by 5.7 degrees' in batch.read(folder).problems[0].text


def test_one_file_of_another_tool_with_several_frames(batch, folder, tmp_path):
    """A sequence: integer keys, one object in two frames, ids of the frames in the uris of the LiDAR."""
    objects = {'7': {'name': 'car1', 'type': 'Car'}, '8': {'name': 'p', 'type': 'Pedestrian'}}

    def frame(name, **boxes):
        data = {key[1:]: {'object_data': {'cuboid': [{'name': 'shape', 'val': box}]}} for key, box in boxes.items()}
        return {'frame_properties': {'streams': {'top': {'uri': f'/data/{name}.pcd'}}}, 'objects': data}

    first = [5.0, 1, -1, 0, 0, 0, 1, 4, 1.8, 1.5]
    second = [6.0, 1, -1, 0, 0, -np.sin(0.05), -np.cos(0.05), 4, 1.8, 1.5]
    frames = {'0': frame('vector', _7=first), '1': frame('bench', _7=second, _8=[9, 9, -1, 0, 0, 0, 1, 0.6, 0.6, 1.7])}
    content = {'metadata': {'schema_version': '1.0.0'}, 'streams': {'top': {'type': 'lidar'}}, 'objects': objects}
    (tmp_path / 'back').mkdir()
    (tmp_path / 'back' / 'sequence.json').write_text(json.dumps({'openlabel': {**content, 'frames': frames}}))
    labels = batch.read(folder, tmp_path / 'back')
    found = {frame.frame_id: frame.cuboids for frame in labels.frames}
    assert set(found) == {'vector', 'bench'}
    assert [cuboid.track_id for cuboid in (*found['vector'], *found['bench'])] == ['7', '7', '8']
    assert found['bench'][0].box[6] == pytest.approx(0.1)
    assert len(labels.missing) == 5


def sequence(folder, objects, boxes):
    """Write a document of several frames of objects that are cars; boxes by frame and object."""
    frames = {
        str(number): {
            'frame_properties': {'external_id': name},
            'objects': {
                key: {'object_data': {'cuboid': [{'name': 'shape', 'val': box}]}} for key, box in found.items()
            },
        }
        for number, (name, found) in enumerate(boxes.items())
    }
    cars = {key: {'name': key, 'type': 'Car', **entry} for key, entry in objects.items()}
    head = {'metadata': {'schema_version': '1.0.0'}, 'streams': {'lidar': {'type': 'lidar'}}}
    folder.mkdir(exist_ok=True)
    (folder / 'sequence.json').write_text(
        json.dumps({'openlabel': {**head, 'objects': cars, 'frames': frames}}, indent=1)
    )
    return build_format('openlabel').read(folder)


BOX = [5.0, 1, -1, 0, 0, 0, 1, 4, 1.8, 1.5]


def test_a_mistake_in_one_frame_keeps_no_other_of_the_document_out(tmp_path):
    lopsided = [*BOX[:6], 0.5, *BOX[7:]]
    reading = sequence(tmp_path, {'7': {}}, {'a': {'7': BOX}, 'b': {'7': lopsided}, 'c': {}})
    assert [(frame.frame_id, len(frame.cuboids)) for frame in reading.frames] == [('a', 1), ('c', 0)]
    (problem,) = reading.problems
    assert problem.frame_id == 'b'
    assert 'sequence.json, line ' in problem.text
    assert 'norm 0.5, expected norm 1' in problem.text


def test_boxes_of_objects_that_stand_still_hold_for_the_frames_of_the_object(tmp_path):
    still = {'object_data': {'cuboid': [{'name': 'shape', 'val': BOX}]}}
    spans = [{'frame_start': 0, 'frame_end': 0}, {'frame_start': 2, 'frame_end': 5}]
    empty = {'a': {}, 'b': {}, 'c': {}}
    reading = sequence(tmp_path, {'7': still, '8': {**still, 'frame_intervals': spans}}, empty)
    found = {frame.frame_id: [cuboid.track_id for cuboid in frame.cuboids] for frame in reading.frames}
    assert found == {'a': ['7', '8'], 'b': ['7'], 'c': ['7', '8']}
    assert reading.frames[0].cuboids[0].box == pytest.approx((5, 1, -1, 4, 1.8, 1.5, 0))
    both = sequence(tmp_path, {'7': still}, {'a': {'8': BOX}} | {'b': {}})
    assert "'objects.8' is missing" in both.problems[0].text
    (problem,) = sequence(tmp_path, {'8': {**still, 'frame_intervals': [{'frame_start': 0}]}}, empty).problems
    assert "'frame_end' is missing" in problem.text


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: box_of(c).update(coordinate_system='world'), "coordinate system 'world', expected the LiDAR's"),
        (lambda c: box_of(c).update(val=[1, 2, 3]), 'found 3 numbers in val, expected x, y, z, rx'),
        (lambda c: box_of(c)['val'].__setitem__(6, 2.0), 'expected norm 1'),
        (lambda c: box_of(c)['val'].__setitem__(0, '1'), "found val '1', expected a finite number"),
        (lambda c: c['objects'].clear(), "'objects."),
        (lambda c: c.pop('frames'), "'frames' is missing"),
    ],
)
def test_mistakes_name_the_file(batch, folder, change, message):
    rewrite(folder, change)
    labels = batch.read(folder)
    assert [problem.frame_id for problem in labels.problems] == ['vector']
    assert message in labels.problems[0].text
    assert 'labels/vector.json' in labels.problems[0].text


def test_kognics_model_of_the_schema_takes_every_file(batch, folder, foreign, tmp_path):
    image = tmp_path / 'a.png'
    image.write_bytes(b'png')
    frames = [replace(frame, cameras=(replace(batch.camera, image=image),)) for frame in batch.frames[:2]]
    with_images, _ = batch.write('openlabel', frames=frames, out='images')
    script = """
import json, pathlib, sys
from kognic.openlabel.models import OpenLabelAnnotation
boxes = {}
for folder in sys.argv[1:]:
    for path in sorted(pathlib.Path(folder, 'labels').glob('*.json')):
        found = OpenLabelAnnotation.model_validate_json(path.read_text()).openlabel
        frame = found.frames['0']
        boxes[path.stem] = [[found.objects[key].type, *cuboid.val]
                            for key, entry in frame.objects.items() for cuboid in entry.object_data.cuboid]
print(json.dumps(boxes))
"""
    boxes = foreign('kognic.openlabel.models', script, with_images, folder)
    assert set(boxes) == set(batch.prelabels)
    for name, prelabels in batch.prelabels.items():
        for row, cuboid in zip(boxes[name], prelabels, strict=True):
            assert row[0] == cuboid.class_name
            assert row[1:4] + row[8:] == pytest.approx(cuboid.box[:6])
            turn = (2 * np.arctan2(row[6], row[7]) - cuboid.box[6] + pi) % (2 * pi) - pi
            assert turn == pytest.approx(0, abs=1e-6)
