"""The Waymo converter on one segment of full-size frames in version 1, with random ranges: every frame is converted."""

import resource
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.data.tfrecord import masked_crc
from ssal3d.data.waymo_converter import convert_waymo
from ssal3d.data.waymo_messages import message_class

DEFAULT_FRAMES = 20
ROOF, SIDE = (64, 2650), (200, 600)  # rows, columns


def run(frames: int) -> list[dict[str, Any]]:
    """Measure CPU seconds a frame in one process, and its memory."""
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / 'raw', Path(folder) / 'out'
        (root / 'training').mkdir(parents=True)
        with open(root / 'training' / 'segment.tfrecord', 'wb') as file:
            for number in range(frames):
                file.write(_record(_frame(number)))
        before, start = _peak_megabytes(), time.process_time()
        (summary,) = convert_waymo(root, out, splits=['training'], intervals={'training': 1}, workers=1)
        seconds = time.process_time() - start
        scans = sum(path.stat().st_size for path in (out / 'training' / 'velodyne').iterdir())
    return [
        {'part': f'converting a frame ({frames} frames)', 'value': seconds / frames, 'unit': 'CPU s'},
        {'part': 'points a frame', 'value': summary.counts['points'] / frames, 'unit': ''},
        {'part': 'scan file', 'value': scans / frames / 1e6, 'unit': 'MB'},
        {'part': 'memory on top of the start', 'value': _peak_megabytes() - before, 'unit': 'MB'},
    ]


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _record(content: bytes) -> bytes:
    head, crc = len(content).to_bytes(8, 'little'), masked_crc(content).to_bytes(4, 'little')
    return head + masked_crc(head).to_bytes(4, 'little') + content + crc


def _frame(number: int) -> bytes:
    random = np.random.default_rng(number)
    frame = message_class('Frame')(timestamp_micros=100_000 * number)
    frame.context.name = 'segment'
    frame.pose.transform.extend(np.eye(4).reshape(-1))
    for name in range(1, 6):
        size = ROOF if name == 1 else SIDE
        calibration = frame.context.laser_calibrations.add(
            name=name, beam_inclination_min=-0.3, beam_inclination_max=0.04
        )
        calibration.extrinsic.transform.extend(np.eye(4).reshape(-1))
        laser = frame.lasers.add(name=name)
        for part, share in ((laser.ri_return1, 0.9 if name == 1 else 0.1), (laser.ri_return2, 0.05)):
            image = np.stack((random.uniform(2, 75, size), *random.random((2, *size)), np.full(size, -1.0)), -1)
            image[random.random(size) > share] = -1
            part.range_image_compressed = _compressed(image)
        if name == 1:
            laser.ri_return1.range_image_pose_compressed = _compressed(np.zeros((*size, 6)))
    for k in range(60):
        label = frame.laser_labels.add(type=1, id=str(k), num_lidar_points_in_box=10)
        label.box.center_x, label.box.length, label.box.width, label.box.height = 1.0 * k, 4.5, 2, 1.6
    return frame.SerializeToString()


def _compressed(image: np.ndarray) -> bytes:
    matrix = message_class('MatrixFloat')(data=image.astype('<f4').tobytes())
    matrix.shape.dims.extend(image.shape)
    return zlib.compress(matrix.SerializeToString(), 1)
