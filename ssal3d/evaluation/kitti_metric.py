"""KITTI's AP as a metric for MMDetection3D configs; a thin shell around `kitti_results` and `kitti_ap`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray

from ssal3d.data.boxes import gravity_centred
from ssal3d.data.kitti_objects import KittiObjects, check_boxes, concatenate, format_objects
from ssal3d.errors import unknown_name
from ssal3d.evaluation.annotated_frames import AnnotatedFrames
from ssal3d.evaluation.kitti_ap import SUMMARY_HEADER, Thresholds, evaluate_kitti, iou_thresholds_by_metric, summary
from ssal3d.evaluation.kitti_checks import MOST_WITHOUT_IMAGE
from ssal3d.evaluation.kitti_results import CameraView, annotated_objects, camera_view, detected_objects
from ssal3d.fileio import SCHEMA, atomic_path, write_json


@METRICS.register_module()
class KittiAPMetric(BaseMetric):
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
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.frames = AnnotatedFrames(ann_file)
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
        known = list(meta['classes'])
        for name in self.classes or ():
            if name not in known:
                raise unknown_name('class', name, known)
        iou_thresholds_by_metric(self.classes or known, self.iou_thresholds)
        self._dataset_meta = meta

    def check_frames(self, frames: Sequence[str] | None) -> None:
        """Look at what will be evaluated, before anything is trained.

        Args:
            frames: Ids of the frames; None for all of the annotation file.

        Raises:
            UserError: If a frame is missing or unlabelled, or a label cannot be right.
        """
        chosen = self.frames.check(frames)
        truth = {name: self._truth(name, camera=True)[1] for name in chosen}
        for warning in self._look_at(truth)[1]:
            print_log(warning, logger='current', level=logging.WARNING)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what evaluation needs of every frame's prediction: small arrays that can travel between processes."""
        del data_batch
        for sample in data_samples:
            predicted = sample['pred_instances_3d']
            self.results.append(
                {
                    'frame': Path(sample['lidar_path']).stem if 'lidar_path' in sample else sample['sample_idx'],
                    'boxes': gravity_centred(predicted['bboxes_3d']),
                    'scores': predicted['scores_3d'].detach().cpu().numpy(),
                    'labels': predicted['labels_3d'].detach().cpu().numpy(),
                }
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Return the AP of all frames in ``results`` by key.

        Raises:
            UserError: If a frame is not in the annotation file or not labelled, or a class has no IoU threshold.
        """
        assert self.dataset_meta is not None
        classes = list(self.dataset_meta['classes'])
        predicted = {result['frame']: result for result in results}  # a padded last batch repeats frames
        truth, detections = self._objects(predicted, np.array(classes, dtype=np.str_))
        metrics = evaluate_kitti(
            concatenate(list(truth.values())),
            concatenate(list(detections.values())),
            self.classes or classes,
            self.iou_thresholds,
            small_sets=self.small_sets,
        )
        print_log(as_text(metrics), logger='current')
        for warning in metrics['warnings']:
            print_log(warning, logger='current', level=logging.WARNING)
        if self.result_dir:
            write_results(self.result_dir, detections, metrics)
        return flat_scalars(metrics)

    def _objects(
        self, predicted: dict[str | int, dict], classes: NDArray[np.str_]
    ) -> tuple[dict[str, KittiObjects], dict[str, KittiObjects]]:
        """Return ground truth and detections by frame id."""
        if len(predicted) < len(self.frames.ids):
            print_log(
                f'evaluating {len(predicted)} of the {len(self.frames.ids)} frames in {self.frames.ann_file}',
                logger='current',
            )
        results = {self.frames.find(frame)[0]: result for frame, result in predicted.items()}
        camera = self._look_at({name: self._truth(name, camera=True)[1] for name in results})[0]
        truth, detections = {}, {}
        for name, result in results.items():
            view, truth[name] = self._truth(name, camera)
            good = _finite_boxes(name, result)
            detections[name] = detected_objects(
                result['boxes'][good], result['scores'][good], classes[result['labels'][good]], view
            )
        return truth, detections

    def _truth(self, frame: str, camera: bool) -> tuple[CameraView | None, KittiObjects]:
        """Return a frame's view and labels.

        Args:
            frame: Its id.
            camera: Whether the image counts.
        """
        _, info = self.frames.find(frame)
        view = camera_view(info, self.camera)
        if view is not None and not camera:
            view = replace(view, projection=None)
        return view, annotated_objects(info, self.frames.names, view)

    def _look_at(self, truth: Mapping[str, KittiObjects]) -> tuple[bool, list[str]]:
        """Return whether the labels have image boxes, and what is to be said about the labels."""
        assert self.dataset_meta is not None
        frames = concatenate(list(truth.values()))
        check_boxes(frames, [f'{self.frames.ann_file}, frame {name}' for name in truth])
        wanted = np.isin(np.char.lower(frames.objects.names), [name.lower() for name in self._evaluated()])
        objects = frames.objects[wanted]
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


def _finite_boxes(frame: str, result: Mapping[str, NDArray]) -> NDArray[np.bool_]:
    good = np.isfinite(result['boxes']).all(axis=1) & np.isfinite(result['scores'])
    if not good.all():
        print_log(
            f'frame {frame}: {(~good).sum()} of {len(good)} predicted boxes are not finite and left out; the training '
            'may have diverged',
            logger='current',
            level=logging.WARNING,
        )
    return good
