"""Recordings byte by byte from their public descriptions: MCAP, rosbag2 (SQLite and MCAP) and ROS 1 bags.

https://mcap.dev/spec (version 0), https://github.com/ros2/rosbag2 (``rosbag2_storage``, version 5 of
``metadata.yaml``), http://wiki.ros.org/Bags/Format/2.0,
https://docs.ros.org/en/humble/p/sensor_msgs/msg/PointCloud2.html and
https://docs.foxglove.dev/docs/sdk/schemas/point-cloud. None of the libraries that read these formats is used.
"""

import sqlite3
import struct
import zlib

from tests.helpers.wire import Cdr, bytes_field, fixed32_field, number_field

KIND = 'sensor_msgs/msg/PointCloud2'
FLOAT32, UINT16 = 7, 4
_FOREVER = '\n    sec: 9223372036\n    nsec: 854775807'
QOS = (
    '- history: 3\n  depth: 0\n  reliability: 1\n  durability: 2\n  deadline:'
    + (_FOREVER + '\n  lifespan:' + _FOREVER)
    + ('\n  liveliness: 1\n  liveliness_lease_duration:' + _FOREVER)
    + '\n  avoid_ros_namespace_conventions: false'
)
# What the ROS driver of Velodyne's LiDARs publishes: 22 bytes a point, the last number not at a multiple of its size.
VELODYNE = (
    ('x', 0, FLOAT32), ('y', 4, FLOAT32), ('z', 8, FLOAT32), ('intensity', 12, FLOAT32), ('ring', 16, UINT16),
    ('time', 18, FLOAT32),
)  # fmt: skip
STEP = 22

DEFINITION = """std_msgs/Header header
uint32 height
uint32 width
sensor_msgs/PointField[] fields
bool is_bigendian
uint32 point_step
uint32 row_step
uint8[] data
bool is_dense
================================================================================
MSG: std_msgs/Header
{sequence}{time} stamp
string frame_id
{nested}================================================================================
MSG: sensor_msgs/PointField
uint8 INT8=1
uint8 UINT8=2
uint8 INT16=3
uint8 UINT16=4
uint8 INT32=5
uint8 UINT32=6
uint8 FLOAT32=7
uint8 FLOAT64=8
string name
uint32 offset
uint8 datatype
uint32 count
"""
_LINE = '=' * 80
ROS2_DEFINITION = DEFINITION.format(
    sequence='',
    time='builtin_interfaces/Time',
    nested=f'{_LINE}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n',
)
ROS1_DEFINITION = DEFINITION.format(sequence='uint32 seq\n', time='time', nested='')
ROS1_MD5 = '1158d486dd51d683ce2f1be655c3c181'  # of sensor_msgs/PointCloud2, as every ROS 1 installation prints it


def velodyne_points(rows):
    """The points of a cloud: rows of x, y, z, intensity, ring, time."""
    return b''.join(struct.pack('<ffffHf', *row) for row in rows)


def ros2_cloud(time, rows):
    """A ``sensor_msgs/msg/PointCloud2`` in CDR, measured at a time in nanoseconds."""
    data = velodyne_points(rows)
    cdr = Cdr().add('i', time // 10**9).add('I', time % 10**9).text('velodyne').add('I', 1, len(rows), len(VELODYNE))
    for name, offset, kind in VELODYNE:
        cdr.text(name).add('I', offset).add('B', kind).add('I', 1)
    return cdr.add('B', 0).add('I', STEP, len(data)).octets(data).add('B', 1).message()


def foxglove_cloud(time, rows):
    """A ``foxglove.PointCloud`` in protobuf."""
    types = {FLOAT32: 7, UINT16: 3}  # other numbers than ROS has: UINT16 is 3, FLOAT32 is 7
    stamp = number_field(1, time // 10**9) + number_field(2, time % 10**9)
    message = bytes_field(1, stamp) + bytes_field(2, 'velodyne') + fixed32_field(4, STEP)
    for name, offset, kind in VELODYNE:
        message += bytes_field(5, bytes_field(1, name) + fixed32_field(2, offset) + number_field(3, types[kind]))
    return message + bytes_field(6, velodyne_points(rows))


def foxglove_schema():
    """The ``FileDescriptorSet`` of `foxglove_cloud`, with the file of ``google.protobuf.Timestamp``."""
    text, message, enum, fixed32, octets, int64, int32 = 9, 11, 14, 7, 12, 3, 5
    optional, repeated = 1, 3

    def field(name, number, kind, label=optional, type_name=None):
        content = bytes_field(1, name) + number_field(3, number) + number_field(4, label) + number_field(5, kind)
        return bytes_field(2, content + (bytes_field(6, type_name) if type_name else b''))

    def file(name, package, *messages, needs=None):
        head = bytes_field(1, name) + bytes_field(2, package) + (bytes_field(3, needs) if needs else b'')
        return bytes_field(1, head + b''.join(bytes_field(4, entry) for entry in messages) + bytes_field(12, 'proto3'))

    stamp = bytes_field(1, 'Timestamp') + field('seconds', 1, int64) + field('nanos', 2, int32)
    names = ('UNKNOWN', 'UINT8', 'INT8', 'UINT16', 'INT16', 'UINT32', 'INT32', 'FLOAT32', 'FLOAT64')
    values = b''.join(bytes_field(2, bytes_field(1, name) + number_field(2, n)) for n, name in enumerate(names))
    element = (
        bytes_field(1, 'PackedElementField')
        + (field('name', 1, text) + field('offset', 2, fixed32))
        + field('type', 3, enum, type_name='.foxglove.PackedElementField.NumericType')
        + bytes_field(4, bytes_field(1, 'NumericType') + values)
    )
    cloud = (
        bytes_field(1, 'PointCloud')
        + field('timestamp', 1, message, type_name='.google.protobuf.Timestamp')
        + (field('frame_id', 2, text) + field('point_stride', 4, fixed32))
        + field('fields', 5, message, repeated, '.foxglove.PackedElementField')
        + field('data', 6, octets)
    )
    return file('google/protobuf/timestamp.proto', 'google.protobuf', stamp) + file(
        'foxglove/PointCloud.proto', 'foxglove', element, cloud, needs='google/protobuf/timestamp.proto'
    )


# ---------------------------------------------------------------- MCAP

MAGIC = b'\x89MCAP0\r\n'
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(1, 9)
STATISTICS, SUMMARY_OFFSET, DATA_END = 0x0B, 0x0E, 0x0F


def _record(opcode, content):
    return struct.pack('<BQ', opcode, len(content)) + content


def _text(value):
    return struct.pack('<I', len(value)) + (value.encode() if isinstance(value, str) else value)


def mcap_file(messages, *, schema=None, topic='/lidar', chunked=True, summary=True):
    """An MCAP file with one channel.

    Args:
        messages: Log time in nanoseconds and content of each.
        schema: Name, encoding and text of the schema, and the encoding of the messages; by default ROS 2's
            ``PointCloud2``.
        topic: Of the channel.
        chunked: Put schema, channel and messages into a chunk, and index it.
        summary: Write the summary section, which the format allows to leave out.
    """
    name, encoding, text, message_encoding = schema or (KIND, 'ros2msg', ROS2_DEFINITION, 'cdr')
    profile = 'ros2' if message_encoding == 'cdr' else ''
    start = MAGIC + _record(HEADER, _text(profile) + _text('by hand'))
    described = _record(SCHEMA, struct.pack('<H', 3) + _text(name) + _text(encoding) + _text(text))
    qos = _text('offered_qos_profiles') + _text(QOS) if profile else b''
    channel = _record(CHANNEL, struct.pack('<HH', 5, 3) + _text(topic) + _text(message_encoding) + _text(qos))
    times = [time for time, _ in messages]
    first, last = min(times, default=0), max(times, default=0)
    records, entries = bytearray(described + channel), b''
    for number, (time, content) in enumerate(messages):
        entries += struct.pack('<QQ', time, len(records))
        records += _record(MESSAGE, struct.pack('<HIQQ', 5, number, time, time - 1000) + content)
    data, chunks = bytearray(start), b''
    if chunked:
        head = struct.pack('<QQQI', first, last, len(records), zlib.crc32(records)) + _text('')
        chunk = _record(CHUNK, head + struct.pack('<Q', len(records)) + records)
        index = _record(MESSAGE_INDEX, struct.pack('<H', 5) + _text(entries))
        place = struct.pack('<HQ', 5, len(start) + len(chunk))
        chunks = _record(
            CHUNK_INDEX,
            struct.pack('<QQQQ', first, last, len(start), len(chunk))
            + _text(place)
            + struct.pack('<Q', len(index))
            + _text('')
            + struct.pack('<QQ', len(records), len(records)),
        )
        data += chunk + index
    else:
        data += records
    data += _record(DATA_END, struct.pack('<I', zlib.crc32(data)))
    if not summary:
        return bytes(data) + _record(FOOTER, struct.pack('<QQI', 0, 0, 0)) + MAGIC
    counts = struct.pack('<QHIIIIQQ', len(messages), 1, 1, 0, 0, int(chunked), first, last)
    statistics = _record(STATISTICS, counts + _text(struct.pack('<HQ', 5, len(messages))))
    groups = {SCHEMA: described, CHANNEL: channel, STATISTICS: statistics, **({CHUNK_INDEX: chunks} if chunked else {})}
    section, offsets = b'', b''
    for opcode, group in groups.items():
        offsets += _record(SUMMARY_OFFSET, struct.pack('<BQQ', opcode, len(data) + len(section), len(group)))
        section += group
    footer = struct.pack('<QQ', len(data), len(data) + len(section))
    checked = section + offsets + struct.pack('<BQ', FOOTER, len(footer) + 4) + footer
    return bytes(data) + checked + struct.pack('<I', zlib.crc32(checked)) + MAGIC


# ---------------------------------------------------------------- rosbag2

METADATA = """rosbag2_bagfile_information:
  version: 5
  storage_identifier: {storage}
  duration:
    nanoseconds: {duration}
  starting_time:
    nanoseconds_since_epoch: {start}
  message_count: {count}
  topics_with_message_count:
    - topic_metadata:
        name: /lidar
        type: sensor_msgs/msg/PointCloud2
        serialization_format: cdr
        offered_qos_profiles: "{qos}"
      message_count: {count}
  compression_format: ""
  compression_mode: ""
  relative_file_paths:
    - {file}
  files:
    - path: {file}
      starting_time:
        nanoseconds_since_epoch: {start}
      duration:
        nanoseconds: {duration}
      message_count: {count}
"""


def _write_metadata(folder, storage, file, messages):
    start, end = messages[0][0], messages[-1][0]
    (folder / 'metadata.yaml').write_text(
        METADATA.format(
            storage=storage,
            file=file,
            start=start,
            duration=end - start,
            count=len(messages),
            qos=QOS.replace('\n', r'\n'),
        )
    )


def write_sqlite_bag(folder, messages):
    """Write a rosbag2 folder as ROS 2 Humble does."""
    folder.mkdir()
    database = sqlite3.connect(folder / 'bag_0.db3')
    with database:
        database.execute(
            'CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, '
            'serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)'
        )
        database.execute(
            'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, '
            'data BLOB NOT NULL)'
        )
        database.execute('CREATE INDEX timestamp_idx ON messages (timestamp ASC)')
        database.execute('INSERT INTO topics VALUES (1, ?, ?, ?, ?)', ('/lidar', KIND, 'cdr', QOS))
        database.executemany('INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, ?)', messages)
    database.close()
    _write_metadata(folder, 'sqlite3', 'bag_0.db3', messages)


def write_mcap_bag(folder, messages):
    """Write a rosbag2 folder as ROS 2 from Iron on does."""
    folder.mkdir()
    (folder / 'bag_0.mcap').write_bytes(mcap_file(messages))
    _write_metadata(folder, 'mcap', 'bag_0.mcap', messages)


# ---------------------------------------------------------------- ROS 1


def ros1_cloud(time, rows, sequence=0):
    """A ``sensor_msgs/PointCloud2`` as ROS 1 serialises it: nothing is aligned, text has no end."""
    data = velodyne_points(rows)
    message = struct.pack('<III', sequence, time // 10**9, time % 10**9) + _text('velodyne')
    message += struct.pack('<III', 1, len(rows), len(VELODYNE))
    for name, offset, kind in VELODYNE:
        message += _text(name) + struct.pack('<IBI', offset, kind, 1)
    return message + struct.pack('<BII', 0, STEP, len(data)) + _text(data) + b'\1'


def _bag_record(data, **header):
    content = b''.join(_text(key.encode() + b'=' + value) for key, value in header.items())
    return _text(content) + _text(data)


def _bag_time(time):
    return struct.pack('<II', time // 10**9, time % 10**9)


def ros1_bag(messages):
    """A ROS 1 bag of version 2.0: a header of 4,096 bytes, a chunk, its index, the connection, what the chunk holds."""
    number, count = struct.pack('<I', 0), struct.pack('<I', len(messages))
    told = {
        b'topic': b'/lidar',
        b'type': b'sensor_msgs/PointCloud2',
        b'md5sum': ROS1_MD5.encode(),
        b'message_definition': ROS1_DEFINITION.encode(),
    }
    described = b''.join(_text(key + b'=' + value) for key, value in told.items())
    connection = _bag_record(described, op=b'\x07', conn=number, topic=b'/lidar')
    chunk, index = bytearray(connection), b''
    for time, content in messages:
        index += _bag_time(time) + struct.pack('<I', len(chunk))
        chunk += _bag_record(content, op=b'\x02', conn=number, time=_bag_time(time))
    magic, length = b'#ROSBAG V2.0\n', 4096
    size = struct.pack('<I', len(chunk))
    body = _bag_record(bytes(chunk), op=b'\x05', compression=b'none', size=size)
    body += _bag_record(index, op=b'\x04', ver=struct.pack('<I', 1), conn=number, count=count)
    info = _bag_record(
        number + count,
        op=b'\x06',
        ver=struct.pack('<I', 1),
        chunk_pos=struct.pack('<Q', len(magic) + length),
        start_time=_bag_time(messages[0][0]),
        end_time=_bag_time(messages[-1][0]),
        count=struct.pack('<I', 1),
    )
    index_pos = struct.pack('<Q', len(magic) + length + len(body))
    one = struct.pack('<I', 1)
    head = _bag_record(b'', op=b'\x03', index_pos=index_pos, conn_count=one, chunk_count=one)[:-4]
    head += _text(b' ' * (length - len(head) - 4))
    return magic + head + body + connection + info
