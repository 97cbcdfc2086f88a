"""Waymo's average precision with (APH) and without (AP) heading accuracy, on the CPU.

The rules are those of the official metric (Sun et al., Scalability in Perception for Autonomous Driving, CVPR 2020, and
the code published with the data set):

* Objects without a LiDAR point do not count. One is LEVEL_2 if annotators said so or it has at most 5 points, else
  LEVEL_1. The figures of LEVEL_2 are over both levels.
* At each of 101 score cut-offs 0, 0.01, ..., 1, the detections are matched to the ground truth of the same frame and
  type such that the sum of 3D IoU over pairs at the threshold or above is greatest.
* Every matched detection is a true positive, whatever the level of its partner. One without partner is a false positive
  unless it touches a no-label zone. A ground truth without partner is a false negative at its level and harder ones.
* For APH, a true positive counts ``1 - |heading error| / pi`` in the precision; the recall is the same.
* By range, only detections and ground truths whose centres are in the same range from the vehicle are matched.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssal3d.errors import UserError, unknown_name
from ssal3d.evaluation.waymo_matching import FOUND, HEADING, LEVELS, MATCHED, MATCHED_COUNTED, Array, count_matches
from ssal3d.evaluation.waymo_objects import TYPES, WaymoObjects, counted_truth

CLASSES = ('VEHICLE', 'PEDESTRIAN', 'CYCLIST')
IOU_THRESHOLDS = {'VEHICLE': 0.7, 'PEDESTRIAN': 0.5, 'SIGN': 0.5, 'CYCLIST': 0.5}
RANGES = {'0-30m': (0.0, 30.0), '30-50m': (30.0, 50.0), '50m+': (50.0, np.inf)}  # of the box's centre from the vehicle
CUTOFFS = (np.arange(101) * 0.01).astype(np.float32)  # float32 like the scores in the files
MEAN = 'mean'
SUMMARY_HEADER = ('class', 'range', *(f'{measure} L{level}' for measure in ('AP', 'APH') for level in LEVELS))
_WIDEST_GAP = 0.05  # of recall; wider ones are filled before the area is summed up
_TOLERANCE = 1e-6

LevelFigures = dict[str, dict[str, float | None]]


def evaluate_waymo(
    truth: WaymoObjects,
    detections: WaymoObjects,
    classes: Sequence[str] = CLASSES,
    iou_thresholds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return AP and APH in [0, 1] by class, range and level.

    Args:
        truth: Ground truth, all of it: what does not count is left out here.
        detections: Detections; the numbers of their frames mean the same frames.
        classes: Class names to evaluate, of `IOU_THRESHOLDS`.
        iou_thresholds: Changes to `IOU_THRESHOLDS` by class name; numbers in (0, 1].

    Returns:
        ``{class: {'L1': {'AP': ..., 'APH': ...}, 'L2': {...}, 'range': {'0-30m': {'L1': ..., 'L2': ...}, ...}},
        'mean': the same, averaged over the classes other than SIGN that have a value, 'frames': F, 'settings':
        thresholds and numbers of counted ground truths, 'warnings': list of lines}``. Figures of a class without ground
        truth are None. O(D + G + pairs); memory is linear in the boxes.

    Raises:
        UserError: If a class is unknown, a threshold is out of range, or no frame has both detections and ground truth.
    """
    thresholds = _thresholds(classes, iou_thresholds)
    frames = len(np.union1d(truth.frames, detections.frames))
    warnings = _frame_warnings(truth, detections)
    truth = counted_truth(truth)
    result: dict[str, Any] = {}
    counted: dict[str, dict[str, int]] = {}
    for name, threshold in thresholds.items():
        number = TYPES.index(name)
        objects, predicted = truth[truth.types == number], detections[detections.types == number]
        counted[name] = {f'L{level}': int((objects.levels <= level).sum()) for level in LEVELS}
        result[name] = {
            **_by_level(objects, predicted, threshold),
            'range': {
                label: _by_level(_in_range(objects, *limits), _in_range(predicted, *limits), threshold)
                for label, limits in RANGES.items()
            },
        }
        if not counted[name]['L2']:
            warnings.append(f'{name}: no ground truth, so it has no AP and is left out of the mean')
    result[MEAN] = _mean([result[name] for name in thresholds if name != 'SIGN'])
    result['frames'] = frames
    result['settings'] = {'iou_thresholds': thresholds, 'ground_truths': counted}
    result['warnings'] = warnings
    return result


def average_precision(precisions: Array, recalls: Array) -> float:
    """Return the area under a precision-recall curve as Waymo's metric sums it up.

    The best precision of each recall counts, then the best of it and all higher recalls. A gap in recall wider than
    0.05 is filled in steps of 0.05 from its upper end with the precision there; at recall 0 the precision is that of
    the next point. The area is summed by trapezoids.

    Args:
        precisions: ``(C,)`` in [0, 1].
        recalls: ``(C,)`` in [0, 1], in any order.

    >>> average_precision(np.array([1.0]), np.array([0.5]))
    0.5
    """
    levels = np.unique(np.append(recalls, 0.0))[::-1]
    points: list[tuple[float, float]] = []
    best, previous = 0.0, 0.0  # the curve starts at its highest recall: nothing to fill before it
    for recall in levels.tolist():
        while previous - recall > _WIDEST_GAP + _TOLERANCE:
            previous -= _WIDEST_GAP
            points.append((previous, best))
        best = max([best, *precisions[recalls == recall].tolist()])
        points.append((recall, best))
        previous = recall
    if len(points) < 2:
        return 0.0
    points[-1] = (0.0, points[-2][1])
    recall, precision = np.array(points).T
    return float((0.5 * (recall[:-1] - recall[1:]) * (precision[:-1] + precision[1:])).sum())


def summary(result: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a table with the columns `SUMMARY_HEADER` from what `evaluate_waymo` returns."""
    rows = []
    for name in (*result['settings']['iou_thresholds'], MEAN):
        for label, levels in {'': result[name], **result[name]['range']}.items():
            figures = (levels[f'L{level}'][measure] for measure in ('AP', 'APH') for level in LEVELS)
            rows.append((name, label, *('' if value is None else f'{value:.4f}' for value in figures)))
    return rows


def _thresholds(classes: Sequence[str], changes: Mapping[str, float] | None) -> dict[str, float]:
    for name in (*classes, *(changes or {})):
        if name not in IOU_THRESHOLDS:
            raise unknown_name('class', name, list(IOU_THRESHOLDS))
    thresholds = {name: float({**IOU_THRESHOLDS, **(changes or {})}[name]) for name in classes}
    for name, value in thresholds.items():
        if not 0 < value <= 1:
            raise UserError(f'IoU threshold of {name}: found {value}, expected a number above 0 and up to 1')
    return thresholds


def _frame_warnings(truth: WaymoObjects, detections: WaymoObjects) -> list[str]:
    if not len(truth):
        raise UserError('the ground truth holds no object, so nothing can be evaluated; check the file')
    predicted, labelled = np.unique(detections.frames), np.unique(truth.frames)
    alone = np.setdiff1d(predicted, labelled)
    if len(predicted) and len(alone) == len(predicted):
        raise UserError(
            f'none of the {len(predicted)} frames with detections is among the {len(labelled)} frames with ground truth; '
            'segment name and time must be the same in both files'
        )
    if not len(alone):
        return []
    return [
        f'{len(alone)} of {len(predicted)} frames with detections have no ground truth; all detections there are wrong'
    ]


def _in_range(objects: WaymoObjects, nearest: float, farthest: float) -> WaymoObjects:
    distance = np.sqrt((objects.boxes[:, :3] ** 2).sum(axis=1))
    return objects[(distance >= nearest) & (distance < farthest)]


def _by_level(truth: WaymoObjects, detections: WaymoObjects, threshold: float) -> LevelFigures:
    """Return AP and APH by level for objects of one type."""
    matches = _matches(truth, detections, threshold)
    last = np.searchsorted(CUTOFFS, detections.scores[~detections.in_no_label_zone], side='right') - 1
    passing = np.bincount(last, minlength=len(CUTOFFS))[::-1].cumsum()[::-1]
    false_positives = passing - matches[:, MATCHED_COUNTED]
    result: LevelFigures = {}
    for level in LEVELS:
        expected = int((truth.levels <= level).sum())
        missed = expected - matches[:, FOUND : FOUND + level].sum(axis=1)
        if not expected:
            result[f'L{level}'] = {'AP': None, 'APH': None}
            continue
        recall = _ratio(matches[:, MATCHED], matches[:, MATCHED] + missed)
        figures: dict[str, float | None] = {}
        for measure, column in (('AP', MATCHED), ('APH', HEADING)):
            precision = _ratio(matches[:, column], matches[:, MATCHED] + false_positives)
            figures[measure] = average_precision(np.where(recall == 0, 1.0, precision), recall)
        result[f'L{level}'] = figures
    return result


def _matches(truth: WaymoObjects, detections: WaymoObjects, threshold: float) -> Array:
    truth, detections = (objects[np.argsort(objects.frames, kind='stable')] for objects in (truth, detections))
    frames = np.intersect1d(truth.frames, detections.frames)
    truth, detections = truth[np.isin(truth.frames, frames)], detections[np.isin(detections.frames, frames)]
    return count_matches(
        np.append(np.searchsorted(truth.frames, frames), len(truth)),
        np.append(np.searchsorted(detections.frames, frames), len(detections)),
        truth.boxes,
        detections.boxes,
        truth.levels,
        np.searchsorted(CUTOFFS, detections.scores, side='right') - 1,
        ~detections.in_no_label_zone,
        threshold,
        len(CUTOFFS),
    )


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _mean(by_class: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the figures over the classes that have some."""

    def average(parts: Sequence[Mapping[str, Any]]) -> LevelFigures:
        result: LevelFigures = {}
        for level in (f'L{level}' for level in LEVELS):
            result[level] = {}
            for measure in ('AP', 'APH'):
                values = [part[level][measure] for part in parts]
                defined = [value for value in values if value is not None]
                result[level][measure] = sum(defined) / len(defined) if defined else None
        return result

    return {
        **average(by_class),
        'range': {label: average([part['range'][label] for part in by_class]) for label in RANGES},
    }
