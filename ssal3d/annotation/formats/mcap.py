"""MCAP files (https://mcap.dev) with Foxglove's schemas, or ROS 2's for LightlyStudio and ROS users."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.annotation.format import Batch
from ssal3d.annotation.formats import mcap_messages as messages
from ssal3d.annotation.formats.files import SharedFileFormat, label_files
from ssal3d.annotation.formats.ros2_definitions import definition
from ssal3d.annotation.json_lines import number
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.rotations import from_quaternion
from ssal3d.annotation.scans import frame_points
from ssal3d.annotation.times import frame_times
from ssal3d.errors import UserError, one_line, unknown_name
from ssal3d.fileio import parse_json
from ssal3d.registry import ANNOTATION_FORMATS

FLAVOURS = ('protobuf', 'ros2')
LABELLED = '_labeled'  # LightlyStudio finds the labels of a recording by this ending
PRELABELS, LABELS = '/ssal3d/prelabels', '/ssal3d/labels'
FRAMES = 'frames.json'  # attachment: time of each frame
TAGS = 'frame'  # id of the entity in which LightlyStudio keeps the tags of a frame; it has no cube
_DELETE_ALL = (messages.DELETE_ALL, 'ALL')  # JSON may spell the number out
_FOXGLOVE = {
    'PointCloud': 'PointCloud_pb2',
    'SceneUpdate': 'SceneUpdate_pb2',
    'FrameTransform': 'FrameTransform_pb2',
    'CompressedImage': 'CompressedImage_pb2',
    'CameraCalibration': 'CameraCalibration_pb2',
}


@ANNOTATION_FORMATS.register_module('mcap')
class McapFormat(SharedFileFormat):
    """One MCAP file a batch: points, pre-labels, poses, images.

    Args:
        flavour: ``'protobuf'`` (Foxglove, Lichtblick, FiftyOne) or ``'ros2'`` (CDR: LightlyStudio, ROS), where the
            pre-labels have a file of their own.
        topic: Topic of the labels that come back (default: ``/ssal3d/labels``, else ``/ssal3d/prelabels``, else the
            only SceneUpdate topic).
    """

    title = 'Foxglove, Lichtblick, FiftyOne, LightlyStudio'

    def __init__(self, flavour: str = 'protobuf', topic: str = '') -> None:
        if flavour not in FLAVOURS:
            raise unknown_name('flavour', flavour, list(FLAVOURS))
        self.flavour = flavour
        self.topic = topic

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``<batch>.mcap``, and ``<batch>_labeled.mcap`` in the flavour ``ros2``."""
        times = frame_times(frames)
        path = folder / f'{batch.name}.mcap'
        if self.flavour == 'protobuf':
            with _protobuf_writer(path, frames, batch, times) as write:
                for frame in frames:
                    self._write_frame(frame, times[frame.frame_id], batch, write)
            return []
        with _ros2_writer(path, batch, times) as write:
            for frame in frames:
                _write_ros2(frame, times[frame.frame_id], write)
        with _ros2_writer(folder / f'{batch.name}{LABELLED}.mcap', batch, times) as write:
            for frame in frames:
                time = times[frame.frame_id]
                update = messages.scene_update(frame, time, batch.classes)
                write(PRELABELS, 'foxglove_msgs/msg/SceneUpdate', update, time)
        images = sum(any(camera.image for camera in frame.cameras) for frame in frames)
        return [f'the images of {images} frames were left out; the flavour protobuf holds them'] if images else []

    def label_files(self, folder: Path) -> list[Path]:
        """Return ``*_labeled.mcap``, else all MCAP files."""
        return label_files(folder, self.title, f'**/*{LABELLED}.mcap', '**/*.mcap')

    def frame_of_file(self, path: Path) -> str:
        """Return no frame: a file holds many."""
        return ''

    def parse_frames(self, path: Path) -> list[tuple[str, Iterable[Cuboid]]]:
        """Read the boxes of all frames."""
        reader = import_module('mcap.reader')
        try:
            with open(path, 'rb') as stream:
                names = {time: name for name, time in self._times(path).items()}
                updates = list(_scene_updates(reader.make_reader(stream), self.topic, path))
        except (UserError, ModuleNotFoundError):
            raise
        except Exception as error:  # the readers of foreign encodings raise what they like
            raise UserError(f'{path}: not readable as MCAP ({type(error).__name__}: {one_line(error)})') from None
        frames: dict[str, list[Any]] = {}
        for time, update in updates:
            frames.setdefault(names.get(time, str(time)), []).append(update)
        return [(name, _cuboids(found, f'{path}, frame {name}')) for name, found in frames.items()]

    def _write_frame(self, frame: LabelFrame, time: int, batch: Batch, write: Any) -> None:
        write('/lidar/points', 'PointCloud', messages.point_cloud(frame_points(frame), time), time)
        write(PRELABELS, 'SceneUpdate', messages.scene_update(frame, time, batch.classes), time)
        if frame.pose is not None:
            write('/tf', 'FrameTransform', _foxglove_tf(messages.WORLD, messages.LIDAR, frame.pose, time), time)
        for camera in frame.cameras:
            if camera.image is not None:
                topic = f'/{camera.name}'
                write(f'{topic}/image', 'CompressedImage', messages.image(camera, time), time)
                write(f'{topic}/calibration', 'CameraCalibration', messages.calibration(camera, time), time)
                pose = np.linalg.inv(camera.lidar_to_camera)
                write('/tf', 'FrameTransform', _foxglove_tf(messages.LIDAR, camera.name, pose, time), time)
        write('/ssal3d/query', 'json', {'frame_id': frame.frame_id, **frame.facts}, time)

    def _times(self, path: Path) -> dict[str, int]:
        """Return the time of each frame: as the file says, else as the export does."""
        candidates = [path, *(sorted(self.exported.glob('*.mcap')) if self.exported else [])]
        make_reader = import_module('mcap.reader').make_reader
        for candidate in candidates:
            with open(candidate, 'rb') as stream:
                for attachment in make_reader(stream).iter_attachments():
                    if attachment.name == FRAMES:
                        return {
                            str(name): int(time)
                            for name, time in parse_json(attachment.data.decode(), candidate).items()
                        }
        return {}


def _facts(batch: Batch) -> dict[str, str]:
    return {
        'schema': '1',
        'classes': json.dumps(list(batch.classes)),
        'box': 'gravity_center_xyz_dxdydz_yaw',
        'created': batch.created,
        **{name: str(value) for name, value in batch.facts.items()},
    }


def _foxglove_tf(parent: str, child: str, pose: Any, time: int) -> dict[str, Any]:
    names = {'parent_frame_id': parent, 'child_frame_id': child}
    return {'timestamp': messages.stamp(time), **names, **messages.transform(pose)}


def _write_ros2(frame: LabelFrame, time: int, write: Any) -> None:
    write('/lidar/points', 'sensor_msgs/msg/PointCloud2', messages.point_cloud2(frame_points(frame), time), time)
    write('/ssal3d/detections', 'vision_msgs/msg/Detection3DArray', messages.detections(frame, time), time)
    if frame.pose is not None:
        header = {'stamp': messages.stamp(time), 'frame_id': messages.WORLD}
        link = {'header': header, 'child_frame_id': messages.LIDAR, 'transform': messages.transform(frame.pose)}
        write('/tf', 'tf2_msgs/msg/TFMessage', {'transforms': [link]}, time)


@contextmanager
def _protobuf_writer(path: Path, frames: Sequence[LabelFrame], batch: Batch, times: Mapping[str, int]) -> Iterator[Any]:
    """Yield a function that writes one message of a Foxglove schema, or ``json`` without a schema."""
    register = import_module('mcap_protobuf.schema').register_schema
    kinds = {
        name: getattr(import_module(f'foxglove_schemas_protobuf.{module}'), name) for name, module in _FOXGLOVE.items()
    }
    schemas: dict[str, int] = {}
    channels: dict[str, int] = {}
    with open(path, 'wb') as stream:
        writer = import_module('mcap.writer').Writer(stream)
        writer.start(profile='', library='ssal3d')

        def write(topic: str, kind: str, content: Mapping[str, Any], time: int) -> None:
            if topic not in channels:
                if kind != 'json' and kind not in schemas:
                    schemas[kind] = register(writer, kinds[kind])
                encoding = 'json' if kind == 'json' else 'protobuf'
                channels[topic] = writer.register_channel(topic, encoding, schemas.get(kind, 0))
            if kind == 'json':
                data = json.dumps(content).encode()
            else:
                data = messages.fill(kinds[kind](), content).SerializeToString(deterministic=True)
            writer.add_message(channels[topic], log_time=time, publish_time=time, data=data)

        yield write
        writer.add_metadata('ssal3d', _facts(batch))
        facts = {frame.frame_id: dict(frame.facts) for frame in frames}
        for name, content in ((FRAMES, dict(times)), ('query.json', facts)):
            writer.add_attachment(0, 0, name, 'application/json', json.dumps(content).encode())
        writer.finish()


@contextmanager
def _ros2_writer(path: Path, batch: Batch, times: Mapping[str, int]) -> Iterator[Any]:
    """Yield a function that writes one ROS 2 message as CDR."""
    schemas: dict[str, Any] = {}
    with open(path, 'wb') as stream:
        writer = import_module('mcap_ros2.writer').Writer(stream)

        def write(topic: str, kind: str, content: Mapping[str, Any], time: int) -> None:
            if kind not in schemas:
                schemas[kind] = writer.register_msgdef(kind, definition(kind))
            writer.write_message(topic, schemas[kind], content, log_time=time, publish_time=time)

        yield write
        writer.add_metadata('ssal3d', _facts(batch))
        writer.add_attachment(0, 0, FRAMES, 'application/json', json.dumps(dict(times)).encode())
        writer.finish()


def _scene_updates(reader: Any, topic: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Yield time and content of every SceneUpdate of the chosen topic, whatever its encoding."""
    summary = reader.get_summary()
    if summary is None:
        raise UserError(f'{path}: the file has no index; it was cut or not closed, write it again')
    kinds = {number: schema.name.rpartition('/')[2].rpartition('.')[2] for number, schema in summary.schemas.items()}
    topics = sorted(
        {channel.topic for channel in summary.channels.values() if kinds.get(channel.schema_id) == 'SceneUpdate'}
    )
    chosen = topic or next((name for name in (LABELS, PRELABELS) if name in topics), '')
    if not chosen and len(topics) == 1:
        chosen = topics[0]
    if chosen not in topics:
        found = ', '.join(topics) or 'none'
        raise UserError(f'{path}: found the SceneUpdate topics {found}; name one with --option topic=NAME')
    factories = [import_module(f'{name}.decoder').DecoderFactory() for name in ('mcap_protobuf', 'mcap_ros2')]
    for schema, channel, message in reader.iter_messages(topics=[chosen]):
        if channel.message_encoding == 'json':
            yield message.log_time, parse_json(message.data.decode(), path)
            continue
        decoders = (factory.decoder_for(channel.message_encoding, schema) for factory in factories)
        decode = next((decoder for decoder in decoders if decoder), None)
        if decode is None:
            raise UserError(
                f"{path}: topic {chosen} is encoded as '{channel.message_encoding}', expected protobuf, cdr or json"
            )
        yield message.log_time, decode(message.data)


def _cuboids(updates: Sequence[Any], place: str) -> Iterator[Cuboid]:
    """Read what the updates of one frame leave of the scene, as Foxglove shows it.

    An update deletes first, then its entities replace earlier ones with their ids. What other frames hold does not
    stay: tools write the boxes of each frame, whether or not they delete those of the frame before.
    """
    scene: list[tuple[str, Any]] = []
    for update in updates:
        deletions = _items(update, 'deletions', place)
        entities = [(_identity(entity), entity) for entity in _items(update, 'entities', place)]
        # what has no id replaces nothing
        gone = {*map(_identity, deletions), *(identity for identity, _ in entities)} - {''}
        is_cleared = any(_field(deletion, 'type') in _DELETE_ALL for deletion in deletions)
        scene = entities if is_cleared else [entry for entry in scene if entry[0] not in gone] + entities
    for identity, entity in scene:
        if identity != TAGS:
            yield _cuboid(entity, place)


def _cuboid(entity: Any, place: str) -> Cuboid:
    identity = _identity(entity)
    place = f'{place}, entity {identity}'
    cubes = _items(entity, 'cubes', place)
    if len(cubes) != 1:
        raise UserError(f'{place}: found {len(cubes)} cubes, expected one')
    metadata = _field(entity, 'metadata')
    facts = (
        {str(key): str(value) for key, value in metadata.items()}
        if isinstance(metadata, Mapping)
        else {str(_field(entry, 'key')): str(_field(entry, 'value')) for entry in _items(entity, 'metadata', place)}
    )
    if not facts.get('class'):
        raise UserError(f"{place}: its metadata has no 'class'; give the box a class")
    pose, size = _field(cubes[0], 'pose'), _vector(_field(cubes[0], 'size'), 'xyz', f'{place}: size')
    centre = _vector(_field(pose, 'position'), 'xyz', f'{place}: position')
    x, y, z, w = _vector(_field(pose, 'orientation'), 'xyzw', f'{place}: orientation')
    try:
        yaw, tilt = from_quaternion(x, y, z, w)
    except UserError as error:
        raise UserError(f'{place}: {error}') from None
    score = _score(facts.pop('score', ''), place)
    keys = ('class', 'track_id', 'interpolated', 'source', 'utility')
    return Cuboid(
        class_name=facts['class'],
        box=(*centre, *size, yaw),
        id=identity.rpartition('/')[2] or facts.get('track_id', ''),
        track_id=facts.get('track_id', ''),
        score=score,
        attributes={key: value for key, value in facts.items() if key not in keys},
        tilt=tilt,
        where=place,
    )


def _field(message: Any, name: str) -> Any:
    """Return a field of a decoded message: a dictionary, or an object of protobuf or ROS 2."""
    return message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)


def _identity(message: Any) -> str:
    return str(_field(message, 'id') or '')


def _items(message: Any, name: str, place: str) -> Sequence[Any]:
    """Return a repeated field of a decoded message; none if it is missing."""
    values = _field(message, name)
    if values is None:
        return ()
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise UserError(f'{place}: found {type(values).__name__} as {name}, expected a list')
    return values


def _score(text: str, place: str) -> float | None:
    try:
        return number(float(text), 'score', place) if text else None
    except ValueError:
        raise UserError(f'{place}: found score {text!r}, expected a number') from None


def _vector(message: Any, axes: str, place: str) -> list[float]:
    return [number(_field(message, axis), axis, place) for axis in axes]
