"""Writes Waymo's files with protobuf's own compiler, from the text below: independent of how the package reads them.

The text repeats the fields of the public label.proto and metrics.proto, more of them than the package reads.
"""

import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

LABEL = """
message Label {
  message Box {
    optional double center_x = 1;
    optional double center_y = 2;
    optional double center_z = 3;
    optional double length = 5;
    optional double width = 4;
    optional double height = 6;
    optional double heading = 7;
  }
  optional Box box = 1;
  message Metadata {
    optional double speed_x = 1;
    optional double speed_y = 2;
    optional double accel_x = 3;
    optional double accel_y = 4;
  }
  optional Metadata metadata = 2;
  enum Type { TYPE_UNKNOWN = 0; TYPE_VEHICLE = 1; TYPE_PEDESTRIAN = 2; TYPE_SIGN = 3; TYPE_CYCLIST = 4; }
  optional Type type = 3;
  optional string id = 4;
  enum DifficultyLevel { UNKNOWN = 0; LEVEL_1 = 1; LEVEL_2 = 2; }
  optional DifficultyLevel detection_difficulty_level = 5;
  optional DifficultyLevel tracking_difficulty_level = 6;
  optional int32 num_lidar_points_in_box = 7;
  optional string most_visible_camera_name = 11;
  optional Box camera_synced_box = 12;
  optional int32 num_top_lidar_points_in_box = 13;
}
message Polygon2dProto {
  repeated double x = 1;
  repeated double y = 2;
  optional string id = 3;
}
"""

METRICS = """
message CameraName { enum Name { UNKNOWN = 0; FRONT = 1; FRONT_LEFT = 2; FRONT_RIGHT = 3; } }
message Object {
  optional Label object = 1;
  optional float score = 2 [default = 1.0];
  optional bool overlap_with_nlz = 3;
  optional string context_name = 4;
  optional int64 frame_timestamp_micros = 5;
  optional CameraName.Name camera_name = 6;
}
message NoLabelZoneObject {
  optional Polygon2dProto zone = 1;
  optional string context_name = 2;
  optional int64 frame_timestamp_micros = 3;
}
message Objects {
  repeated Object objects = 1;
  repeated NoLabelZoneObject no_label_zone_objects = 2;
}
"""


@lru_cache
def compiled(text):
    """Return the message classes of a .proto text by name."""
    protoc = pytest.importorskip('grpc_tools.protoc')
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / 'waymo.proto', Path(folder) / 'waymo.descriptors'
        source.write_text('syntax = "proto2";\npackage written_by_tests;\n' + text)
        assert protoc.main(['protoc', f'-I{folder}', f'--descriptor_set_out={target}', 'waymo.proto']) == 0
        described = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described.file[0])
    names = [message.name for message in described.file[0].message_type]
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f'written_by_tests.{name}')) for name in names
    }


def objects_message(rows):
    """Return an `Objects` message of rows with the keys of `Object`, `Label` and `Box`."""
    message = compiled(LABEL + METRICS)['Objects']()
    for row in rows:
        item = message.objects.add()
        for key, value in row.items():
            if key == 'box':
                for name, number in zip(
                    ('center_x', 'center_y', 'center_z', 'length', 'width', 'height', 'heading'), value, strict=True
                ):
                    setattr(item.object.box, name, number)
            else:
                setattr(item if hasattr(item, key) else item.object, key, value)
    return message


DATASET = """
message MatrixShape { repeated int32 dims = 1; }
message MatrixFloat { repeated float data = 1 [packed = true]; optional MatrixShape shape = 2; }
message LaserName { enum Name { UNKNOWN = 0; TOP = 1; FRONT = 2; SIDE_LEFT = 3; SIDE_RIGHT = 4; REAR = 5; } }
message CameraName { enum Name { UNKNOWN = 0; FRONT = 1; FRONT_LEFT = 2; FRONT_RIGHT = 3; SIDE_LEFT = 4; SIDE_RIGHT = 5; } }
message Transform { repeated double transform = 1; }
message CameraCalibration {
  optional CameraName.Name name = 1;
  repeated double intrinsic = 2;
  optional Transform extrinsic = 3;
  optional int32 width = 4;
  optional int32 height = 5;
}
message LaserCalibration {
  optional LaserName.Name name = 1;
  repeated double beam_inclinations = 2;
  optional double beam_inclination_min = 3;
  optional double beam_inclination_max = 4;
  optional Transform extrinsic = 5;
}
message Context {
  optional string name = 1;
  repeated CameraCalibration camera_calibrations = 2;
  repeated LaserCalibration laser_calibrations = 3;
  message Stats { optional string time_of_day = 2; optional string location = 3; }
  optional Stats stats = 4;
}
message RangeImage {
  optional bytes range_image_compressed = 2;
  optional bytes camera_projection_compressed = 3;
  optional bytes range_image_pose_compressed = 4;
  optional MatrixFloat range_image = 1 [deprecated = true];
}
message CameraImage { optional CameraName.Name name = 1; optional bytes image = 2; }
message Laser {
  optional LaserName.Name name = 1;
  optional RangeImage ri_return1 = 2;
  optional RangeImage ri_return2 = 3;
}
message Frame {
  optional Context context = 1;
  optional int64 timestamp_micros = 2;
  optional Transform pose = 3;
  repeated CameraImage images = 4;
  repeated Laser lasers = 5;
  repeated Label laser_labels = 6;
  repeated Polygon2dProto no_label_zones = 7;
}
"""


def crc32c(content):
    """CRC-32C, bit by bit from its polynomial."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tfrecord(contents, checksum=crc32c):
    """The bytes of a TFRecord file."""

    def masked(content):
        crc = checksum(content)
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, 'little')

    lengths = [len(content).to_bytes(8, 'little') for content in contents]
    return b''.join(n + masked(n) + c + masked(c) for n, c in zip(lengths, contents, strict=True))
