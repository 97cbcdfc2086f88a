import json
from dataclasses import replace

import numpy as np
import pytest


@pytest.fixture
def scene(batch):
    folder, _ = batch.write('sustechpoints')
    return folder


def rewrite(scene, change, frame='vector'):
    path = scene / 'round_1' / 'label' / f'{frame}.json'
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_the_worked_example(scene):
    (entry,) = json.loads((scene / 'round_1' / 'label' / 'vector.json').read_text())
    assert entry == {
        'psr': {
            'position': {'x': 10.1234, 'y': 2.5678, 'z': -1.2345},
            'scale': {'x': 4.1, 'y': 1.7, 'z': 1.5},
            'rotation': {'x': 0, 'y': 0, 'z': 2.9},
        },
        'obj_type': 'Car',
        'obj_id': '1',
        'obj_attr': '',
        'annotator': 'ssal3d',
    }
    assert json.loads((scene / 'round_1' / 'label' / 'empty.frame.json').read_text()) == []


def test_null_is_no_id_and_attributes_must_fit_json(batch, scene):
    rewrite(scene, lambda entries: [{**entries[0], 'obj_id': None}])
    (frame,) = (frame for frame in batch.read(scene).frames if frame.frame_id == 'vector')
    assert frame.cuboids[0].track_id == ''
    rewrite(scene, lambda entries: [{**entries[0], 'obj_attr': float('nan')}])
    (problem,) = batch.read(scene).problems
    assert problem.frame_id == 'vector'
    assert 'expected finite numbers in attributes' in problem.text


def test_ids_are_unique_in_the_scene_because_the_tool_takes_them_for_tracks(scene):
    files = sorted((scene / 'round_1' / 'label').glob('*.json'))
    ids = [entry['obj_id'] for path in files for entry in json.loads(path.read_text())]
    assert len(ids) == len(set(ids)) == 206


def test_scans_are_those_16_byte_points_that_its_loader_reads(batch, scene):
    assert (scene / 'round_1' / 'lidar' / 'vector.bin').read_bytes() == batch.frames[0].scan.read_bytes()


def test_frames_with_other_cameras_go_to_other_scenes(batch, tmp_path):
    image = tmp_path / 'a.png'
    image.write_bytes(b'png')
    first = replace(batch.camera, image=image)
    second = replace(first, projection=first.projection * (1, 1, 1, 0))
    cameras = [first, second, first]
    frames = [replace(frame, cameras=(camera,)) for frame, camera in zip(batch.frames, cameras)]
    folder, _ = batch.write('sustechpoints', frames=frames, out='scenes')
    assert sorted(path.name for path in (folder / 'round_1_0' / 'lidar').iterdir()) == [
        f'{frames[0].frame_id}.bin', f'{frames[2].frame_id}.bin',
    ] or sorted(path.name for path in (folder / 'round_1_0' / 'lidar').iterdir()) == sorted(
        f'{frame.frame_id}.bin' for frame in (frames[0], frames[2])
    )  # fmt: skip
    calib = json.loads((folder / 'round_1_1' / 'calib' / 'camera' / 'CAM2.json').read_text())
    extrinsic, intrinsic = np.reshape(calib['extrinsic'], (4, 4)), np.reshape(calib['intrinsic'], (3, 3))
    assert np.allclose(extrinsic, second.lidar_to_camera)  # no fourth column, nothing to fold in
    assert np.allclose(intrinsic, second.projection[:3, :3])
    assert (folder / 'round_1_0' / 'camera' / 'CAM2' / 'vector.png').read_bytes() == b'png'
    assert batch.read(folder).cost['accepted'] == sum(len(batch.prelabels[frame.frame_id]) for frame in frames)


def test_a_file_as_the_editor_saves_it(batch, scene):
    """Angles beyond a half turn, a tiny lean, `follows`, boxes without annotator: as in its example scene."""

    def save(entries):
        (entry,) = entries
        del entry['annotator']
        entry['psr']['rotation'] = {'x': 0.002, 'y': -0.001, 'z': 2.9 - 2 * np.pi}
        entry['follows'] = {'obj_id': '3', 'angle': 0.1, 'distance': 4.0}
        new = {
            'psr': {
                'position': {'x': 20.5, 'y': -3, 'z': -0.8},
                'scale': {'x': 1.7, 'y': 0.6, 'z': 1.7},
                'rotation': {'x': 0, 'y': 0, 'z': 4.67},
            },
            'obj_type': 'BicycleRider',
            'obj_id': '207',
            'obj_attr': 'far',
        }
        return [entry, new]

    rewrite(scene, save)
    labels = batch.read(scene, aliases={'BicycleRider': 'Pedestrian'})
    kept, new = labels.frames[0].cuboids
    assert kept.box == batch.vector
    assert kept.attributes['source'] == 'model'
    assert new.box[6] == pytest.approx(4.67 - 2 * np.pi)
    assert (new.attributes['source'], new.attributes['obj_attr'], new.track_id) == ('human', 'far', '207')
    assert labels.cost['added'] == 1


def test_the_annotator_key_tells_untouched_boxes(batch, scene):
    def confirm(entries):
        del entries[0]['annotator']
        return entries

    rewrite(scene, confirm, 'near_pi')
    from ssal3d.annotation import build_format

    frames = {frame.frame_id: frame for frame in build_format('sustechpoints').read(scene).frames}
    assert [cuboid.untouched for cuboid in frames['near_pi'].cuboids] == [False, True]
    labels = batch.read(scene, accept_untouched=False)
    assert [frame.frame_id for frame in labels.frames] == ['near_pi']
    assert len(labels.untouched) == 6
    assert '1 boxes of saved frames were neither edited nor confirmed, as the tool says' in labels.warnings


def test_a_scene_alone_or_the_whole_data_folder_may_come_back(batch, scene):
    assert batch.read(scene, scene / 'round_1').cost['accepted'] == 206
    assert batch.read(scene, scene / 'round_1' / 'label').cost['accepted'] == 206


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda entries: {'objs': entries}, 'expected a list'),
        (lambda entries: [{**entries[0], 'psr': {}}], "'psr.rotation' is missing|'rotation' is missing"),
        (lambda entries: [{key: value for key, value in entries[0].items() if key != 'obj_type'}], 'obj_type'),
    ],
)
def test_mistakes_name_the_file(batch, scene, change, message):
    import re

    rewrite(scene, change)
    labels = batch.read(scene)
    assert [problem.frame_id for problem in labels.problems] == ['vector']
    assert re.search(message, labels.problems[0].text)
    assert 'vector.json' in labels.problems[0].text
