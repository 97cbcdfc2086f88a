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
