"""The annotated boxes of many frames, from an annotation file or a folder of KITTI labels, in the LiDAR frame."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.class_names import ALIASES
from ssal3d.data.infos import check_instances, frame_id, read_infos
from ssal3d.data.kitti_format import DONT_CARE, camera_boxes_to_lidar, info_boxes_to_lidar, read_calibration
from ssal3d.data.kitti_objects import read_objects
from ssal3d.errors import UserError

# Of one frame: boxes, class names, LiDAR points in each (-1 where nobody knows).
_Frame = tuple[NDArray[np.floating], NDArray[np.str_], NDArray[np.int64]]
_NOTHING: _Frame = (np.empty((0, 7)), np.empty(0, np.str_), np.empty(0, np.int64))
_WAYMO_CATEGORIES = {'Car': 0, 'Pedestrian': 1, 'Cyclist': 2}  # MMDetection3D's Waymo infos do not say theirs


@dataclass(frozen=True)
class AnnotatedBoxes:
    """G annotated boxes of F frames.

    Attributes:
        boxes: ``(G, 7)`` gravity-centred boxes in the LiDAR frame, frame by frame.
        labels: ``(G,)`` index into the classes that were asked for, -1 for other classes.
        offsets: ``(F + 1,)`` first box of every frame.
        empty: Boxes left out because they hold no LiDAR point; None if the labels do not tell.
        dontcare: DontCare regions of these frames, which have no box.
    """

    boxes: NDArray[np.floating]
    labels: NDArray[np.int64]
    offsets: NDArray[np.int64]
    empty: int | None
    dontcare: int


def read_annotated_boxes(source: str | Path, frames: Sequence[str], classes: Sequence[str]) -> AnnotatedBoxes:
    """Read the annotated boxes of some frames; those without a LiDAR point are left out.

    Args:
        source: An annotation file (infos, format v2), or a folder with KITTI's ``<frame id>.txt`` label files beside a
            folder ``calib``.
        frames: Frame ids, in the order of the result.
        classes: Class names that labels index; Car and Vehicle are one class.

    Raises:
        UserError: If a frame is missing or nobody labelled it, or a file is malformed.
    """
    source = Path(source)
    read = _kitti_frame(source) if source.is_dir() else _info_frame(source)
    parts = [read(frame) for frame in frames]
    index = {name: k for k, given in enumerate(classes) for name in (given, ALIASES.get(given, given))}
    boxes, names, points = (
        np.concatenate([empty, *columns]) for empty, columns in zip(_NOTHING, zip(*(parts or [_NOTHING])), strict=True)
    )
    rows = (names != DONT_CARE) & (points != 0)
    ends = np.cumsum([0, *(len(part[0]) for part in parts)])
    return AnnotatedBoxes(
        boxes=boxes[rows],
        labels=np.array([index.get(name, -1) for name in names[rows].tolist()], dtype=np.int64),
        offsets=np.concatenate(([0], np.cumsum(rows)))[ends],
        empty=int((points == 0).sum()) if (points >= 0).any() else None,
        dontcare=int((names == DONT_CARE).sum()),
    )


def info_boxes(info: Mapping[str, Any], metainfo: Mapping[str, Any]) -> NDArray[np.floating]:
    """Return the ``(N, 7)`` gravity-centred LiDAR boxes of a frame's instances.

    Waymo's annotation files hold bottom centres in the LiDAR frame, KITTI's, whose instances have a box in the image,
    bottom centres in the camera frame, those of own scans gravity centres in the LiDAR frame, with a camera or without.

    Args:
        info: An entry of ``data_list``.
        metainfo: Of the annotation file.
    """
    boxes = np.array([row['bbox_3d'][:7] for row in info['instances']], dtype=np.float64).reshape(-1, 7)
    if metainfo.get('dataset') == 'waymo':
        return boxes + np.outer(boxes[:, 5] / 2, np.eye(7)[2])
    camera = info.get('images', {}).get('CAM2', {}).get('lidar2cam')
    if camera is None or not all('bbox' in row for row in info['instances']):
        return boxes
    return info_boxes_to_lidar(boxes, np.asarray(camera, dtype=np.float64))


def _info_frame(path: Path) -> Callable[[str], _Frame]:
    infos = read_infos(path)
    metainfo = infos['metainfo']
    if 'categories' not in metainfo and metainfo.get('dataset') != 'waymo':
        raise UserError(f'{path}: the infos have no metainfo.categories; convert the data with `ssal3d create-data`')
    names = {label: name for name, label in metainfo.get('categories', _WAYMO_CATEGORIES).items()}
    by_frame = {frame_id(info): info for info in infos['data_list']}

    def read(frame: str) -> _Frame:
        info = by_frame.get(frame)
        if info is None or 'instances' not in info:
            what = 'no such frame' if info is None else 'nobody labelled it'
            raise UserError(f'{path}: frame {frame}: {what}, but it is predicted; take another annotation file')
        check_instances(path, [info])
        rows = info['instances']
        points = np.array([row.get('num_lidar_pts', -1) for row in rows], dtype=np.int64)
        given = np.array([names.get(row['bbox_label_3d'], DONT_CARE) for row in rows], dtype=np.str_)
        return info_boxes(info, metainfo), given, points

    return read


def _kitti_frame(folder: Path) -> Callable[[str], _Frame]:
    calibrations = folder.parent / 'calib'
    if not calibrations.is_dir():
        raise UserError(
            f'{calibrations}: no such folder; KITTI labels are in the camera frame and need the calibrations'
        )

    def read(frame: str) -> _Frame:
        objects = read_objects(folder / f'{frame}.txt')
        boxes = np.zeros((len(objects), 7))
        cared = objects.names != DONT_CARE
        if cared.any():
            boxes[cared] = camera_boxes_to_lidar(objects[cared], read_calibration(calibrations / f'{frame}.txt'))
        return boxes, objects.names, np.full(len(objects), -1)

    return read
