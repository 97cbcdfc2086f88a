"""KITTI's object layout: label_2 in the rectified camera frame, with the bottom centre."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.format import AnnotationFormat, Batch
from ssal3d.annotation.formats.files import copy, label_files
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.scans import frame_points
from ssal3d.data.kitti_format import DONT_CARE, Calibration, camera_boxes_to_lidar, read_calibration
from ssal3d.data.kitti_objects import KittiObjects, format_objects, parse_objects
from ssal3d.errors import UserError
from ssal3d.evaluation.kitti_results import NOMINAL_CAMERA, CameraView, camera_objects, image_boxes
from ssal3d.registry import ANNOTATION_FORMATS

Array = NDArray[np.floating]

# A camera that nobody has: it only carries boxes of LiDAR-only frames through a format that knows camera boxes alone.
_NOMINAL_PROJECTION = np.array([[700.0, 0, 600, 0], [0, 700, 180, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
_ROWS = {'P0': 3, 'P1': 3, 'P2': 3, 'P3': 3, 'R0_rect': 3, 'Tr_velo_to_cam': 3, 'Tr_imu_to_velo': 3}


@ANNOTATION_FORMATS.register_module('kitti')
class KittiFormat(AnnotationFormat):
    """KITTI object detection, ``training/{velodyne,calib,label_2,image_2}``, six decimals.

    Boxes are turned with the frame's calibration; the tilt of half a degree between the camera's and the LiDAR's
    vertical axis is ignored both ways, as MMDetection3D does, so that a round trip is exact.

    Args:
        calib: Folder with ``<frame id>.txt`` (default: beside ``label_2``, else that of the export).
    """

    title = 'everything that reads KITTI'

    def __init__(self, calib: str | None = None) -> None:
        self.calib = calib

    def spelled(self, class_name: str) -> str:
        """Return the name with underscores, because blanks separate the fields of a line."""
        return _spelled(class_name)

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``training/*`` and ``ImageSets/<batch>.txt``."""
        for name in ('velodyne', 'calib', 'label_2'):
            (folder / 'training' / name).mkdir(parents=True)
        nominal = 0
        for frame in frames:
            matrices = kitti_matrices(frame)
            nominal += not frame.cameras
            target = folder / 'training'
            points = target / 'velodyne' / f'{frame.frame_id}.bin'
            points.write_bytes(frame_points(frame).astype('<f4').tobytes())
            (target / 'calib' / f'{frame.frame_id}.txt').write_text(_calibration_text(matrices))
            (target / 'label_2' / f'{frame.frame_id}.txt').write_text(label_text(frame))
            if frame.cameras and frame.cameras[0].image is not None:
                image = frame.cameras[0].image
                copy(image, target / 'image_2' / f'{frame.frame_id}{image.suffix}')
        (folder / 'ImageSets').mkdir()
        (folder / 'ImageSets' / f'{batch.name}.txt').write_text(''.join(f'{frame.frame_id}\n' for frame in frames))
        if not nominal:
            return []
        return [
            f'{nominal} frames have no camera: their calib describes a made-up one at the LiDAR, for the boxes only'
        ]

    def label_files(self, folder: Path) -> list[Path]:
        """Return ``label_2/*.txt``, or the text files of the folder itself."""
        return label_files(folder, self.title, '**/label_2/*.txt', '*.txt')

    def parse_file(self, path: Path) -> list[LabelFrame]:
        """Read one label file; DontCare regions are no boxes."""
        calib = self._calib_folder(path) / path.name
        if not calib.is_file():
            raise UserError(f'{path}: there is no calibration {calib}; name their folder by the option calib=DIR')
        calibration = read_calibration(calib)
        try:
            text = path.read_text(encoding='utf-8-sig')
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f'{path}: not a text file ({error}); expected KITTI object lines') from None
        objects = parse_objects(text, path)
        lines = np.array([number for number, line in enumerate(text.splitlines(), 1) if line.split()])
        cared = objects.names != DONT_CARE
        objects, lines = objects[cared], lines[cared]
        cuboids = tuple(
            Cuboid(str(name), tuple(box), score=None if np.isnan(score) else score, where=f'{path}, line {line}')
            for name, box, score, line in zip(
                objects.names, _lidar_boxes(objects, calibration), objects.scores.tolist(), lines.tolist()
            )
        )
        return [LabelFrame(path.stem, cuboids, origin=path)]

    def _calib_folder(self, path: Path) -> Path:
        if self.calib:
            return Path(self.calib)
        beside = path.parent.parent / 'calib'
        return self.exported / 'training' / 'calib' if self.exported and not beside.is_dir() else beside


def kitti_matrices(frame: LabelFrame) -> Mapping[str, Array]:
    """Return the matrices of a KITTI calibration file: the frame's own, its first camera's, or nominal ones."""
    if {'P2', 'R0_rect', 'Tr_velo_to_cam'} <= set(frame.calibration):
        return frame.calibration
    if frame.cameras:
        camera = frame.cameras[0]
        return {'P2': camera.projection, 'R0_rect': np.eye(4), 'Tr_velo_to_cam': camera.lidar_to_camera}
    return {'P2': _NOMINAL_PROJECTION, 'R0_rect': np.eye(4), 'Tr_velo_to_cam': NOMINAL_CAMERA}


def label_text(frame: LabelFrame) -> str:
    """Return a frame's boxes as KITTI lines; -1 stands for truncation, occlusion and image boxes that nobody knows."""
    calibration = Calibration(dict(kitti_matrices(frame)))
    size = frame.cameras[0].size if frame.cameras else None
    projection = calibration.matrices['P2'] if size else None
    view = CameraView(calibration.lidar_to_camera, projection, size or (np.inf, np.inf))
    names = np.array([_spelled(cuboid.class_name) for cuboid in frame.cuboids], dtype=np.str_)
    objects = camera_objects(frame.boxes, names, view)
    scores = [np.nan if cuboid.score is None else cuboid.score for cuboid in frame.cuboids]
    objects = replace(objects, scores=np.array(scores, dtype=np.float64))
    if projection is not None and size is not None and len(objects):
        bbox = image_boxes(objects, projection, size)
        objects = replace(objects, bbox=bbox.astype(np.float64))
    return format_objects(objects, decimals=6)


def _spelled(class_name: str) -> str:
    return '_'.join(class_name.split())


def _calibration_text(matrices: Mapping[str, Array]) -> str:
    everything = {**dict.fromkeys(('P0', 'P1', 'P2', 'P3'), matrices['P2']), 'Tr_imu_to_velo': np.eye(4), **matrices}
    lines = []
    for name, rows in _ROWS.items():
        columns = 3 if name == 'R0_rect' else 4
        values = np.ravel(everything[name][:rows, :columns]).tolist()
        lines.append(f'{name}: ' + ' '.join(f'{value:.12e}' for value in values) + '\n')
    return ''.join(lines)


def _lidar_boxes(objects: KittiObjects, calibration: Calibration) -> list[list[float]]:
    return camera_boxes_to_lidar(objects, calibration).tolist()
