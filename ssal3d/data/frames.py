"""Fill an MMDetection3D data set with chosen frames, from infos that were read without trusting the file."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.datasets import Det3DDataset, KittiDataset, WaymoDataset

from ssal3d.data.boxes import to_lidar_boxes
from ssal3d.data.infos import frame_ids, read_infos
from ssal3d.data.kitti_format import require_kitti
from ssal3d.data.scans import check_scan_size
from ssal3d.errors import UserError, unknown_name


def read_dataset_infos(dataset: Det3DDataset) -> dict[str, Any]:
    """Read the annotation file of a data set, thinned out by its ``load_interval`` and ``indices``.

    Raises:
        UserError: If the file is missing (the message says how to make it), damaged or lists a frame twice.
    """
    path = Path(dataset.ann_file)
    if isinstance(dataset, KittiDataset) and not isinstance(dataset, WaymoDataset) and dataset.data_root:
        require_kitti(dataset.data_root, os.path.relpath(path, dataset.data_root))
    infos = read_infos(path)
    frames = infos['data_list'][:: getattr(dataset, 'load_interval', 1)]
    indices = dataset._indices
    if isinstance(indices, int):
        frames = frames[:indices] if indices >= 0 else frames[indices:]
    elif indices is not None:
        frames = [frames[index] for index in indices]
    infos = {'metainfo': infos['metainfo'], 'data_list': frames}
    frame_ids(infos, path)
    return infos


def fill(dataset: Det3DDataset, infos: dict[str, Any]) -> None:
    """Initialise a data set that was built with ``lazy_init`` from infos instead of its annotation file.

    Args:
        dataset: Its own parser turns each frame into a sample.
        infos: What `read_dataset_infos` returns, or a part of it.

    Raises:
        UserError: If a frame's scan is missing, cut or replaced.
    """
    parsed = parse(dataset, infos)
    check_scans(parsed, dataset.backend_args)
    dataset._indices = None  # already applied
    if not parsed:
        dataset.serialize_data = False  # mmengine cannot serialise an empty list
    dataset.load_data_list = lambda: parsed
    try:
        dataset.full_init()
    finally:
        del dataset.load_data_list


def parse(dataset: Det3DDataset, infos: dict[str, Any]) -> list[dict[str, Any]]:
    """Turn infos into the data set's samples, as its ``load_data_list`` does after unpickling."""
    for key, value in infos['metainfo'].items():
        dataset._metainfo.setdefault(key, value)
    return [dataset.parse_data_info(info) for info in infos['data_list']]


def lidar_annotations(dataset: Det3DDataset, info: dict[str, Any]) -> dict[str, Any]:
    """Parse the annotations of a frame without camera, whose ``bbox_3d`` are gravity-centred LiDAR boxes.

    Args:
        dataset: Knows the classes.
        info: A labelled frame.

    Returns:
        Columns by name, ``gt_bboxes_3d`` among them as MMDetection3D's LiDAR boxes; objects of other classes are left
        out.
    """
    columns = Det3DDataset.parse_ann_info(dataset, info)
    if columns is None:
        return {'gt_bboxes_3d': to_lidar_boxes(np.zeros((0, 7))), 'gt_labels_3d': np.zeros(0, dtype=np.int64)}
    known = dataset._remove_dontcare(columns)
    return known | {'gt_bboxes_3d': to_lidar_boxes(known['gt_bboxes_3d'])}


def check_scans(samples: Iterable[dict[str, Any]], backend_args: dict | None = None) -> None:
    """Check that all scans are there, whole, and of the size recorded at conversion, before the first is needed.

    Addresses that are no local paths are not checked: listing a remote store can take longer than training.

    Raises:
        UserError: Names the first bad scan.
    """
    for sample in samples:
        lidar = sample['lidar_points']
        path = lidar['lidar_path']
        if backend_args is not None or '://' in path:
            return
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            raise UserError(
                f'{path}: no such file; check data_root and data_prefix, or run `ssal3d create-data` again'
            ) from None
        if path.endswith('.bin'):
            check_scan_size(path, size, lidar.get('num_pts_feats', 4), lidar.get('num_points'))


def check_classes(metainfo: dict[str, Any] | None, known: Iterable[str]) -> None:
    """Check the class names of a config against a data set's.

    Raises:
        UserError: Names the misspelt class and the nearest known one.
    """
    names, classes = list(known), (metainfo or {}).get('classes', ())
    for name in () if isinstance(classes, str) else classes:  # a string is the path of a list
        if name not in names:
            raise unknown_name('class', name, names)
