"""KITTI's AP as a metric for MMDetection3D configs; a thin shell around `kitti_results` and `kitti_ap`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.registry import METRICS
from numpy.typing import NDArray

from ssal3d.data.kitti_objects import KittiObjects, check_boxes, concatenate, format_objects
from ssal3d.errors import unknown_name
from ssal3d.evaluation.frame_metric import FrameMetric
from ssal3d.evaluation.kitti_ap import SUMMARY_HEADER, Thresholds, evaluate_kitti, iou_thresholds_by_metric, summary
from ssal3d.evaluation.kitti_checks import MOST_WITHOUT_IMAGE
from ssal3d.evaluation.kitti_results import CameraView, annotated_objects, camera_view, detected_objects
from ssal3d.fileio import SCHEMA, atomic_path, write_json
from ssal3d.log import tell


@METRICS.register_module()
class KittiAPMetric(FrameMetric):
    """AP in percent as ``kitti/<class>_<metric>_<sampling>_<difficulty>``, e.g. ``kitti/Car_bev_R40_moderate``.

    The mean over the classes is ``kitti/mean_...``. What has no counted ground truth has no key. Boxes outside the
    image are dropped, as KITTI's result files want it. Frames without a camera are evaluated in BEV and 3D; see
    `ssal3d.evaluation.kitti_results`. So are all frames if more than a tenth of the labels have no image box.

    Args:
        ann_file: The data set's annotation file (infos, format v2).
        classes: Class names to evaluate; by default all that the data set has.
        iou_thresholds: Changes to the IoU thresholds by class name; see `evaluate_kitti`.
        small_sets: See `evaluate_kitti`.
        result_dir: If given, KITTI result files are written to its folder ``detections`` and the numbers to its
            ``metrics.json``, anew at every evaluation.
        camera: Camera of the infos that KITTI's image rules refer to.
        collect_device: ``'cpu'`` or ``'gpu'``, how the results of all processes are collected.
        prefix: Takes the place of ``kitti`` in the keys.
    """

    default_prefix = 'kitti'

    def __init__(
        self,
        ann_file: str,
        classes: Sequence[str] | None = None,
        iou_thresholds: Thresholds | None = None,
        small_sets: bool = False,
        result_dir: str | None = None,
        camera: str = 'CAM2',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(ann_file, collect_device=collect_device, prefix=prefix)
        self.classes = classes
        self.iou_thresholds = iou_thresholds
        self.small_sets = small_sets
        self.result_dir = result_dir
        self.camera = camera

    @property
    def dataset_meta(self) -> dict | None:
        """Meta information of the data set; mmengine sets it before training starts."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        class_names = list(meta['classes'])
        for name in self.classes or ():
            if name not in class_names:
                raise unknown_name('class', name, class_names)
        iou_thresholds_by_metric(self.classes or class_names, self.iou_thresholds)
        self._dataset_meta = meta

    def check_labels(self, frames: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        """Check labels and return lines of warning.

        Args:
            frames: Ids and entries of the frames that will be evaluated.

        Raises:
            UserError: If a 3D box cannot be one.
        """
        return self._look_at({name: self._truth(info, camera=True)[1] for name, info in frames})[1]

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Return the AP of all frames in ``results`` by key.

        Raises:
            UserError: If a frame is not in the annotation file or not labelled, or a class has no IoU threshold.
        """
        assert self.dataset_meta is not None
        classes = list(self.dataset_meta['classes'])
        truth, detections = self._objects(results, np.array(classes, dtype=np.str_))
        metrics = evaluate_kitti(
            concatenate(list(truth.values())),
            concatenate(list(detections.values())),
            self.classes or classes,
            self.iou_thresholds,
            small_sets=self.small_sets,
        )
        tell(as_text(metrics), terminal=False)
        for warning in metrics['warnings']:
            tell(warning, logging.WARNING)
        if self.result_dir:
            write_results(self.result_dir, detections, metrics)
        return flat_scalars(metrics)

    def _objects(
        self, results: list[dict], classes: NDArray[np.str_]
    ) -> tuple[dict[str, KittiObjects], dict[str, KittiObjects]]:
        """Return ground truth and detections by frame id."""
        _, frames = self.annotated_frames(results)
        camera = self._look_at({name: self._truth(info, camera=True)[1] for name, info, _ in frames})[0]
        truth, detections = {}, {}
        for name, info, result in frames:
            view, truth[name] = self._truth(info, camera)
            detections[name] = detected_objects(result['boxes'], result['scores'], classes[result['labels']], view)
        return truth, detections

    def _truth(self, info: dict[str, Any], camera: bool) -> tuple[CameraView | None, KittiObjects]:
        """Return a frame's view and labels.

        Args:
            info: Its entry in the annotation file.
            camera: Whether the image counts.
        """
        view = camera_view(info, self.camera)
        if view is not None and not camera:
            view = replace(view, projection=None)
        names = {label: name for name, label in self.frames.metainfo['categories'].items()}
        return view, annotated_objects(info, names, view)

    def _look_at(self, truth: Mapping[str, KittiObjects]) -> tuple[bool, list[str]]:
        """Return whether the labels have image boxes, and what is to be said about the labels."""
        assert self.dataset_meta is not None
        frames = concatenate(list(truth.values()))
        check_boxes(frames, [f'{self.frames.ann_file}, frame {name}' for name in truth])
        evaluated = np.isin(frames.objects.lower_names, [name.lower() for name in self._evaluated()])
        objects = frames.objects[evaluated]
        if not len(objects):
            return True, [
                f'{self.frames.ann_file}: no object of the classes {", ".join(self._evaluated())} in {len(truth)} frames, '
                'so nothing can be measured'
            ]
        missing = ~objects.has_image_box & ~np.isnan(objects.bbox).any(axis=1)
        if missing.mean() <= MOST_WITHOUT_IMAGE:
            return True, []
        return False, [
            f'{self.frames.ann_file}: {missing.sum()} of {len(objects)} labels have no image box, so BEV and 3D are '
            "evaluated without KITTI's image rules: no object is too small or hidden"
        ]

    def _evaluated(self) -> Sequence[str]:
        assert self.dataset_meta is not None
        return self.classes or list(self.dataset_meta['classes'])


def flat_scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return ``{'Car_bev_R40_moderate': AP, ...}`` from what `evaluate_kitti` returns, without undefined values."""
    return {
        f'{name}_{metric}_{sampling}_{difficulty}': value
        for name in (*metrics['settings']['iou_thresholds'], 'mean')
        for metric, by_sampling in metrics[name].items()
        for sampling, by_difficulty in by_sampling.items()
        for difficulty, value in by_difficulty.items()
        if value is not None
    }


def write_results(folder: str | Path, detections: Mapping[str, KittiObjects], metrics: Mapping[str, Any]) -> None:
    """Write ``detections/<frame id>.txt`` of every frame, all or none, and ``metrics.json``."""
    with atomic_path(Path(folder) / 'detections') as temporary:
        temporary.mkdir()
        for frame, objects in detections.items():
            (temporary / f'{frame}.txt').write_text(format_objects(objects))
    write_json(Path(folder) / 'metrics.json', {'schema': SCHEMA, **metrics})


def as_text(metrics: Mapping[str, Any]) -> str:
    """Return a table for log files."""
    lines = [
        f'KITTI AP in percent, {metrics["frames"]} frames',
        ' ' * 24 + ''.join(f'{key:>14}' for key in SUMMARY_HEADER[3:]),
    ]
    for name, metric, threshold, *values in summary(metrics):
        what = f'{name} {metric}' + ('' if threshold is None else f'@{threshold:.2f}')
        lines.append(
            f'{what:24}' + ''.join(f'{"-" if value is None else format(value, ".2f"):>14}' for value in values)
        )
    return '\n'.join(lines)
