"""Readers of the files of the Waymo Open Dataset, each with small valid files."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tools.faults.fuzzing import Example, Reader


def waymo_records_reader() -> Reader:
    """Waymo's tfrecord files: the container, the message, and the range images in it."""
    from ssal3d.data.waymo_frame import frame_points
    from ssal3d.data.waymo_messages import message_class
    from ssal3d.data.waymo_records import read_record_frames

    frame = _waymo_frame(_range_image())
    image = message_class('MatrixFloat').FromString(zlib.decompress(_range_image())).SerializeToString()

    def read(at: Path) -> Any:
        found = []
        for entry in read_record_frames(at / 'x.tfrecord'):
            with np.errstate(all='ignore'):
                found.append((entry, *frame_points(entry)))
        return found

    def check(found: Any) -> None:
        for entry, points, _ in found:
            assert points.dtype == np.float32
            assert points.shape[1] == 6
            assert len(points) < 10_000
            assert np.isfinite(entry.pose).all()
            assert np.isfinite(entry.labels.boxes).all()

    examples = [
        Example('x.tfrecord', _record(frame)),
        Example('x.tfrecord', frame, build=_record),
        Example('x.tfrecord', image, build=lambda data: _record(_waymo_frame(zlib.compress(data)))),
    ]
    return Reader('waymo-records', read, examples, check)


def waymo_objects_reader() -> Reader:
    """Waymo's detection files: one message with all boxes."""
    from ssal3d.data.waymo_messages import message_class
    from ssal3d.evaluation.waymo_objects import counted_truth, read_objects

    message = message_class('Objects')()
    for number in range(3):
        item = message.objects.add(score=0.5, context_name='drive', frame_timestamp_micros=1000 + number)
        item.object.type, item.object.num_lidar_points_in_box = 1, 9
        for name, value in zip(('center_x', 'center_y', 'length', 'width', 'height'), (5, 1, 4, 2, 1.5), strict=True):
            setattr(item.object.box, name, value)

    def read(at: Path) -> Any:
        found = read_objects(at / 'x.bin', {})
        return found, counted_truth(found)

    def check(found: Any) -> None:
        assert np.isfinite(found[0].boxes).all()
        assert ((found[0].scores >= 0) & (found[0].scores <= 1)).all()
        assert (found[0].boxes[:, 3:6] > 0).all()
        assert (found[0].types < 5).all()

    return Reader('waymo-objects', read, [Example('x.bin', message.SerializeToString())], check)


def waymo_tables_reader() -> Reader:
    """Waymo's Parquet files: each component as bytes, and with damaged values in a sound file."""
    from ssal3d.data.waymo_parquet import read_parquet_frames

    tables = _waymo_tables()
    files = {f'{name}/x.parquet': _parquet(rows) for name, rows in tables.items()}

    def read(at: Path) -> Any:
        return list(read_parquet_frames(at, 'x.parquet'))

    def check(found: Any) -> None:
        for entry in found:
            assert isinstance(entry.segment, str)
            assert isinstance(entry.timestamp, int)
            assert np.isfinite(entry.pose).all()
            assert entry.labels is not None
            assert entry.labels.boxes.shape[1:] == (7,)
            assert np.isfinite(entry.labels.boxes).all()

    examples = [Example(name, data, files=files) for name, data in files.items()]
    examples += [
        Example(f'{name}/x.parquet', json.dumps(rows).encode(), 'json', files, lambda data: _parquet(json.loads(data)))
        for name, rows in tables.items()
    ]
    return Reader('waymo-tables', read, examples, check)


def _record(content: bytes) -> bytes:
    """Return a TFRecord file of one record, with the checksums that belong to it."""
    from ssal3d.data.tfrecord import masked_crc

    length = struct.pack('<Q', len(content))
    return length + struct.pack('<I', masked_crc(length)) + content + struct.pack('<I', masked_crc(content))


def _range_image(channels: int = 4) -> bytes:
    from ssal3d.data.waymo_messages import message_class

    image = np.full((4, 6, channels), 5, np.float32)
    message = message_class('MatrixFloat')(data=image.tobytes())
    message.shape.dims.extend(image.shape)
    return zlib.compress(message.SerializeToString())


def _waymo_frame(image: bytes) -> bytes:
    """Return a frame with two LiDARs, a camera, two labels and a zone."""
    from ssal3d.data.waymo_messages import message_class

    frame = message_class('Frame')(timestamp_micros=1000)
    eye = np.eye(4).ravel().tolist()
    frame.context.name = 'drive'
    frame.pose.transform.extend(eye)
    camera = frame.context.camera_calibrations.add(
        name=1, width=192, height=128, intrinsic=[200, 200, 96, 64, 0, 0, 0, 0, 0]
    )
    camera.extrinsic.transform.extend(eye)
    for name in (1, 2):
        calibration = frame.context.laser_calibrations.add(
            name=name, beam_inclination_min=-0.3, beam_inclination_max=0.1
        )
        if name == 1:
            calibration.beam_inclinations.extend([-0.3, -0.2, -0.1, 0.1])
        calibration.extrinsic.transform.extend(eye)
        laser = frame.lasers.add(name=name)
        laser.ri_return1.range_image_compressed = image
        laser.ri_return2.range_image_compressed = _range_image()
        if name == 1:
            laser.ri_return1.range_image_pose_compressed = _range_image(6)
    for number in range(2):
        label = frame.laser_labels.add(type=1, id=f'car {number}', num_lidar_points_in_box=9)
        for key, value in zip(('center_x', 'length', 'width', 'height'), (5.0, 4.0, 2.0, 1.5), strict=True):
            setattr(label.box, key, value)
    frame.no_label_zones.add(x=[0.0, 1.0, 1.0], y=[0.0, 0.0, 1.0])
    return frame.SerializeToString()


def _waymo_tables() -> dict[str, list[dict[str, Any]]]:
    """Return rows of every component that is read, by component."""
    eye = np.eye(4).ravel().tolist()
    key = {'key.segment_context_name': 'drive', 'key.frame_timestamp_micros': 1000}
    values, pose = [5.0] * (4 * 6 * 4), [0.0] * (4 * 6 * 6)
    image = '[LiDARComponent].range_image_return'
    lidar = {f'{image}{n}.{part}': value for n in (1, 2) for part, value in (('values', values), ('shape', [4, 6, 4]))}
    column = '[LiDARPoseComponent].range_image_return1'
    beams = '[LiDARCalibrationComponent].beam_inclination'
    camera = {f'[CameraCalibrationComponent].intrinsic.{part}': 100.0 for part in ('f_u', 'f_v', 'c_u', 'c_v')}
    box = {f'[LiDARBoxComponent].box.{part}.{axis}': 2.0 for part in ('center', 'size') for axis in 'xyz'}
    box |= {'[LiDARBoxComponent].box.heading': 0.1, '[LiDARBoxComponent].type': 1}
    box |= {'[LiDARBoxComponent].difficulty_level.detection': 0, '[LiDARBoxComponent].num_lidar_points_in_box': 9}
    return {
        'vehicle_pose': [{**key, '[VehiclePoseComponent].world_from_vehicle.transform': eye}],
        'lidar': [{**key, 'key.laser_name': name, **lidar} for name in (1, 2)],
        'lidar_pose': [{**key, 'key.laser_name': 1, f'{column}.values': pose, f'{column}.shape': [4, 6, 6]}],
        'lidar_calibration': [
            {
                'key.segment_context_name': 'drive',
                'key.laser_name': name,
                '[LiDARCalibrationComponent].extrinsic.transform': eye,
                **{f'{beams}.{part}': value for part, value in (('min', -0.3), ('max', 0.1))},
                f'{beams}.values': [-0.3, -0.2, -0.1, 0.1] if name == 1 else None,
            }
            for name in (1, 2)
        ],
        'camera_calibration': [
            {
                'key.segment_context_name': 'drive',
                'key.camera_name': 1,
                **camera,
                '[CameraCalibrationComponent].extrinsic.transform': eye,
                '[CameraCalibrationComponent].width': 192,
                '[CameraCalibrationComponent].height': 128,
            }
        ],
        'lidar_box': [{**key, 'key.laser_object_id': f'car {number}', **box} for number in range(2)],
    }


def _parquet(rows: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


READERS = (waymo_records_reader, waymo_objects_reader, waymo_tables_reader)
