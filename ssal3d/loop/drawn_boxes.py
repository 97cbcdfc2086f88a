"""Boxes that people drew, in the annotation file that the stages of an experiment read."""

from collections.abc import Collection, Mapping
from typing import Any

from ssal3d.annotation.formats.kitti import kitti_matrices, label_text
from ssal3d.annotation.model import LabelFrame, boxes_of
from ssal3d.annotation.scans import frame_points
from ssal3d.data.infos import frame_id, without_annotations
from ssal3d.data.kitti_format import Calibration
from ssal3d.data.kitti_infos import instance_infos
from ssal3d.data.kitti_objects import parse_objects
from ssal3d.ops.boxes import points_per_box

Infos = dict[str, Any]


def with_drawn_boxes(
    infos: Infos,
    known: Collection[str],
    drawn: Mapping[str, LabelFrame],
    in_camera: bool,
) -> Infos:
    """Return an annotation file with the boxes that people drew, and without those of frames that nobody bought.

    Args:
        infos: The pool.
        known: Ids of the frames that keep the annotations that they have.
        drawn: Newly labelled frames by id, with their scan, and their calibration if they have one.
        in_camera: Whether the annotations of frames with a camera are KITTI's, in the camera frame.
    """
    categories = infos['metainfo']['categories']

    def labelled(info: Infos) -> Infos:
        name = frame_id(info)
        if name in drawn:
            kitti = in_camera and 'images' in info
            instances = _in_camera(drawn[name]) if kitti else _in_lidar(drawn[name], categories)
            return {**without_annotations(info), 'instances': instances}
        return info if name in known else without_annotations(info)

    return {**infos, 'data_list': [labelled(info) for info in infos['data_list']]}


def _in_lidar(frame: LabelFrame, categories: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return entries with gravity-centred boxes in the LiDAR frame."""
    counts = points_per_box(frame_points(frame), frame.boxes).tolist() if frame.cuboids else []
    return [
        {
            'bbox_3d': box,
            'bbox_label_3d': categories[cuboid.class_name],
            'bbox_label': categories[cuboid.class_name],
            'num_lidar_pts': count,
        }
        for cuboid, box, count in zip(frame.cuboids, boxes_of(frame.cuboids).tolist(), counts)
    ]


def _in_camera(frame: LabelFrame) -> list[dict[str, Any]]:
    """Return entries as the conversion of KITTI label files makes them."""
    objects = parse_objects(label_text(frame), frame.frame_id)
    return instance_infos(objects, Calibration(dict(kitti_matrices(frame))), frame_points(frame))
