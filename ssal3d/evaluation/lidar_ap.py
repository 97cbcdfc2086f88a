"""Average precision without images: by centre distance and by 3D overlap, in bands of distance and of points.

* By centre distance the AP is nuScenes' (Caesar et al., CVPR 2020, arXiv 1903.11027): precision interpolated at 101
  recall positions, what lies at or below 10 % recall or precision cut off, and the mean over 0.5, 1, 2 and 4 m.
* By 3D IoU precision is made monotone and averaged at 40 recall positions, KITTI's R40 without its image rules.
* In a band, labels outside it are neither hit nor missed, nor are detections that found one; a detection that found
  nothing is an error in the band in which it lies itself.
* Intervals come from drawing the frames (or recordings) again with replacement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.columns import Columns
from ssal3d.errors import UserError
from ssal3d.evaluation.lidar_matching import Array, Matches, Rows, match

DISTANCES = (0.5, 1.0, 2.0, 4.0)
RANGES = (0.0, 30.0, 50.0, 80.0)
POINTS = (1.0, 6.0, 21.0, 101.0)
IOU = 0.5
RECALLS = np.linspace(0, 1, 101)
_LEAST = 0.1  # recall and precision below which nuScenes counts nothing
_R40 = np.arange(1, 41) / 40


@dataclass(frozen=True)
class FrameBoxes(Columns):
    """Boxes of F frames, frame after frame.

    Attributes:
        boxes: ``(N, 7)`` gravity-centred, LiDAR frame.
        labels: ``(N,)`` indices into the classes.
        frames: ``(N,)`` number of the frame of each, ascending.
        points: ``(N,)`` LiDAR points in each; -1 where unknown.
        scores: ``(N,)`` confidences; NaN for labels.
    """

    boxes: Array
    labels: Rows
    frames: Rows
    points: Rows
    scores: Array


@dataclass(frozen=True)
class LidarSettings:
    """How detections are evaluated.

    Attributes:
        distances: Centre distances in metres whose AP is averaged.
        iou: 3D IoU by class name; `IOU` for others.
        ranges: Edges of the bands of distance from the LiDAR in metres; what lies beyond the last counts in none.
        points: Lower edges of the bands of points in a label; the last has no end.
        resamples: Draws for the intervals; 0 leaves them out.
        seed: Of the draws.
    """

    distances: tuple[float, ...] = DISTANCES
    iou: Mapping[str, float] | None = None
    ranges: tuple[float, ...] = RANGES
    points: tuple[float, ...] = POINTS
    resamples: int = 1000
    seed: int = 0


def evaluate_lidar(
    truth: FrameBoxes,
    detections: FrameBoxes,
    classes: Sequence[str],
    frames: int,
    settings: LidarSettings | None = None,
    groups: Rows | None = None,
) -> dict[str, Any]:
    """Return AP in percent by class.

    Args:
        truth: Labels.
        detections: Detections of the same frames.
        classes: Class names that the labels index.
        frames: Number F of frames.
        settings: How to evaluate.
        groups: ``(F,)`` what is drawn together for the intervals, e.g. the recording of a frame; by default the frame.

    Returns:
        ``{class: {'centre': AP, 'centre_<distance>': AP, '3d': AP, 'centre_interval': [low, high], '3d_interval': ...,
        'bands': {band: {'centre': AP, '3d': AP, 'objects': n}}, 'objects': n, 'detections': n}, 'mean': {...},
        'frames': F, 'settings': ..., 'warnings': lines}``. AP is None where there is no label.

    Raises:
        UserError: If a size is not positive or a setting is out of range.
    """
    settings = settings or LidarSettings()
    _check(truth, detections, settings)
    groups = np.arange(frames) if groups is None else np.asarray(groups)
    draws = _draws(groups, settings)
    result: dict[str, Any] = {
        name: _evaluate_class(
            truth[truth.labels == label], detections[detections.labels == label], name, settings, draws
        )
        for label, name in enumerate(classes)
    }
    defined = [result[name] for name in classes if result[name]['objects']]
    keys = [key for key in ('centre', *(f'centre_{value:g}' for value in settings.distances), '3d')]
    result['mean'] = {key: _mean([entry[key] for entry in defined]) for key in keys}
    result['frames'] = frames
    result['settings'] = {
        'distances': list(settings.distances),
        'iou': {name: _iou(name, settings) for name in classes},
        'ranges': list(settings.ranges),
        'points': list(settings.points),
        'resamples': settings.resamples,
        'groups': len(np.unique(groups)),
    }
    result['warnings'] = [
        f'{name}: no label, so it has no AP and is left out of the mean'
        for name in classes
        if not result[name]['objects']
    ] + [
        f'{name}: no detection is of this class'
        for name in classes
        if result[name]['objects'] and not result[name]['detections']
    ]
    return result


def centre_ap(hits: NDArray[np.bool_], weights: Array, objects: float) -> float:
    """Return nuScenes' AP in [0, 1] of detections from the most confident on.

    Args:
        hits: ``(D,)`` which found a label.
        weights: ``(D,)`` how often each counts; 1, or how often its frame was drawn.
        objects: Number of labels, weighted likewise.
    """
    true, false = np.cumsum(weights * hits), np.cumsum(weights * ~hits)
    if objects <= 0 or not len(hits) or true[-1] <= 0:
        return 0.0
    found = true + false > 0
    precision = true[found] / (true + false)[found]
    curve = np.interp(RECALLS, true[found] / objects, precision, right=0)
    above = curve[round(100 * _LEAST) + 1 :] - _LEAST
    return float(np.maximum(above, 0).mean() / (1 - _LEAST))


def overlap_ap(hits: NDArray[np.bool_], weights: Array, objects: float) -> float:
    """Return the mean of the greatest precision at 40 recalls, in [0, 1]; arguments as for `centre_ap`."""
    true, false = np.cumsum(weights * hits), np.cumsum(weights * ~hits)
    if objects <= 0 or not len(hits) or true[-1] <= 0:
        return 0.0
    precision = true / np.maximum(true + false, 1e-12)
    greatest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(greatest[np.searchsorted(true / objects, _R40 - 1e-9)].mean())


def _evaluate_class(
    truth: FrameBoxes, found: FrameBoxes, name: str, settings: LidarSettings, draws: Array
) -> dict[str, Any]:
    arrays = (truth.boxes, truth.frames, found.boxes, found.frames, found.scores)
    by_centre = {value: match(*arrays, value, True) for value in settings.distances}
    by_overlap = match(*arrays, _iou(name, settings), False)
    everything = np.ones(len(truth.boxes), np.bool_), np.ones(len(found.boxes), np.bool_)
    result: dict[str, Any] = {'objects': len(truth.boxes), 'detections': len(found.boxes)}
    result |= _values(truth, found, by_centre, by_overlap, *everything)
    result['centre_interval'] = _interval(truth, found, list(by_centre.values()), draws, centre_ap)
    result['3d_interval'] = _interval(truth, found, [by_overlap], draws, overlap_ap)
    result['bands'] = {}
    for band, (of_truth, of_found) in _bands(truth, found, settings).items():
        values = _values(truth, found, by_centre, by_overlap, of_truth, of_found)
        result['bands'][band] = {'objects': int(of_truth.sum()), 'centre': values['centre'], '3d': values['3d']}
    return result


def _values(
    truth: FrameBoxes,
    found: FrameBoxes,
    by_centre: Mapping[float, Matches],
    by_overlap: Matches,
    of_truth: NDArray[np.bool_],
    of_found: NDArray[np.bool_],
) -> dict[str, float | None]:
    """Return the AP of the labels in a band, in percent."""
    objects = int(of_truth.sum())
    keys = ['centre', *(f'centre_{value:g}' for value in by_centre), '3d']
    if not objects:
        return dict.fromkeys(keys)

    def ap(matches: Matches, measure: Any) -> float:
        hits, counted = _counted(matches, of_truth, of_found)
        return 100 * measure(hits[counted], np.ones(int(counted.sum())), objects)

    single = {f'centre_{value:g}': ap(matches, centre_ap) for value, matches in by_centre.items()}
    return {'centre': float(np.mean(list(single.values()))), **single, '3d': ap(by_overlap, overlap_ap)}


def _counted(
    matches: Matches, of_truth: NDArray[np.bool_], of_found: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which detections, in order, are hits, and which count at all."""
    hits = matches.partner >= 0
    inside = of_found[matches.order].copy()
    inside[hits] = of_truth[matches.partner[hits]]
    return hits, inside


def _bands(
    truth: FrameBoxes, found: FrameBoxes, settings: LidarSettings
) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Return the labels and the detections in each band."""
    near, near_found = (np.hypot(boxes[:, 0], boxes[:, 1]) for boxes in (truth.boxes, found.boxes))
    bands = {
        f'{low:g}-{high:g} m': ((near >= low) & (near < high), (near_found >= low) & (near_found < high))
        for low, high in pairwise(settings.ranges)
    }
    if (truth.points < 0).any() or (found.points < 0).any():
        return bands
    for low, high in pairwise((*settings.points, np.inf)):
        name = f'{low:g}-{high - 1:g} points' if np.isfinite(high) else f'{low:g} points or more'
        inside = [(points >= low) & (points < high) for points in (truth.points, found.points)]
        bands[name] = inside[0], inside[1]
    return bands


def _draws(groups: Rows, settings: LidarSettings) -> Array:
    """Return ``(R, F)`` how often each frame is drawn."""
    names, member = np.unique(groups, return_inverse=True)
    random = np.random.default_rng(settings.seed)
    chosen = random.integers(0, max(len(names), 1), (settings.resamples, len(names)))
    counts = np.stack([np.bincount(row, minlength=len(names)) for row in chosen]) if len(chosen) else np.zeros((0, 0))
    return counts[:, member].astype(np.float64) if len(chosen) else np.zeros((0, len(groups)))


def _interval(
    truth: FrameBoxes, found: FrameBoxes, matched: Sequence[Matches], draws: Array, measure: Any
) -> list[float] | None:
    """Return the central 95 % of the AP over draws of the frames."""
    if not len(draws) or not len(truth.boxes):
        return None
    values = []
    for weights in draws:
        objects = float(weights[truth.frames].sum())
        if objects:
            each = [measure(m.partner >= 0, weights[found.frames[m.order]], objects) for m in matched]
            values.append(100 * float(np.mean(each)))
    return [float(value) for value in np.percentile(values, (2.5, 97.5))] if values else None


def _check(truth: FrameBoxes, detections: FrameBoxes, settings: LidarSettings) -> None:
    for boxes, kind in ((truth, 'labels'), (detections, 'detections')):
        flat = np.flatnonzero((boxes.boxes[:, 3:6] <= 0).any(axis=1))
        if len(flat):
            size = ' x '.join(f'{value:g}' for value in boxes.boxes[flat[0], 3:6])
            raise UserError(f'{kind}, frame {boxes.frames[flat[0]]}: found the size {size} m, expected more than 0')
    for name, edges in (('ranges', settings.ranges), ('points', settings.points)):
        if len(edges) < 2 or any(low >= high for low, high in pairwise(edges)):
            raise UserError(f'{name}: found {edges}, expected at least two rising numbers')
    if not settings.distances or min(settings.distances) <= 0:
        raise UserError(f'distances: found {settings.distances}, expected metres above 0')


def _iou(name: str, settings: LidarSettings) -> float:
    return (settings.iou or {}).get(name, IOU)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
