"""AP without images as a metric for MMDetection3D configs; a thin shell around `lidar_ap`."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.registry import METRICS
from numpy.typing import NDArray

from ssal3d.class_names import unknown_class
from ssal3d.data.scans import read_scan
from ssal3d.errors import UserError
from ssal3d.evaluation.frame_metric import FrameMetric, Result
from ssal3d.evaluation.lidar_ap import DISTANCES, POINTS, RANGES, FrameBoxes, LidarSettings, evaluate_lidar
from ssal3d.fileio import SCHEMA, write_json
from ssal3d.log import tell
from ssal3d.ops.boxes import points_per_box


@METRICS.register_module()
class LidarAPMetric(FrameMetric):
    """AP in percent as ``lidar/<class>_centre`` and ``lidar/<class>_3d``, and by distance and points of the labels.

    Labels are gravity-centred LiDAR boxes, as `ssal3d create-data folder` writes them.

    Args:
        ann_file: The data set's annotation file (infos, format v2).
        iou: 3D IoU by class name; 0.5 for others.
        distances: Centre distances in metres whose AP is averaged.
        ranges: Edges of the bands of distance in metres.
        points: Lower edges of the bands of LiDAR points.
        resamples: Draws of the frames for the intervals; 0 leaves them out.
        by_recording: Draw whole recordings (``sequence`` of the annotation file) instead of frames, if there are ten.
        result_file: If given, all numbers are written here as JSON.
        collect_device: ``'cpu'`` or ``'gpu'``, how the results of all processes are collected.
        prefix: Takes the place of ``lidar`` in the keys.
    """

    default_prefix = 'lidar'

    def __init__(
        self,
        ann_file: str,
        iou: Mapping[str, float] | None = None,
        distances: Sequence[float] = DISTANCES,
        ranges: Sequence[float] = RANGES,
        points: Sequence[float] = POINTS,
        resamples: int = 1000,
        by_recording: bool = True,
        result_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(ann_file, collect_device=collect_device, prefix=prefix)
        self.settings = LidarSettings(tuple(distances), dict(iou or {}), tuple(ranges), tuple(points), resamples)
        self.by_recording = by_recording
        self.result_file = result_file

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of every frame, with the LiDAR points in each box."""
        start = len(self.results)
        super().process(data_batch, data_samples)
        for result, sample in zip(self.results[start:], data_samples, strict=True):
            result['points'] = _points_in(result['boxes'], sample)

    def check_labels(self, frames: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        """Check labels and return lines of warning.

        Args:
            frames: Ids and entries of the frames that will be evaluated.

        Raises:
            UserError: If a class of the config is unknown or a size is not positive.
        """
        classes = self._classes()
        truth = self._truth([(name, info) for name, info in frames], classes)
        flat = np.flatnonzero((truth.boxes[:, 3:6] <= 0).any(axis=1))
        if len(flat):
            raise UserError(
                f'{self.frames.ann_file}, frame {frames[truth.frames[flat[0]]][0]}: a label has a size that is not '
                'positive; correct it'
            )
        return [
            f'{self.frames.ann_file}: no object of class {name} in {len(frames)} frames, so it has no AP'
            for label, name in enumerate(classes)
            if not (truth.labels == label).any()
        ]

    def compute_metrics(self, results: list[Result]) -> dict[str, float]:
        """Return the AP of all frames in ``results`` by key.

        Raises:
            UserError: If a frame is not in the annotation file or not labelled.
        """
        classes = self._classes()
        points = {result['frame']: result.get('points') for result in results}
        _, frames = self.annotated_frames(results)
        found = [
            (np.full(len(result['boxes']), number), result, points.get(name))
            for number, (name, _, result) in enumerate(frames)
        ]
        detections = FrameBoxes(
            _joined([result['boxes'] for _, result, _ in found], 7),
            _joined([result['labels'] for _, result, _ in found]).astype(np.int64),
            _joined([number for number, _, _ in found]).astype(np.int64),
            _joined([_known(count, len(result['boxes'])) for _, result, count in found]).astype(np.int64),
            _joined([result['scores'] for _, result, _ in found]),
        )
        truth = self._truth([(name, info) for name, info, _ in frames], classes)
        recordings = [info.get('sequence', name) for name, info, _ in frames]
        groups = np.unique(recordings, return_inverse=True)[1] if self._draws_recordings(recordings) else None
        metrics = evaluate_lidar(truth, detections, classes, len(frames), self.settings, groups)
        tell(as_text(metrics, classes), terminal=False)
        for warning in metrics['warnings']:
            tell(warning, logging.WARNING)
        if self.result_file:
            write_json(self.result_file, {'schema': SCHEMA, **metrics})
        return flat_scalars(metrics, classes)

    def _classes(self) -> list[str]:
        assert self.dataset_meta is not None
        return list(self.dataset_meta['classes'])

    def _draws_recordings(self, recordings: Sequence[str]) -> bool:
        return self.by_recording and len(set(recordings)) >= 10

    def _truth(self, frames: Sequence[tuple[str, dict[str, Any]]], classes: Sequence[str]) -> FrameBoxes:
        categories = self.frames.metainfo.get('categories', {})
        for name in classes:
            if name not in categories:
                raise UserError(f'{self.frames.ann_file}: {unknown_class(name, categories)}')
        index = {categories[name]: label for label, name in enumerate(classes)}
        rows = [
            (number, entry)
            for number, (_, info) in enumerate(frames)
            for entry in info['instances']
            if entry['bbox_label_3d'] in index
        ]
        return FrameBoxes(
            np.array([entry['bbox_3d'][:7] for _, entry in rows], dtype=np.float64).reshape(-1, 7),
            np.array([index[entry['bbox_label_3d']] for _, entry in rows], dtype=np.int64),
            np.array([number for number, _ in rows], dtype=np.int64),
            np.array([entry.get('num_lidar_pts', -1) for _, entry in rows], dtype=np.int64),
            np.full(len(rows), np.nan),
        )


def flat_scalars(metrics: Mapping[str, Any], classes: Sequence[str]) -> dict[str, float]:
    """Return ``{'car_centre': AP, 'car_3d': AP, 'car_centre_0-30m': AP, ...}`` without undefined values."""
    flat = {}
    for name in (*classes, 'mean'):
        entry = metrics[name]
        for key, value in entry.items():
            if isinstance(value, float):
                flat[f'{name}_{key}'] = value
        for band, values in entry.get('bands', {}).items():
            for key in ('centre', '3d'):
                if values[key] is not None:
                    flat[f'{name}_{key}_{band.replace(" ", "")}'] = values[key]
    return flat


def as_text(metrics: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return a table for log files."""
    bands = list(next(iter(metrics[name]['bands'] for name in classes), {}))
    header = ('centre', '3d', *bands)
    lines = [
        f'AP in percent, {metrics["frames"]} frames; centre: mean over {metrics["settings"]["distances"]} m; bands: centre',
        ' ' * 20 + ''.join(f'{key:>20}' for key in header),
    ]
    for name in (*classes, 'mean'):
        entry = metrics[name]
        values = [_with_interval(entry, key) for key in ('centre', '3d')]
        values += [_number(entry['bands'][band]['centre']) for band in bands] if 'bands' in entry else []
        lines.append(f'{name:20}' + ''.join(f'{value:>20}' for value in values))
    return '\n'.join(lines)


def _with_interval(entry: Mapping[str, Any], key: str) -> str:
    interval = entry.get(f'{key}_interval')
    if entry[key] is None or interval is None:
        return _number(entry[key])
    return f'{entry[key]:.1f} [{interval[0]:.1f}, {interval[1]:.1f}]'


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f}'


def _points_in(boxes: NDArray, sample: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """Count the LiDAR points in predicted boxes; None for samples that do not tell their scan."""
    path = sample.get('lidar_path')
    if path is None or not Path(path).exists():
        return None
    return points_per_box(read_scan(path, sample.get('num_pts_feats', 4)), boxes).astype(np.int64)


def _known(points: NDArray | None, count: int) -> NDArray[np.int64]:
    return np.full(count, -1) if points is None or len(points) != count else points


def _joined(arrays: Sequence[NDArray], width: int | None = None) -> NDArray:
    joined = np.concatenate(arrays).astype(np.float64) if arrays else np.zeros(0)
    return joined.reshape(-1, width) if width else joined
