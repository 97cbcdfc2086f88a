import json
import uuid
import zipfile
from math import pi

import numpy as np
import pytest

from ssal3d.errors import UserError

FRAME = 'vector'


@pytest.fixture
def project(batch):
    folder, _ = batch.write('sly', cameras=True)
    return folder


def annotation(folder, frame=FRAME):
    return json.loads((folder / 'ds0' / 'ann' / f'{frame}.pcd.json').read_text())


def rewrite(folder, change, frame=FRAME):
    content = annotation(folder, frame)
    change(content)
    (folder / 'ds0' / 'ann' / f'{frame}.pcd.json').write_text(json.dumps(content))


def drawn(kind, box, number=1):
    """Return the object and the figure of a box that a person drew in the tool."""
    geometry = {
        'position': dict(zip('xyz', box[:3])),
        'rotation': {'x': 0, 'y': 0, 'z': box[6]},
        'dimensions': dict(zip('xyz', box[3:6])),
    }
    owner = {'key': f'o{number}', 'classTitle': kind, 'tags': []}
    return owner, {'key': f'f{number}', 'objectKey': f'o{number}', 'geometryType': 'cuboid_3d', 'geometry': geometry}


def draw(content, *boxes):
    for number, (kind, box) in enumerate(boxes):
        owner, figure = drawn(kind, box, number)
        content['objects'].append(owner)
        content['figures'].append(figure)


def test_the_worked_example(project):
    content = annotation(project)
    (owner,), (figure,) = content['objects'], content['figures']
    assert figure['geometry'] == {
        'position': {'x': 10.1234, 'y': 2.5678, 'z': -1.2345},
        'rotation': {'x': 0, 'y': 0, 'z': 2.9},
        'dimensions': {'x': 4.1, 'y': 1.7, 'z': 1.5},
    }
    assert (figure['geometryType'], figure['objectKey'], owner['classTitle']) == ('cuboid_3d', owner['key'], 'Car')
    assert [(tag['name'], tag['value']) for tag in owner['tags']] == [('score', 0.912)]
    for key in (content['key'], owner['key'], figure['key'], owner['tags'][0]['key']):
        assert str(uuid.UUID(key)) == key
    meta = json.loads((project / 'meta.json').read_text())
    assert [(entry['title'], entry['shape']) for entry in meta['classes']] == [
        (name, 'cuboid_3d') for name in ('Car', 'Pedestrian', 'park bench')
    ]
    assert meta['projectType'] == 'point_clouds'
    assert meta['tags'][0]['value_type'] == 'any_number'
    keys = json.loads((project / 'key_id_map.json').read_text())
    assert keys['objects'][owner['key']] == keys['figures'][figure['key']] == 1
    assert keys['videos'][content['key']] == 0
    assert len(keys['objects']) == len(set(keys['objects'].values())) == 206
    assert (project / 'ds0' / 'pointcloud' / 'empty.frame.pcd').exists()
    assert annotation(project, 'empty.frame')['figures'] == []


def test_cvats_rounding_to_two_decimals_and_its_new_keys_change_nothing(batch, project):
    for path in (project / 'ds0' / 'ann').glob('*.json'):
        content = json.loads(path.read_text())
        for entry in content['objects']:
            key = str(uuid.uuid4())
            for figure in content['figures']:
                if figure['objectKey'] == entry['key']:
                    figure['objectKey'] = key
                    for vector in figure['geometry'].values():
                        vector.update({axis: round(value, 2) for axis, value in vector.items()})
            entry.update(key=key, tags=[{'name': 'track_id', 'value': 3}])
        path.write_text(json.dumps(content))
    labels = batch.read(project)
    assert labels.cost['accepted'] == sum(labels.cost.values()) == 206
    assert labels.frames[0].cuboids[0].box == batch.vector  # the exact numbers, not the rounded ones


def test_a_zip_with_a_folder_around_it_is_read(batch, project, tmp_path):
    rewrite(project, lambda content: content['figures'][0]['geometry']['position'].update(x=11.0))
    with zipfile.ZipFile(tmp_path / 'back.zip', 'w') as archive:
        for path in project.rglob('*'):
            if path.name != 'ssal3d_export.json':
                archive.write(path, f'task_7/{path.relative_to(project)}')
    labels = batch.read(project, tmp_path / 'back.zip')
    assert labels.cost['moved'] == labels.cost['edited'] == 1
    assert labels.frames[0].cuboids[0].box[0] == 11.0
    rewrite(project, lambda content: content['figures'][0].pop('geometry'))
    with zipfile.ZipFile(tmp_path / 'back.zip', 'w') as archive:
        archive.write(project / 'ds0' / 'ann' / 'vector.pcd.json', 'ds0/ann/vector.pcd.json')
    labels = batch.read(project, tmp_path / 'back.zip')
    assert labels.problems[0].text.startswith(f'{tmp_path / "back.zip"}/ds0/ann/vector.pcd.json, line 1')
    assert len(labels.missing) == 6


def test_cars_drawn_with_the_length_across_are_turned_and_reported(batch, project):
    """Supervisely's own importers put the front along +y; a bench may really be wider than long."""
    across = ('Car', (30.0, 5.0, -1.0, 1.8, 4.4, 1.5, 0.2))
    along = ('Car', (30.0, 15.0, -1.0, 4.4, 1.8, 1.5, 0.2))
    bench = ('park bench', (30.0, 25.0, -1.0, 0.6, 1.9, 0.8, 0.2))
    rewrite(project, lambda content: draw(content, across, along, bench))
    labels = batch.read(project)
    boxes = [cuboid.box for cuboid in labels.frames[0].cuboids[1:]]
    assert boxes[0] == pytest.approx((30.0, 5.0, -1.0, 4.4, 1.8, 1.5, 0.2 + pi / 2))
    assert boxes[1:] == [along[1], bench[1]]
    assert any('1 boxes were drawn with their length across' in warning for warning in labels.warnings)
    forced = [cuboid.box for cuboid in batch.read(project, front='+y').frames[0].cuboids[1:]]
    assert forced[2] == pytest.approx((30.0, 25.0, -1.0, 1.9, 0.6, 0.8, 0.2 + pi / 2))
    assert batch.read(project, front='+y').frames[0].cuboids[0].box == batch.vector  # the pre-label keeps its arrow
    left = [cuboid.box for cuboid in batch.read(project, front='+x').frames[0].cuboids[1:]]
    assert left[0] == across[1]


def test_a_prelabel_that_was_drawn_anew_across_keeps_its_heading(batch, project):
    """CVAT drops ids, so a box in the place of a pre-label that was deleted is taken for it."""
    across = (*batch.vector[:3], batch.vector[4], batch.vector[3], batch.vector[5], batch.vector[6] - pi / 2)
    bench = (30.0, 25.0, -1.0, 0.6, 1.9, 0.8, 0.2)

    def redraw(content):
        content['objects'], content['figures'] = [], []
        draw(content, ('Car', across), ('park bench', bench))

    rewrite(project, redraw)
    labels = batch.read(project)
    assert labels.frames[0].cuboids[0].box == pytest.approx(batch.vector)
    assert (labels.cost['added'], labels.cost['edited']) == (1, 0)
    assert any("1 boxes of class 'park bench' were drawn wider than long" in warning for warning in labels.warnings)


def test_the_camera_matrices_show_boxes_where_the_projection_does(batch, tmp_path):
    """KITTI's P2 has a fourth column; without folding it in, boxes are drawn 6 cm beside the object."""
    from dataclasses import replace

    image = tmp_path / 'picture.png'
    image.write_bytes(b'not looked at')
    camera = replace(batch.camera, image=image)
    folder, _ = batch.write('sly', frames=[replace(batch.frames[0], cameras=(camera,))], out='with_image')
    place = folder / 'ds0' / 'related_images' / 'vector_pcd'
    assert (place / 'CAM2.png').read_bytes() == b'not looked at'
    content = json.loads((place / 'CAM2.png.json').read_text())
    assert (content['name'], content['meta']['deviceId']) == ('CAM2.png', 'CAM2')
    sensors = content['meta']['sensorsData']
    extrinsic = np.reshape(sensors['extrinsicMatrix'], (3, 4))
    intrinsic = np.reshape(sensors['intrinsicMatrix'], (3, 3))
    points = np.column_stack((np.random.default_rng(0).uniform(5, 40, (9, 3)) - (0, 20, 20), np.ones(9))).T
    drawn_at, wanted = intrinsic @ extrinsic @ points, (camera.projection @ camera.lidar_to_camera @ points)[:3]
    assert np.allclose(drawn_at[:2] / drawn_at[2], wanted[:2] / wanted[2], atol=1e-6)
    assert np.allclose(extrinsic[:, :3] @ extrinsic[:, :3].T, np.eye(3), atol=1e-9)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.pop('figures'), "'figures' is missing"),
        (lambda c: c['figures'][0].update(objectKey='x'), 'belongs to object x, which the file lacks'),
        (lambda c: c['figures'][0].update(geometryType='point_cloud'), "type 'point_cloud', expected cuboid_3d"),
        (lambda c: c['figures'][0]['geometry']['position'].pop('x'), "'x' is missing"),
        (lambda c: c['figures'][0]['geometry']['rotation'].update(z=None), 'rotation.z None, expected a finite'),
        (lambda c: c['figures'][0]['geometry']['rotation'].update(x=0.2), 'leans by 11.5 degrees'),
        (lambda c: c['figures'][0]['geometry']['dimensions'].update(y=-1.7), 'measures 4.10 x -1.70 x 1.50 m'),
        (lambda c: c['objects'][0].update(classTitle='car'), "did you mean 'Car'"),
        (lambda c: c['objects'][0]['tags'].append({'name': 'speed', 'value': float('nan')}), "found {'speed': nan}"),
        (lambda c: draw(c, ('Car', (10.2, 2.6, -1.2, 4.1, 1.7, 1.5, 2.9))), 'is the same object as'),
        (lambda c: draw(c, ('Car', (1000.0, 2.6, -1.2, 4.1, 1.7, 1.5, 2.9))), 'expected at most 300 m'),
    ],
)
def test_mistakes_keep_their_frame_out_and_name_file_and_line(batch, project, change, message):
    rewrite(project, change)
    labels = batch.read(project)
    assert {problem.frame_id for problem in labels.problems} == {FRAME}
    text = labels.problems[0].text
    assert message in text
    assert text.startswith(str(project / 'ds0' / 'ann' / 'vector.pcd.json'))
    assert FRAME not in {frame.frame_id for frame in labels.frames}
    assert len(labels.frames) == 6


def test_a_small_lean_is_dropped_and_counted(batch, project):
    rewrite(project, lambda content: content['figures'][0]['geometry']['rotation'].update(x=0.03))
    labels = batch.read(project)
    assert any('1 boxes leaned by up to 1.72 degrees' in warning for warning in labels.warnings)
    assert labels.frames[0].cuboids[0].box[6] == pytest.approx(2.9, abs=0.01)


def test_aliases_and_ignored_classes(batch, project):
    rewrite(project, lambda content: draw(content, ('Auto', (30.0, 5.0, -1.0, 4.4, 1.8, 1.5, 0.2)),
                                          ('DontCare', (30.0, 15.0, -1.0, 4.4, 1.8, 1.5, 0.2))))  # fmt: skip
    labels = batch.read(project, aliases={'Auto': 'Car'}, ignored=frozenset({'DontCare'}))
    assert [cuboid.class_name for cuboid in labels.frames[0].cuboids] == ['Car', 'Car']
    assert any('1 boxes of ignored classes' in warning for warning in labels.warnings)
    with pytest.raises(UserError, match="found 'Wagen', expected one of Car"):
        batch.read(project, aliases={'Auto': 'Wagen'})


def test_datumaro_reads_what_we_write(batch, project, foreign):
    """CVAT's own converter: all frames, classes, centres, rotations and sizes, at its two decimals."""
    script = """
import json, sys
import datumaro
items = datumaro.Dataset.import_from(sys.argv[1], 'sly_pointcloud')
labels = [label.name for label in items.categories()[datumaro.AnnotationType.label]]
print(json.dumps({item.id: [[labels[a.label], *a.position, *a.scale, *a.rotation] for a in item.annotations]
                  for item in items}))
"""
    found = foreign('datumaro', script, project)
    assert set(found) == set(batch.prelabels)
    for name, prelabels in batch.prelabels.items():
        assert [row[0] for row in found[name]] == [cuboid.class_name for cuboid in prelabels]
        expected = [(*cuboid.box[:6], 0, 0, cuboid.box[6]) for cuboid in prelabels]
        assert np.allclose([row[1:] for row in found[name]], expected, atol=0.0051) or not expected


def test_what_datumaro_writes_is_read(batch, project, foreign, tmp_path):
    """The way back through CVAT: its converter's export, with one box moved, one deleted and one drawn."""
    script = """
import json, sys
import datumaro
from datumaro.components.annotation import Cuboid3d
items = datumaro.Dataset.import_from(sys.argv[1], 'sly_pointcloud')
for item in list(items):
    if item.id == 'near_pi':
        first, second = item.annotations
        moved = Cuboid3d([first.position[0] + 0.5, *first.position[1:]], first.rotation, first.scale, label=first.label,
                         attributes=first.attributes)
        new = Cuboid3d([-8, 4, -1], [0, 0, 0.5], [4.2, 1.8, 1.5], label=0)
        items.put(item.wrap(annotations=[moved, new]))
items.export(sys.argv[2], 'sly_pointcloud', save_media=True)
print(json.dumps(0))
"""
    foreign('datumaro', script, project, tmp_path / 'back')
    labels = batch.read(project, tmp_path / 'back')
    assert not labels.problems
    assert len(labels.frames) == 7
    cost = labels.cost
    assert {name: cost[name] for name in ('edited', 'moved', 'deleted', 'added')} == dict.fromkeys(
        ('edited', 'moved', 'deleted', 'added'), 1
    )
    assert cost['accepted'] == 204


def test_pypcd4_reads_our_point_clouds(batch, project, foreign):
    script = """
import json, sys
from pypcd4 import PointCloud
cloud = PointCloud.from_path(sys.argv[1])
print(json.dumps([list(cloud.fields), cloud.numpy(('x', 'y', 'z', 'intensity')).tolist()]))
"""
    fields, points = foreign('pypcd4', script, project / 'ds0' / 'pointcloud' / 'vector.pcd')
    assert fields == ['x', 'y', 'z', 'intensity']
    assert np.array_equal(np.array(points, '<f4'), np.fromfile(batch.frames[0].scan, '<f4').reshape(-1, 4))
