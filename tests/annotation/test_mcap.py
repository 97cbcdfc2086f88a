import json
from dataclasses import replace

import numpy as np
import pytest

from ssal3d.annotation import build_format
from ssal3d.annotation.formats.ros2_definitions import definition
from ssal3d.annotation.rotations import quaternion_of, rotation_of
from ssal3d.annotation.times import frame_times
from ssal3d.errors import UserError

pytest.importorskip('mcap_ros2', reason='pip install "ssal3d[mcap]"')
pytest.importorskip('foxglove_schemas_protobuf', reason='pip install "ssal3d[mcap]"')

from mcap.reader import make_reader
from mcap.writer import Writer
from mcap_protobuf.decoder import DecoderFactory as ProtobufDecoder
from mcap_ros2.decoder import DecoderFactory as Ros2Decoder

POSE = np.array([[0.0, -1, 0, 5], [1, 0, 0, -2], [0, 0, 1, 0.3], [0, 0, 0, 1]])


def decoded(path):
    """Return (topic, schema name, log time, message) of everything in a file, by mcap's own reader."""
    with open(path, 'rb') as stream:
        reader = make_reader(stream, decoder_factories=[ProtobufDecoder(), Ros2Decoder()])
        return [
            (channel.topic, schema.name if schema else '', message.log_time,
             json.loads(message.data) if channel.message_encoding == 'json' else content)
            for schema, channel, message, content in _messages(reader)
        ]  # fmt: skip


def _messages(reader):
    for schema, channel, message in reader.iter_messages():
        factories = [ProtobufDecoder(), Ros2Decoder()]
        decoders = [factory.decoder_for(channel.message_encoding, schema) for factory in factories]
        decode = next((decoder for decoder in decoders if decoder), lambda data: None)
        yield schema, channel, message, decode(message.data)


@pytest.fixture
def posed(batch, tmp_path):
    image = tmp_path / 'a.png'
    image.write_bytes(b'\x89PNG of a street')
    camera = replace(batch.camera, image=image)
    return [replace(frame, cameras=(camera,), pose=POSE, facts={'rank': 0, 'utility': 0.41}) for frame in batch.frames]


def test_foxgloves_messages_hold_the_worked_example(batch, posed):
    folder, _ = batch.write('mcap', frames=posed)
    messages = decoded(folder / 'round_1.mcap')
    assert {(topic, schema) for topic, schema, _, _ in messages} == {
        ('/lidar/points', 'foxglove.PointCloud'),
        ('/ssal3d/prelabels', 'foxglove.SceneUpdate'),
        ('/tf', 'foxglove.FrameTransform'),
        ('/CAM2/image', 'foxglove.CompressedImage'),
        ('/CAM2/calibration', 'foxglove.CameraCalibration'),
        ('/ssal3d/query', ''),
    }
    first = {topic: message for topic, _, time, message in messages if time == 0 and topic != '/tf'}
    update = first['/ssal3d/prelabels']
    assert [deletion.type for deletion in update.deletions] == [1]  # everything of the frame before
    (entity,) = update.entities
    (cube,), (arrow,), (text,) = entity.cubes, entity.arrows, entity.texts
    assert (cube.pose.position.x, cube.pose.position.y, cube.pose.position.z) == (10.1234, 2.5678, -1.2345)
    assert (cube.size.x, cube.size.y, cube.size.z) == (4.1, 1.7, 1.5)
    assert (cube.pose.orientation.z, cube.pose.orientation.w) == pytest.approx((0.9927130, 0.1205028), abs=1e-7)
    assert arrow.pose == cube.pose  # an identity arrow points along +x, our heading
    assert text.text == 'Car 0.91'
    assert text.pose.position.z == pytest.approx(-1.2345 + 0.75)
    facts = {entry.key: entry.value for entry in entity.metadata}
    assert facts == {'class': 'Car', 'track_id': '1', 'interpolated': 'false', 'source': 'prelabel', 'score': '0.9120',
                     'utility': '0.41'}  # fmt: skip
    assert (entity.id, entity.frame_id) == ('vector/1', 'lidar')
    cloud = first['/lidar/points']
    assert [(field.name, field.offset, field.type) for field in cloud.fields] == [
        ('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 12, 7),
    ]  # fmt: skip
    assert cloud.point_stride == 16
    assert cloud.data == batch.frames[0].scan.read_bytes()
    assert first['/CAM2/image'].format == 'png'
    assert first['/CAM2/image'].data == b'\x89PNG of a street'
    assert np.allclose(first['/CAM2/calibration'].P, batch.camera.projection[:3].ravel())
    assert first['/ssal3d/query'] == {'frame_id': 'vector', 'rank': 0, 'utility': 0.41}


def test_times_are_the_same_everywhere(batch, posed):
    folder, _ = batch.write('mcap', frames=posed)
    for topic, _, time, message in decoded(folder / 'round_1.mcap'):
        if topic == '/ssal3d/query':
            continue
        stamps = [message.timestamp] if hasattr(message, 'timestamp') else []
        stamps += [entity.timestamp for entity in getattr(message, 'entities', ())]
        assert all(stamp.seconds * 10**9 + stamp.nanos == time for stamp in stamps)
    times = frame_times(posed)
    assert list(times.values()) == [index * 100_000_000 for index in range(7)]
    own = [replace(frame, time_ns=10**18 + index) for index, frame in enumerate(posed)]
    assert list(frame_times(own).values()) == [10**18 + index for index in range(7)]
    twice = [own[0], replace(own[1], time_ns=own[0].time_ns), *own[2:]]
    assert frame_times(twice) == times  # times that frames share tell nothing


def test_the_poses_form_a_tree_from_the_world_to_the_cameras(batch, posed):
    folder, _ = batch.write('mcap', frames=posed[:1])
    links = [message for topic, _, _, message in decoded(folder / 'round_1.mcap') if topic == '/tf']
    assert [(link.parent_frame_id, link.child_frame_id) for link in links] == [('world', 'lidar'), ('lidar', 'CAM2')]
    for link, expected in zip(links, (POSE, np.linalg.inv(batch.camera.lidar_to_camera))):
        rotation = rotation_of(link.rotation.x, link.rotation.y, link.rotation.z, link.rotation.w)
        assert np.allclose(rotation, expected[:3, :3], atol=1e-9)
        assert np.allclose((link.translation.x, link.translation.y, link.translation.z), expected[:3, 3])


@pytest.mark.parametrize('seed', range(6))
def test_quaternions_of_any_rotation(seed):
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix *= np.linalg.det(matrix)
    assert np.allclose(rotation_of(*quaternion_of(matrix)), matrix)
    for turned in (np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1]), np.eye(3)):
        assert np.allclose(rotation_of(*quaternion_of(turned)), turned)


def test_ros2_messages_hold_the_worked_example(batch, posed):
    folder, notes = batch.write('mcap', frames=posed, options={'flavour': 'ros2'})
    assert 'images of 7 frames were left out' in notes[0]
    messages = decoded(folder / 'round_1.mcap')
    assert {(topic, schema) for topic, schema, _, _ in messages} == {
        ('/lidar/points', 'sensor_msgs/msg/PointCloud2'),
        ('/ssal3d/detections', 'vision_msgs/msg/Detection3DArray'),
        ('/tf', 'tf2_msgs/msg/TFMessage'),
    }
    first = {topic: message for topic, _, time, message in messages if time == 0}
    cloud = first['/lidar/points']
    count = batch.frames[0].scan.stat().st_size // 16
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, count, 16, 16 * count)
    assert bytes(cloud.data) == batch.frames[0].scan.read_bytes()
    (detection,) = first['/ssal3d/detections'].detections
    assert (detection.bbox.size.x, detection.bbox.center.position.z) == (4.1, -1.2345)
    assert (detection.results[0].hypothesis.class_id, detection.id) == ('Car', '1')
    (update,) = [message for _, _, time, message in decoded(folder / 'round_1_labeled.mcap') if time == 0]
    assert update.entities[0].cubes[0].size.y == 1.7
    assert batch.read(folder).cost['accepted'] == 206


def test_definitions_hold_everything_that_they_use():
    text = definition('foxglove_msgs/msg/SceneUpdate')
    assert text.count('=' * 80) == text.count('MSG: ') == 18
    for line in text.splitlines():
        kind = line.split()[0].split('[')[0] if line and '=' not in line else ''
        assert '/' not in kind or f'MSG: {kind}\n' in text


def labels_file(path, updates, encoding='json', topic='/lightly/labels'):
    """Write a label file as a tool does: JSON, without our attachment."""
    with open(path, 'wb') as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema('foxglove_msgs/msg/SceneUpdate', 'jsonschema', b'{}')
        channel = writer.register_channel(topic, encoding, schema)
        for time, entities in updates.items():
            writer.add_message(
                channel, log_time=time, publish_time=time, data=json.dumps({'entities': entities}).encode()
            )
        writer.finish()


def entity(kind='Car', track='1', x=10.1234, **changes):
    pose = {
        'position': {'x': x, 'y': 2.5678, 'z': -1.2345},
        'orientation': {'x': 0, 'y': 0, 'z': 0.992713, 'w': 0.1205028},
    }
    cube = {'pose': pose, 'size': {'x': 4.1, 'y': 1.7, 'z': 1.5}}
    metadata = [{'key': 'class', 'value': kind}, {'key': 'track_id', 'value': track}]
    return {'id': f'box-{track}', 'metadata': metadata, 'cubes': [cube]} | changes


def test_labels_of_another_tool_in_json_find_their_frames_by_time(batch, tmp_path):
    folder, _ = batch.write('mcap')
    back = tmp_path / 'back'
    back.mkdir()
    tags = {'id': 'frame', 'metadata': [{'key': 'night', 'value': 'true'}]}
    labels_file(
        back / 'round_1_labeled.mcap', {0: [tags, entity(x=10.5), entity(track='700', x=30.0)], 500_000_000: []}
    )
    labels = batch.read(folder, back)
    assert {frame.frame_id: len(frame.cuboids) for frame in labels.frames} == {'vector': 2, 'empty.frame': 0}
    assert (labels.cost['moved'], labels.cost['added']) == (1, 1)
    assert len(labels.missing) == 5


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        (entity(cubes=[]), 'entity box-1: found 0 cubes, expected one'),
        (entity(metadata=[]), "its metadata has no 'class'"),
        (
            entity(cubes=[{'pose': {'position': {'x': 1, 'y': 2}}, 'size': {'x': 1, 'y': 1, 'z': 1}}]),
            'position: found z',
        ),
    ],
)
def test_mistakes_name_file_frame_and_entity(batch, tmp_path, broken, message):
    folder, _ = batch.write('mcap')
    labels_file(tmp_path / 'back.mcap', {0: [broken]})
    (tmp_path / 'back').mkdir()
    (tmp_path / 'back.mcap').rename(tmp_path / 'back' / 'back.mcap')
    text = batch.read(folder, tmp_path / 'back').problems[0].text
    assert message in text
    assert f'{tmp_path}/back/back.mcap, frame vector' in text


def test_a_mistake_in_one_frame_keeps_no_other_of_the_file_out(batch, tmp_path):
    folder, _ = batch.write('mcap')
    (tmp_path / 'back').mkdir()
    labels_file(tmp_path / 'back' / 'back.mcap', {0: [entity()], 100_000_000: [entity(cubes=[])], 200_000_000: []})
    labels = batch.read(folder, tmp_path / 'back')
    names = list(batch.prelabels)
    assert [frame.frame_id for frame in labels.frames] == [names[0], names[2]]
    assert [problem.frame_id for problem in labels.problems] == [names[1]]


def update(*entities, **deletion):
    return {'entities': list(entities), 'deletions': [deletion] if deletion else []}


@pytest.mark.parametrize(
    ('updates', 'expected'),
    [
        ([update(entity(track='1', x=1.0)), update(entity(track='2', x=2.0)), update()], [1.0, 2.0]),
        ([update(entity(track='1', x=1.0)), update(entity(track='1', x=2.0))], [2.0]),
        ([update(entity(x=1.0, id='')), update(entity(x=2.0, id=''))], [1.0, 2.0]),
        ([update(entity(x=1.0), entity(track='2', x=2.0)), update(type=0, id='box-1')], [2.0]),
        ([update(entity(x=1.0)), update(entity(track='2', x=2.0), type=1, id='')], [2.0]),
        ([update(entity(x=1.0)), update(type='ALL')], []),
    ],
    ids=['one_message_an_object', 'replaced', 'without_ids', 'deleted', 'all_deleted', 'spelt_out'],
)
def test_updates_of_one_frame_add_up_as_foxglove_shows_them(tmp_path, updates, expected):
    with open(tmp_path / 'a.mcap', 'wb') as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema('foxglove.SceneUpdate', 'jsonschema', b'{}')
        channel = writer.register_channel('/ssal3d/labels', 'json', schema)
        for content in updates:
            writer.add_message(channel, log_time=7, publish_time=7, data=json.dumps(content).encode())
        later = json.dumps(update(entity(track='9', x=9.0))).encode()
        writer.add_message(channel, log_time=8, publish_time=8, data=later)
        writer.finish()
    first, second = build_format('mcap').read(tmp_path).frames
    assert [cuboid.box[0] for cuboid in first.cuboids] == expected
    assert [cuboid.box[0] for cuboid in second.cuboids] == [9.0]  # of its own frame only


def test_topics_must_be_named_where_there_are_several(batch, tmp_path):
    form = build_format('mcap')
    (tmp_path / 'two').mkdir()
    path = tmp_path / 'two' / 'a.mcap'
    with open(path, 'wb') as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema('foxglove.SceneUpdate', 'jsonschema', b'{}')
        for topic, x in (('/a', 1.0), ('/b', 2.0)):
            channel = writer.register_channel(topic, 'json', schema)
            data = json.dumps({'entities': [entity(x=x)]}).encode()
            writer.add_message(channel, log_time=7, publish_time=7, data=data)
        writer.finish()
    assert 'topics /a, /b; name one with --option topic=NAME' in form.read(tmp_path / 'two').problems[0].text
    (frame,) = build_format('mcap', {'topic': '/b'}).read(tmp_path / 'two').frames
    assert (frame.frame_id, frame.cuboids[0].box[0]) == ('7', 2.0)


def test_a_cut_file_is_named(batch):
    folder, _ = batch.write('mcap')
    path = folder / 'round_1.mcap'
    path.write_bytes(path.read_bytes()[:-200])
    labels = batch.read(folder)
    assert labels.frames == ()
    assert str(path) in labels.problems[0].text


def test_a_misspelt_flavour_is_named():
    with pytest.raises(UserError, match=r"unknown flavour 'ros': .*did you mean 'ros2'\?"):
        build_format('mcap', {'flavour': 'ros'})


def test_lightlystudios_parser_takes_the_labels(batch, foreign):
    """Its own reader of SceneUpdate: classes, whole track ids, times and poses."""
    folder, _ = batch.write('mcap', options={'flavour': 'ros2'})
    script = """
import importlib.util, json, pathlib, sys, types
root = pathlib.Path(importlib.util.find_spec('lightly_studio').origin).parent
for name in ('', '.core', '.core.mcap'):  # only the parser: the packages themselves start a data base and analytics
    module = sys.modules['lightly_studio' + name] = types.ModuleType('lightly_studio' + name)
    module.__path__ = [str(root.joinpath(*name.split('.')[1:]))]
from lightly_studio.core.mcap import decoding, scene_update
from mcap.reader import make_reader
frames = {}
with open(sys.argv[1], 'rb') as stream:
    reader = make_reader(stream, decoder_factories=decoding.decoder_factories())
    for schema, channel, message, content in reader.iter_decoded_messages():
        labels = scene_update.from_decoded_message(content)
        frames[message.log_time] = [[c.class_name, c.track_id, c.timestamp_ns, *c.position, *c.size, *c.rotation]
                                    for c in labels.cuboids]
print(json.dumps(frames))
"""
    frames = foreign('lightly_studio', script, folder / 'round_1_labeled.mcap')
    for index, prelabels in enumerate(batch.prelabels.values()):
        rows = frames[str(index * 100_000_000)]
        assert [(row[0], row[1], row[2]) for row in rows] == [
            (cuboid.class_name, int(cuboid.id), index * 100_000_000) for cuboid in prelabels
        ]
        assert np.allclose([row[3:9] for row in rows], [cuboid.box[:6] for cuboid in prelabels]) or not rows
