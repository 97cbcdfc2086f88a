"""Point clouds of recordings, taken out into a folder that people label and `ssal3d create-data folder` converts.

MCAP files hold ``sensor_msgs/PointCloud2`` (ROS 2) or ``foxglove.PointCloud`` (protobuf); rosbag2 folders and ROS 1
bags hold ``PointCloud2``.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError, one_line, unknown_name
from ssal3d.fileio import atomic_path
from ssal3d.terminal import console

CLOUDS = (
    'sensor_msgs/msg/PointCloud2',
    'sensor_msgs/PointCloud2',
    'foxglove.PointCloud',
    'foxglove_msgs/msg/PointCloud',
)
_ROS_TYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}
_FOXGLOVE_TYPES = {1: 'u1', 2: 'i1', 3: 'u2', 4: 'i2', 5: 'u4', 6: 'i4', 7: 'f4', 8: 'f8'}


class Cloud(NamedTuple):
    """A message.

    Attributes:
        time: Nanoseconds.
        message: As the decoder gives it.
    """

    time: int
    message: Any


def extract(recordings: Sequence[Path], out: Path, topic: str | None = None, every: int = 1) -> dict[str, int]:
    """Write the clouds of recordings as ``<out>/<recording>/points/<nanoseconds>.npy`` and ``times.txt``.

    Args:
        recordings: MCAP files, rosbag2 folders, ROS 1 bags.
        out: Where to write, a folder for each recording; all of them appear or none.
        topic: Of the clouds; may be left out where there is only one.
        every: Keep one of so many.

    Returns:
        Number of scans by recording.

    Raises:
        UserError: If a recording is missing, damaged, has no such topic, the name of another one, or was taken out
            before.
    """
    if every < 1:
        raise UserError(f'--every: found {every}, expected 1 or more')
    folders = _folders(recordings, out)
    with ExitStack() as stack:
        return {
            folder.name: _extract(path, stack.enter_context(atomic_path(folder)), topic, every)
            for folder, path in folders.items()
        }


def _folders(recordings: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return the recording of each folder to write, before the work of hours begins."""
    folders: dict[Path, Path] = {}
    for path in recordings:
        folder = out / (path.name if path.is_dir() else path.stem)  # folders are dated: drive_2026.05.02 has no ending
        if not path.exists():
            raise UserError(f'{path}: no such recording; check the path')
        if folder in folders:
            raise UserError(f'{path}: would be written to {folder} like {folders[folder]}; rename one of them')
        if folder.exists():
            raise UserError(f'{folder}: was taken out before; remove it, or choose another --out-dir')
        folders[folder] = path
    return folders


def columns_of(message: Any) -> NDArray[Any]:
    """Return the points of a ``PointCloud2`` or a Foxglove ``PointCloud`` as ``(N,)`` rows of named values.

    Raises:
        UserError: If a field has an unknown type, or the data is shorter than the message says.
    """
    ros = hasattr(message, 'point_step')
    types, step = (_ROS_TYPES, message.point_step) if ros else (_FOXGLOVE_TYPES, message.point_stride)
    order = '>' if ros and message.is_bigendian else '<'
    names, formats, offsets = [], [], []
    for field in message.fields:
        kind = types.get(field.datatype if ros else field.type)
        if kind is None:
            raise UserError(f'field {field.name!r} of a cloud has an unknown type; expected numbers')
        count = int(getattr(field, 'count', 1))
        names.append(field.name)
        formats.append((order + kind, count) if count > 1 else order + kind)
        offsets.append(int(field.offset))
    try:
        layout = np.dtype({'names': names, 'formats': formats, 'offsets': offsets, 'itemsize': int(step)})
        data = bytes(message.data)
        rows = _rows(data, message, layout) if ros else np.frombuffer(data, layout)
    except ValueError as error:
        raise UserError(f'a cloud is damaged ({one_line(error)})') from None
    plain = [(name, layout[name].newbyteorder('=')) for name in names if layout[name].shape == ()]
    result = np.empty(len(rows), dtype=plain)
    for name, _ in plain:
        result[name] = rows[name]
    return result


def _rows(data: bytes, message: Any, layout: np.dtype) -> NDArray[Any]:
    """Return the points of an organised cloud, whose rows may be padded."""
    width, height, row_step = int(message.width), int(message.height), int(message.row_step)
    if len(data) < row_step * (height - 1) + width * layout.itemsize:
        raise ValueError(f'found {len(data)} bytes for {height} rows of {width} points')
    if row_step == width * layout.itemsize:
        return np.frombuffer(data, layout, count=width * height)
    rows = [np.frombuffer(data, layout, count=width, offset=row * row_step) for row in range(height)]
    return np.concatenate(rows)


def _extract(path: Path, folder: Path, topic: str | None, every: int) -> int:
    (folder / 'points').mkdir(parents=True)
    times: set[int] = set()
    doubled = 0
    with _open(path, topic) as clouds:
        for number, cloud in enumerate(clouds):
            if number % every:
                continue
            if cloud.time in times:  # drivers that start again, or two that write one topic
                doubled += 1
                continue
            try:
                points = columns_of(cloud.message)
            except UserError as error:
                raise UserError(f'{path}, message {number}: {error}') from None
            np.save(folder / 'points' / f'{cloud.time}.npy', points)
            times.add(cloud.time)
    if not times:
        raise UserError(f'{path}: no cloud on the topic; give another --topic')
    (folder / 'times.txt').write_text(''.join(f'{time // 10**9}.{time % 10**9:09d}\n' for time in sorted(times)))
    if doubled:
        note = f'{path}: left out {doubled} of {doubled + len(times)} clouds, whose time one before them has already'
        console.print(note, highlight=False, soft_wrap=True, markup=False)
    return len(times)


@contextmanager
def _open(path: Path, topic: str | None) -> Iterator[Iterator[Cloud]]:
    """Open a recording and yield its clouds in the order of time."""
    try:
        with _mcap(path, topic) if path.suffix == '.mcap' else _bag(path, topic) as clouds:
            yield clouds
    except (UserError, ImportError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise UserError(f'{path}: not a readable recording ({type(error).__name__}: {one_line(error)})') from None


@contextmanager
def _mcap(path: Path, topic: str | None) -> Iterator[Iterator[Cloud]]:
    from mcap.reader import make_reader
    from mcap_protobuf.decoder import DecoderFactory as Protobuf
    from mcap_ros2.decoder import DecoderFactory as Ros2

    with open(path, 'rb') as file:
        reader = make_reader(file, decoder_factories=[Ros2(), Protobuf()])
        summary = reader.get_summary()
        indexed = summary is not None and bool(summary.chunk_indexes)
        chosen = _choose(
            path, _mcap_kinds(path) if summary is None else _kinds(summary.schemas, summary.channels), topic
        )
        # Without an index, sorting would hold the whole recording in memory: messages are taken as they stand.
        messages = reader.iter_decoded_messages(topics=[chosen], log_time_order=indexed)
        yield (
            Cloud(_stamp(entry.decoded_message, entry.message.log_time), entry.decoded_message) for entry in messages
        )


def _mcap_kinds(path: Path) -> dict[str, str]:
    """Return the kinds of messages by topic of a file without the summary, which the format allows to leave out."""
    from mcap.records import Channel, Schema
    from mcap.stream_reader import StreamReader

    schemas, channels = {}, {}
    with open(path, 'rb') as file:
        for record in StreamReader(file).records:
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
    return _kinds(schemas, channels)


def _kinds(schemas: dict[int, Any], channels: dict[int, Any]) -> dict[str, str]:
    return {
        channel.topic: schemas[channel.schema_id].name for channel in channels.values() if channel.schema_id in schemas
    }


@contextmanager
def _bag(path: Path, topic: str | None) -> Iterator[Iterator[Cloud]]:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        chosen = _choose(path, {entry.topic: entry.msgtype for entry in reader.connections}, topic)
        connections = [entry for entry in reader.connections if entry.topic == chosen]

        def clouds() -> Iterator[Cloud]:
            for connection, time, raw in reader.messages(connections):
                message = reader.deserialize(raw, connection.msgtype)
                yield Cloud(_stamp(message, time), message)

        yield clouds()


def _choose(path: Path, kinds: dict[str, str], topic: str | None) -> str:
    clouds = sorted(name for name, kind in kinds.items() if kind in CLOUDS)
    if topic is not None and topic not in clouds:
        raise unknown_name(f'topic of clouds in {path}', topic, clouds or ['none'])
    if topic is None and len(clouds) != 1:
        found = f'{len(clouds)} topics of clouds ({", ".join(clouds)})' if clouds else 'no topic of clouds'
        raise UserError(f'{path}: found {found}, expected one; choose with --topic')
    return topic or clouds[0]


def _stamp(message: Any, logged: int) -> int:
    """Return when a cloud was measured, in nanoseconds; when it was logged if it does not say."""
    stamp = message.header.stamp if hasattr(message, 'header') else getattr(message, 'timestamp', None)
    if stamp is None:
        return logged
    seconds = int(getattr(stamp, 'sec', getattr(stamp, 'seconds', 0)))
    rest = next((int(getattr(stamp, name)) for name in ('nanosec', 'nanos', 'nsec') if hasattr(stamp, name)), 0)
    return seconds * 10**9 + rest or logged
