"""The protobuf messages of the Waymo Open Dataset, as far as this package reads them.

Names, numbers and types of the fields are those of the public ``label.proto``, ``metrics.proto`` and ``dataset.proto``
(Waymo Open Dataset, proto2). They are declared here as a table and handed to protobuf at run time, so that no generated
code ties the package to one release of protobuf. Fields that are not declared are skipped, whatever they hold.
Enumerations are read as plain integers, which is the same on the wire and keeps values that later releases added.
"""

from functools import lru_cache
from typing import Any

from ssal3d.errors import UserError

_PACKAGE = 'ssal3d.waymo'
# Message -> fields as 'name number kind', 'kind' a scalar type of protobuf, or a message of this table; '*' = repeated.
_MESSAGES: dict[str, tuple[str, ...]] = {
    'Box': (
        'center_x 1 double',
        'center_y 2 double',
        'center_z 3 double',
        'width 4 double',  # along the box's y
        'length 5 double',  # along the box's x
        'height 6 double',
        'heading 7 double',
    ),
    'Label': (
        'box 1 Box',
        'type 3 int32',
        'id 4 string',
        'detection_difficulty_level 5 int32',
        'num_lidar_points_in_box 7 int32',
    ),
    'Object': (
        'object 1 Label',
        'score 2 float',
        'overlap_with_nlz 3 bool',
        'context_name 4 string',
        'frame_timestamp_micros 5 int64',
        'camera_name 6 int32',
    ),
    'Objects': ('objects 1 *Object',),
    'MatrixShape': ('dims 1 *int32',),
    'MatrixFloat': (
        'data 1 bytes',  # packed floats: little-endian, one after the other, so the bytes are the array
        'shape 2 MatrixShape',
    ),
    'Transform': ('transform 1 *double',),  # 4 x 4, row by row
    'CameraCalibration': (
        'name 1 int32',
        'intrinsic 2 *double',  # f_u, f_v, c_u, c_v, then five of the distortion
        'extrinsic 3 Transform',  # camera to vehicle
        'width 4 int32',
        'height 5 int32',
    ),
    'LaserCalibration': (
        'name 1 int32',
        'beam_inclinations 2 *double',  # ascending; the image's rows go from the highest to the lowest
        'beam_inclination_min 3 double',
        'beam_inclination_max 4 double',
        'extrinsic 5 Transform',  # LiDAR to vehicle
    ),
    'Context': ('name 1 string', 'camera_calibrations 2 *CameraCalibration', 'laser_calibrations 3 *LaserCalibration'),
    'RangeImage': ('range_image_compressed 2 bytes', 'range_image_pose_compressed 4 bytes'),
    'Laser': ('name 1 int32', 'ri_return1 2 RangeImage', 'ri_return2 3 RangeImage'),
    'Polygon': ('x 1 *double', 'y 2 *double'),
    'Frame': (
        'context 1 Context',
        'timestamp_micros 2 int64',
        'pose 3 Transform',  # vehicle to world
        'lasers 5 *Laser',
        'laser_labels 6 *Label',
        'no_label_zones 7 *Polygon',  # in the world
    ),
}


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    fields = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name='ssal3d_waymo.proto', package=_PACKAGE, syntax='proto2')
    for message_name, declarations in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for declaration in declarations:
            name, number, kind = declaration.split()
            field = message.field.add(name=name, number=int(number))
            field.label = fields.LABEL_REPEATED if kind.startswith('*') else fields.LABEL_OPTIONAL
            kind = kind.lstrip('*')
            if kind in _MESSAGES:
                field.type, field.type_name = fields.TYPE_MESSAGE, f'.{_PACKAGE}.{kind}'
            else:
                field.type = getattr(fields, f'TYPE_{kind.upper()}')
    pool = descriptor_pool.DescriptorPool()  # a pool of our own: the official package may be installed, too
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f'{_PACKAGE}.{name}')) for name in _MESSAGES
    }


def message_class(name: str) -> Any:
    """Return the protobuf class of a message, e.g. ``'Objects'``."""
    return _classes()[name]


def decode(name: str, content: bytes | memoryview, source: object) -> Any:
    """Parse one serialised message.

    Args:
        name: Of the message.
        content: Its bytes.
        source: What is being read, for the error.

    Raises:
        UserError: If the bytes are no such message.
    """
    from google.protobuf.message import DecodeError

    try:
        return message_class(name).FromString(bytes(content))
    except DecodeError:
        raise UserError(
            f"{source}: not a serialised Waymo message '{name}'; the file is damaged or of another format"
        ) from None
