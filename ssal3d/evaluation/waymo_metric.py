"""Waymo's AP and APH as a metric for MMDetection3D configs; a thin shell around `waymo_ap`."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet3d.registry import METRICS

from ssal3d.class_names import TYPE_OF_CLASS
from ssal3d.errors import UserError, unknown_name
from ssal3d.evaluation.frame_metric import FrameMetric, Result
from ssal3d.evaluation.waymo_ap import MEAN, SUMMARY_HEADER, evaluate_waymo, summary
from ssal3d.evaluation.waymo_objects import TYPES, FrameKey, WaymoObjects, write_objects
from ssal3d.log import tell
from ssal3d.ops.polygons import touches_polygons

STOCK_CATEGORIES = {'Car': 0, 'Pedestrian': 1, 'Cyclist': 2}  # of annotation files that MMDetection3D's converter wrote


@METRICS.register_module()
class WaymoAPMetric(FrameMetric):
    """AP and APH in [0, 1] as ``waymo/<type>_<level>_<measure>``, e.g. ``waymo/VEHICLE_L1_APH``.

    By range they are ``waymo/VEHICLE_30-50m_L1_AP``, their means over the classes ``waymo/mean_...``. What has no
    counted ground truth has no key. No TensorFlow and no compiled tool is needed.

    Args:
        ann_file: The data set's annotation file. Objects with ``num_lidar_pts`` 0 do not count;
            ``detection_difficulty`` (1 or 2, 0 or missing where no annotator set it) decides the level; detections that
            touch one of the frame's ``no_label_zones`` are no errors.
        classes: Class names of the data set to evaluate; by default all of them.
        iou_thresholds: Changes to the 3D IoU thresholds by class name (default Car 0.7, others 0.5).
        result_file: If given, the detections are also written here, as a file for Waymo's own tools.
        collect_device: ``'cpu'`` or ``'gpu'``, how the results of all processes are collected.
        prefix: Takes the place of ``waymo`` in the keys.
    """

    default_prefix = 'waymo'

    def __init__(
        self,
        ann_file: str,
        classes: Sequence[str] | None = None,
        iou_thresholds: Mapping[str, float] | None = None,
        result_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(ann_file, collect_device=collect_device, prefix=prefix)
        self.types = None if classes is None else [_type_of(name) for name in classes]
        self.iou_thresholds = {_type_of(name): value for name, value in (iou_thresholds or {}).items()}
        self.result_file = result_file

    def compute_metrics(self, results: list[Result]) -> dict[str, float]:
        """Return the AP and APH of all frames in ``results`` by key.

        Raises:
            UserError: If a frame is not in the annotation file or has no labels, or a class is unknown.
        """
        assert self.dataset_meta is not None
        types = [_type_of(name) for name in self.dataset_meta['classes']]
        metainfo, frames = self.annotated_frames(results)
        categories = metainfo.get('categories', STOCK_CATEGORIES)
        numbers = {label: TYPES.index(TYPE_OF_CLASS.get(name, 'UNKNOWN')) for name, label in categories.items()}
        truth = _joined([_annotated(number, name, info, numbers) for number, (name, info, _) in enumerate(frames)])
        detections = _joined(
            [_detected(number, info, result, types) for number, (_, info, result) in enumerate(frames)]
        )
        if self.result_file:
            write_objects(self.result_file, detections, [_key(name, info) for name, info, _ in frames])
        metrics = evaluate_waymo(truth, detections, self.types or list(dict.fromkeys(types)), self.iou_thresholds)
        tell(as_text(metrics), terminal=False)
        for warning in metrics['warnings']:
            tell(warning, logging.WARNING)
        return flat_scalars(metrics)


def flat_scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return ``{'VEHICLE_L1_AP': ..., 'VEHICLE_0-30m_L1_AP': ...}`` of what `evaluate_waymo` returned."""
    return {
        f'{name}_{label}{level}_{measure}': value
        for name in (*metrics['settings']['iou_thresholds'], MEAN)
        for label, levels in {'': metrics[name], **{f'{r}_': v for r, v in metrics[name]['range'].items()}}.items()
        for level in ('L1', 'L2')
        for measure, value in levels[level].items()
        if value is not None
    }


def as_text(metrics: Mapping[str, Any]) -> str:
    """Return a table for log files."""
    lines = [f'Waymo AP and APH, {metrics["frames"]} frames', '{:12}{:8}{:>8}{:>8}{:>8}{:>8}'.format(*SUMMARY_HEADER)]
    lines += ['{:12}{:8}{:>8}{:>8}{:>8}{:>8}'.format(*(value or '-' for value in row)) for row in summary(metrics)]
    return '\n'.join(lines)


def _type_of(name: str) -> str:
    if name not in TYPE_OF_CLASS:
        raise unknown_name('class', name, list(TYPE_OF_CLASS))
    return TYPE_OF_CLASS[name]


def _annotated(number: int, name: str, info: Mapping[str, Any], types: Mapping[int, int]) -> WaymoObjects:
    rows = info['instances']
    for row in rows:
        if row['bbox_label_3d'] not in types:
            raise UserError(
                f'frame {name}: found the label {row["bbox_label_3d"]}, expected one of {sorted(types)}; convert the data '
                'again'
            )
    boxes = np.array([row['bbox_3d'][:7] for row in rows], dtype=np.float64).reshape(-1, 7)
    boxes[:, 2] += boxes[:, 5] / 2  # annotation files of Waymo hold bottom centres
    return WaymoObjects(
        frames=np.full(len(rows), number),
        boxes=boxes,
        types=np.array([types[row['bbox_label_3d']] for row in rows], dtype=np.int32),
        scores=np.ones(len(rows), dtype=np.float32),
        levels=np.array([row.get('detection_difficulty', 0) for row in rows], dtype=np.int32),
        num_points=np.array([row['num_lidar_pts'] for row in rows], dtype=np.int32),
        in_no_label_zone=np.zeros(len(rows), dtype=np.bool_),
    )


def _detected(number: int, info: Mapping[str, Any], result: Result, types: Sequence[str]) -> WaymoObjects:
    count = len(result['boxes'])
    type_numbers = np.array([TYPES.index(name) for name in types], dtype=np.int32)
    return WaymoObjects(
        frames=np.full(count, number),
        boxes=result['boxes'].astype(np.float64),
        types=type_numbers[np.asarray(result['labels'], dtype=np.int64)],
        scores=np.clip(result['scores'], 0, 1).astype(np.float32),
        levels=np.zeros(count, dtype=np.int32),
        num_points=np.zeros(count, dtype=np.int32),
        in_no_label_zone=touches_polygons(result['boxes'], info.get('no_label_zones', ())),
    )


def _joined(parts: Sequence[WaymoObjects]) -> WaymoObjects:
    names = vars(parts[0])
    return WaymoObjects(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _key(name: str, info: Mapping[str, Any]) -> FrameKey:
    if 'context_name' not in info or 'timestamp' not in info:
        raise UserError(
            f'frame {name}: the annotation file has no context_name and timestamp, which result_file needs; convert the '
            'data again'
        )
    return info['context_name'], 0, int(info['timestamp'])
