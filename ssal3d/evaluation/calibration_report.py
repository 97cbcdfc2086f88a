"""Calibration of detectors by class: D-ECE, reliability diagrams, confidence ranges of S-SSAL's Fig. 7."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.columns import Columns
from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import AnnotatedBoxes
from ssal3d.evaluation.calibration import FIG7_EDGES, d_ece, detections_that_count, reliability, scaled
from ssal3d.evaluation.right_detections import MATCHINGS, FrameDetections, class_thresholds, right_in_frames

MEAN = 'mean'
MEASURES = ('d_ece', 'd_ece_position', 'd_ece_position_size')
FEW = 100  # detections of a class; with fewer, D-ECE says little
SUMMARY_HEADER = (
    *('class', 'detections', 'D-ECE', 'with position', 'and size'),
    *(f'{low:g}-{high:g}' for low, high in itertools.pairwise(FIG7_EDGES)),
)


@dataclass(frozen=True)
class CalibrationSettings:
    """How calibration is measured. The S-SSAL paper states none of it; these are the choices of D-ECE's authors.

    Attributes:
        iou: Changes to the 3D IoU from which on a detection is right, by class name.
        min_score: Detections below are left out.
        matching: See `right_detections`.
        bins: Bins of the confidence for D-ECE and reliability diagrams.
        position_bins: Bins of each of confidence and BEV centre for D-ECE with position.
        size_bins: Bins of each of confidence, BEV centre, length and width for D-ECE with position and size.
        min_samples: Bins with fewer detections add nothing to D-ECE.
        region: x0, y0, x1, y1 in metres that positions are scaled to; None takes what the detections cover.
    """

    iou: Mapping[str, float] | None = None
    min_score: float = 0.1
    matching: str = MATCHINGS[0]
    bins: int = 20
    position_bins: int = 8
    size_bins: int = 5
    min_samples: int = 8
    region: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        for name in ('bins', 'position_bins', 'size_bins', 'min_samples'):
            if getattr(self, name) < 1:
                raise UserError(f'{name}: found {getattr(self, name)}, expected 1 or more')
        if not 0 <= self.min_score < 1:
            raise UserError(f'min_score: found {self.min_score}, expected a number in [0, 1)')
        if self.region is not None and not (self.region[0] < self.region[2] and self.region[1] < self.region[3]):
            raise UserError(f'region: found {self.region}, expected x0 y0 x1 y1 with x0 < x1 and y0 < y1')


def evaluate_calibration(
    methods: Mapping[str, FrameDetections], truth: AnnotatedBoxes, settings: CalibrationSettings | None = None
) -> dict[str, Any]:
    """Measure the calibration of one or more models on the same frames.

    Args:
        methods: Predictions by name, e.g. of the pre-training method.
        truth: Annotated boxes of these frames, in the order of the predictions; labels index the predictions' classes.
        settings: How to measure.

    Returns:
        ``{'methods': {name: {class: {'d_ece': ..., 'd_ece_position': ..., 'd_ece_position_size': ..., 'count': ...,
        'right': ..., 'bins': reliability diagram, 'fig7': {'0.0-0.3': {'count': ..., 'precision': ...}, ...}}, 'mean':
        {...}}}, 'settings': {...}, 'warnings': [...]}``. ``mean`` averages the classes that have detections, once as
        they are and once (``..._weighted``) by their detections. What is undefined is None.

    Raises:
        UserError: If the methods have other frames or classes than each other.
    """
    settings = settings or CalibrationSettings()
    first = next(iter(methods.values()))
    _check_alike(methods)
    thresholds = class_thresholds(first.classes, settings.iou)
    by_method = {name: _Detections.of(pool, truth, thresholds, settings) for name, pool in methods.items()}
    region = settings.region or _covered(by_method.values())
    sizes = {name: _largest(by_method.values(), label) for label, name in enumerate(first.classes)}
    result = {
        name: _measure(detections, first.classes, region, sizes, settings) for name, detections in by_method.items()
    }
    annotated = np.bincount(truth.labels[truth.labels >= 0], minlength=len(first.classes))
    return {
        'methods': result,
        'settings': {
            **asdict(settings),
            **{'iou': thresholds, 'region': list(region), 'sizes': sizes, 'frames': len(first.frame_ids)},
            'ground_truths': dict(zip(first.classes, annotated.tolist(), strict=True)),
            'left_out_without_points': truth.empty,
        },
        'warnings': _warnings(result, truth),
    }


def summary(by_class: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a table with the columns `SUMMARY_HEADER` from one method's result."""
    rows = []
    for name, figures in by_class.items():
        errors = ('' if figures[key] is None else f'{figures[key]:.3f}' for key in MEASURES)
        rows.append((name, figures.get('count', ''), *errors, *map(_cell, figures.get('fig7', {}).values())))
    return [(*row, *[''] * (len(SUMMARY_HEADER) - len(row))) for row in rows]


@dataclass(frozen=True)
class _Detections(Columns):
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        pool: FrameDetections,
        truth: AnnotatedBoxes,
        thresholds: Mapping[str, float],
        settings: CalibrationSettings,
    ) -> '_Detections':
        """Return the confident enough detections of a pool, and which of them are right."""
        confident = pool.scores >= np.float32(settings.min_score)
        right = right_in_frames(pool, truth, thresholds, settings.matching, confident)
        labels, scores = pool.labels[confident].astype(np.int64), pool.scores[confident].astype(np.float64)
        return cls(pool.boxes[confident], labels, scores, right)


def _check_alike(methods: Mapping[str, FrameDetections]) -> None:
    (first_name, first), *others = methods.items()
    for name, pool in others:
        if pool.classes != first.classes:
            raise UserError(
                f'{pool.source}: found the classes {pool.classes}, expected {first.classes} as in {first_name}'
            )
        if not np.array_equal(pool.frame_ids, first.frame_ids):
            different = np.setxor1d(pool.frame_ids, first.frame_ids)
            raise UserError(
                f"{name} and {first_name} do not predict the same frames: {len(different)} differ, e.g. '{different[0]}'; "
                'compare predictions of one pool'
            )


def _covered(found: Iterable[_Detections]) -> tuple[float, float, float, float]:
    centres = np.concatenate([np.zeros((1, 2)), *(detections.boxes[:, :2] for detections in found)])
    low, high = centres.min(axis=0), centres.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _largest(found: Iterable[_Detections], label: int) -> list[float]:
    """Return the greatest length and width that any method predicts for a class."""
    parts = [detections.boxes[detections.labels == label, 3:5] for detections in found]
    return np.concatenate([np.zeros((1, 2)), *parts]).max(axis=0).tolist()


def _measure(
    found: _Detections,
    classes: Sequence[str],
    region: tuple[float, float, float, float],
    sizes: Mapping[str, Sequence[float]],
    settings: CalibrationSettings,
) -> dict[str, Any]:
    by_class = {}
    for label, name in enumerate(classes):
        ours = found[found.labels == label]
        position = scaled(ours.boxes[:, :2], np.array(region[:2]), np.array(region[2:]))
        size = scaled(ours.boxes[:, 3:5], 0.0, np.array(sizes[name]))
        features = np.column_stack((ours.scores, position, size))
        binnings = ((1, settings.bins), (3, settings.position_bins), (5, settings.size_bins))
        errors = [
            d_ece(ours.right, features[:, :width], bins, settings.min_samples)
            if detections_that_count(features[:, :width], bins, settings.min_samples)
            else None
            for width, bins in binnings
        ]
        by_class[name] = {
            **dict(zip(MEASURES, errors, strict=True)),
            'count': len(ours),
            'right': int(ours.right.sum()),
            'bins': reliability(ours.scores, ours.right, np.linspace(0, 1, settings.bins + 1).tolist()),
            'fig7': {
                f'{bin_["low"]:.1f}-{bin_["high"]:.1f}': {key: bin_[key] for key in ('count', 'precision')}
                for bin_ in reliability(ours.scores, ours.right, FIG7_EDGES)
            },
        }
    return {**by_class, MEAN: _mean(list(by_class.values()))}


def _mean(by_class: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    result: dict[str, float | None] = {}
    for key in MEASURES:
        measured = [(figures[key], figures['count']) for figures in by_class if figures[key] is not None]
        values, counts = zip(*measured) if measured else ((), ())
        result[key] = float(np.mean(values)) if values else None
        result[f'{key}_weighted'] = float(np.average(values, weights=counts)) if values else None
    return result


def _warnings(result: Mapping[str, Any], truth: AnnotatedBoxes) -> list[str]:
    lines = [
        f'{method}: {name} has {figures["count"]} detections; its D-ECE says little'
        for method, by_class in result.items()
        for name, figures in by_class.items()
        if name != MEAN and figures['count'] < FEW
    ]
    if truth.dontcare:
        lines.append(
            f'the labels hold {truth.dontcare} DontCare regions; detections of objects there count as wrong, so scores look '
            'more overconfident than they are'
        )
    if truth.empty is None:
        lines.append('the labels do not tell LiDAR points; objects that nobody can see are not left out')
    return lines


def _cell(figures: Mapping[str, Any]) -> str:
    precision = figures['precision']
    return f'{figures["count"]}' if precision is None else f'{figures["count"]} ({precision:.2f})'
