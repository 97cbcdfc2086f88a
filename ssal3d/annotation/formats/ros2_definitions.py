"""ROS 2 message definitions that an MCAP file must carry, so that readers need no ROS.

Field names, types and order are the interface; see the packages ``sensor_msgs``, ``foxglove_msgs``, ``vision_msgs`` and
``tf2_msgs``.
"""

_DEFINITIONS = {
    'builtin_interfaces/Time': 'int32 sec\nuint32 nanosec',
    'builtin_interfaces/Duration': 'int32 sec\nuint32 nanosec',
    'std_msgs/Header': 'builtin_interfaces/Time stamp\nstring frame_id',
    'geometry_msgs/Point': 'float64 x\nfloat64 y\nfloat64 z',
    'geometry_msgs/Vector3': 'float64 x\nfloat64 y\nfloat64 z',
    'geometry_msgs/Quaternion': 'float64 x\nfloat64 y\nfloat64 z\nfloat64 w',
    'geometry_msgs/Pose': 'geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation',
    'geometry_msgs/PoseWithCovariance': 'geometry_msgs/Pose pose\nfloat64[36] covariance',
    'geometry_msgs/Transform': 'geometry_msgs/Vector3 translation\ngeometry_msgs/Quaternion rotation',
    'geometry_msgs/TransformStamped': (
        'std_msgs/Header header\nstring child_frame_id\ngeometry_msgs/Transform transform'
    ),
    'tf2_msgs/TFMessage': 'geometry_msgs/TransformStamped[] transforms',
    'sensor_msgs/PointField': 'string name\nuint32 offset\nuint8 datatype\nuint32 count',
    'sensor_msgs/PointCloud2': (
        'std_msgs/Header header\nuint32 height\nuint32 width\nsensor_msgs/PointField[] fields\nbool is_bigendian\n'
        'uint32 point_step\nuint32 row_step\nuint8[] data\nbool is_dense'
    ),
    'vision_msgs/ObjectHypothesis': 'string class_id\nfloat64 score',
    'vision_msgs/ObjectHypothesisWithPose': (
        'vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose'
    ),
    'vision_msgs/BoundingBox3D': 'geometry_msgs/Pose center\ngeometry_msgs/Vector3 size',
    'vision_msgs/Detection3D': (
        'std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox3D bbox\nstring id'
    ),
    'vision_msgs/Detection3DArray': 'std_msgs/Header header\nvision_msgs/Detection3D[] detections',
    'foxglove_msgs/Color': 'float64 r\nfloat64 g\nfloat64 b\nfloat64 a',
    'foxglove_msgs/KeyValuePair': 'string key\nstring value',
    'foxglove_msgs/ArrowPrimitive': (
        'geometry_msgs/Pose pose\nfloat64 shaft_length\nfloat64 shaft_diameter\nfloat64 head_length\n'
        'float64 head_diameter\nfoxglove_msgs/Color color'
    ),
    'foxglove_msgs/CubePrimitive': 'geometry_msgs/Pose pose\ngeometry_msgs/Vector3 size\nfoxglove_msgs/Color color',
    'foxglove_msgs/SpherePrimitive': 'geometry_msgs/Pose pose\ngeometry_msgs/Vector3 size\nfoxglove_msgs/Color color',
    'foxglove_msgs/CylinderPrimitive': (
        'geometry_msgs/Pose pose\ngeometry_msgs/Vector3 size\nfloat64 bottom_scale\nfloat64 top_scale\n'
        'foxglove_msgs/Color color'
    ),
    'foxglove_msgs/LinePrimitive': (
        'uint8 type\ngeometry_msgs/Pose pose\nfloat64 thickness\nbool scale_invariant\ngeometry_msgs/Point[] points\n'
        'foxglove_msgs/Color color\nfoxglove_msgs/Color[] colors\nuint32[] indices'
    ),
    'foxglove_msgs/TriangleListPrimitive': (
        'geometry_msgs/Pose pose\ngeometry_msgs/Point[] points\nfoxglove_msgs/Color color\n'
        'foxglove_msgs/Color[] colors\nuint32[] indices'
    ),
    'foxglove_msgs/TextPrimitive': (
        'geometry_msgs/Pose pose\nbool billboard\nfloat64 font_size\nbool scale_invariant\nfoxglove_msgs/Color color\n'
        'string text'
    ),
    'foxglove_msgs/ModelPrimitive': (
        'geometry_msgs/Pose pose\ngeometry_msgs/Vector3 scale\nfoxglove_msgs/Color color\nbool override_color\n'
        'string url\nstring media_type\nuint8[] data'
    ),
    'foxglove_msgs/SceneEntityDeletion': 'builtin_interfaces/Time timestamp\nuint8 type\nstring id',
    'foxglove_msgs/SceneEntity': (
        'builtin_interfaces/Time timestamp\nstring frame_id\nstring id\nbuiltin_interfaces/Duration lifetime\n'
        'bool frame_locked\nfoxglove_msgs/KeyValuePair[] metadata\nfoxglove_msgs/ArrowPrimitive[] arrows\n'
        'foxglove_msgs/CubePrimitive[] cubes\nfoxglove_msgs/SpherePrimitive[] spheres\n'
        'foxglove_msgs/CylinderPrimitive[] cylinders\nfoxglove_msgs/LinePrimitive[] lines\n'
        'foxglove_msgs/TriangleListPrimitive[] triangles\nfoxglove_msgs/TextPrimitive[] texts\n'
        'foxglove_msgs/ModelPrimitive[] models'
    ),
    'foxglove_msgs/SceneUpdate': (
        'foxglove_msgs/SceneEntityDeletion[] deletions\nfoxglove_msgs/SceneEntity[] entities'
    ),
}
_BETWEEN = '=' * 80


def definition(name: str) -> str:
    """Return a message's definition with those of everything it holds.

    Args:
        name: For instance ``sensor_msgs/msg/PointCloud2``.
    """
    first = name.replace('/msg/', '/')
    pending, seen = [first], []
    while pending:
        current = pending.pop(0)
        if current in seen:
            continue
        seen.append(current)
        kinds = (line.split()[0].split('[')[0] for line in _DEFINITIONS[current].splitlines())
        pending.extend(kind for kind in kinds if kind in _DEFINITIONS)
    rest = (f'{_BETWEEN}\nMSG: {kind}\n{_DEFINITIONS[kind]}' for kind in seen[1:])
    return '\n'.join((_DEFINITIONS[first], *rest)) + '\n'
