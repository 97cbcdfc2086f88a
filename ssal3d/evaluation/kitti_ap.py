"""KITTI's average precision (AP) for boxes in the image, in bird's-eye view (BEV) and in 3D, on the CPU.

The rules are those of the official development kit (Geiger et al., CVPR 2012; 40 recall positions since 2019):

* A ground truth counts at a difficulty if it is tall enough in the image and not too occluded or truncated; harder
  difficulties include easier ones. What does not count may still be detected without harm.
* A Van is neither hit nor miss for Car, nor a Person_sitting for Pedestrian. Class names ignore case.
* Detections lower than the minimum height, of whatever class, are ignored: they are no error, and a ground truth that
  takes one is neither hit nor missed. A ground truth must be taller than the minimum.
* In the image metric, a detection without partner is ignored if a DontCare region covers more of it than the IoU
  threshold. DontCare regions have no 3D box, so BEV and 3D know no such excuse.
* Precision is read at the scores whose recall comes nearest to 0, 1/40, ..., 1 and made monotone. R40 averages the
  last 40 positions, R11 every fourth of the 41.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.kitti_objects import (
    MAX_OCCLUSION,
    MAX_TRUNCATION,
    MIN_HEIGHT,
    KittiFrames,
    KittiObjects,
    concatenate,
    parse_objects,
)
from ssal3d.errors import UserError, unknown_name
from ssal3d.evaluation.kitti_checks import check_input, without_3d
from ssal3d.evaluation.kitti_matching import (
    METRICS,
    RECALL_POSITIONS,
    Array,
    Pairs,
    overlapping_pairs,
    precision_curve,
)

DIFFICULTIES = ('easy', 'moderate', 'hard')
NEIGHBOUR = {'Car': 'Van', 'Pedestrian': 'Person_sitting'}
IOU_THRESHOLDS = {'Car': 0.7, 'Pedestrian': 0.5, 'Cyclist': 0.5}
POSITIONS = {'R40': slice(1, None), 'R11': slice(None, None, 4)}
SUMMARY_HEADER = ('class', 'metric', 'IoU', *(f'{sampling} {key}' for sampling in POSITIONS for key in DIFFICULTIES))

_UNDEFINED: dict[str, dict[str, float | None]] = {key: dict.fromkeys(DIFFICULTIES) for key in POSITIONS}

Thresholds = Mapping[str, float | Mapping[str, float]]


def evaluate_kitti(
    truth: KittiFrames,
    detections: KittiFrames,
    classes: Sequence[str] = tuple(IOU_THRESHOLDS),
    iou_thresholds: Thresholds | None = None,
    *,
    small_sets: bool = False,
) -> dict[str, Any]:
    """Return AP in percent by class, metric, recall sampling and difficulty.

    Args:
        truth: Ground truth of F frames, with DontCare regions.
        detections: Detections of the same frames in the same order; every score finite.
        classes: Class names to evaluate.
        iou_thresholds: Changes to `IOU_THRESHOLDS`, by class name: one number for all metrics or a dictionary by
            metric, e.g. ``{'Car': {'bev': 0.5}}``; numbers in [0, 1).
        small_sets: Official sampling gives n counted ground truths at most n positions, so with n < 41 even perfect
            detections get no more than (n - 1) / 40 in R40. True reads the precision of such a class at the recall
            itself; with 41 or more nothing changes.

    Returns:
        ``{class: {'3d' | 'bev' | '2d': {'R40' | 'R11': {'easy' | 'moderate' | 'hard': AP}}}, 'mean': the same, averaged
        over the classes that have a value, 'frames': F, 'settings': thresholds and numbers of counted ground truths,
                'warnings': list of lines}``. AP is None where no ground truth counts, everywhere in ``2d`` if an object
                has no
        image box (NaN; such objects are tall enough for every difficulty), and in ``bev`` and ``3d`` of a class whose
        labels or detections have placeholders for 3D boxes.

    Raises:
        UserError: If a class has no threshold, a threshold is out of range, the frames differ in number, a size is not
            positive, detections have a class that nobody knows, or more than a tenth of the image boxes are empty.
    """
    thresholds = iou_thresholds_by_metric(classes, iou_thresholds)
    warnings = check_input(truth, detections, list(thresholds))
    scene = _prepare(truth, detections, list(thresholds))
    counted: dict[str, dict[str, int]] = {}
    result: dict[str, Any] = {}
    for name in thresholds:
        states = [_states(scene, name, level) for level in range(len(DIFFICULTIES))]
        counted[name] = {key: int((state == 0).sum()) for key, (state, _) in zip(DIFFICULTIES, states, strict=True)}
        flat, notes = without_3d(truth.objects, detections.objects, name)
        warnings += notes
        result[name] = {
            metric: _UNDEFINED
            if flat and metric != '2d'
            else _average_precision(scene, metric, states, thresholds[name][metric], small_sets)
            for metric in reversed(METRICS)
        }
    result['mean'] = _mean([result[name] for name in thresholds])
    result['frames'] = len(truth)
    result['settings'] = {'iou_thresholds': thresholds, 'ground_truths': counted, 'small_sets': small_sets}
    result['warnings'] = [*warnings, *_warnings(counted, _detected(scene, thresholds), small_sets)]
    return result


def iou_thresholds_by_metric(classes: Sequence[str], changes: Thresholds | None = None) -> dict[str, dict[str, float]]:
    """Return the IoU threshold of every class and metric.

    Args:
        classes: Class names.
        changes: Changes to `IOU_THRESHOLDS`; see `evaluate_kitti`.

    Raises:
        UserError: If a class has no threshold, or a name or number in ``changes`` is wrong.
    """
    changes = changes or {}
    class_names = list(dict.fromkeys((*IOU_THRESHOLDS, *classes)))
    for name in changes:
        if name not in class_names:
            raise unknown_name('class', name, class_names)
    result: dict[str, dict[str, float]] = {}
    for name in classes:
        if name not in (*IOU_THRESHOLDS, *changes):
            raise UserError(
                f'{unknown_name("class", name, list(IOU_THRESHOLDS))}; another class needs an IoU threshold of its own, '
                f'e.g. --iou {name}=0.5'
            )
        change = changes.get(name, {})
        chosen = change if isinstance(change, Mapping) else dict.fromkeys(METRICS, change)
        result[name] = {metric: IOU_THRESHOLDS.get(name, np.nan) for metric in METRICS} | dict(chosen)
        for metric, value in result[name].items():
            if metric not in METRICS:
                raise unknown_name(f'metric of class {name}', metric, list(METRICS))
            if not 0 <= value < 1:
                raise UserError(f'IoU threshold of {name} {metric}: found {value}, expected a number in [0, 1)')
    return result


def without_image_boxes(frames: KittiFrames) -> KittiFrames:
    """Return the same objects as if no camera had seen them, for data whose image boxes mean nothing."""
    return replace(frames, objects=replace(frames.objects, bbox=np.full((len(frames.objects), 4), np.nan)))


def summary(result: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a table with the columns `SUMMARY_HEADER` from what `evaluate_kitti` returns."""
    thresholds = result['settings']['iou_thresholds']
    return [
        (
            name,
            metric,
            thresholds.get(name, {}).get(metric),
            *(by_difficulty[sampling][key] for sampling in POSITIONS for key in DIFFICULTIES),
        )
        for name in (*thresholds, 'mean')
        for metric, by_difficulty in result[name].items()
    ]


@dataclass(frozen=True)
class _Scene:
    """What does not depend on class and difficulty."""

    truth: KittiObjects
    detections: KittiObjects
    names: NDArray[np.str_]  # of the ground truth, in lower case like `detected`
    detected: NDArray[np.str_]
    scores: Array
    pairs: Pairs
    excused: Array  # share of each detection's image box in a DontCare region
    in_image: bool


def _prepare(truth: KittiFrames, detections: KittiFrames, classes: Sequence[str]) -> _Scene:
    names, detected = (frames.objects.lower_names for frames in (truth, detections))
    involved = [name.lower() for c in classes for name in (c, NEIGHBOUR.get(c, c))]
    evaluated, dont_care = np.isin(names, involved), names == 'dontcare'
    pairs = overlapping_pairs(truth, detections, evaluated | dont_care)
    return _Scene(
        truth=truth.objects,
        detections=detections.objects,
        names=names,
        detected=detected,
        scores=np.ascontiguousarray(detections.objects.scores),
        pairs=pairs,
        excused=pairs.largest_cover(dont_care, len(detected)),
        in_image=not (np.isnan(truth.objects.bbox[evaluated]).any() or np.isnan(detections.objects.bbox).any()),
    )


def _states(scene: _Scene, name: str, level: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return what every ground truth and every detection is to a class at a difficulty; see `precision_curve`."""
    truth = scene.truth
    same = scene.names == name.lower()
    too_hard = (
        (truth.occluded > MAX_OCCLUSION[level])
        | (truth.truncated > MAX_TRUNCATION[level])
        | (truth.bbox[:, 3] - truth.bbox[:, 1] <= MIN_HEIGHT[level])
    )
    neighbour = scene.names == NEIGHBOUR.get(name, name).lower()
    truth_states = np.where(same & ~too_hard, 0, np.where(same | neighbour, 1, -1))
    too_low = np.abs(scene.detections.bbox[:, 3] - scene.detections.bbox[:, 1]) < MIN_HEIGHT[level]
    detection_states = np.where(too_low, 1, np.where(scene.detected == name.lower(), 0, -1))
    return truth_states.astype(np.int8), detection_states.astype(np.int8)


def _average_precision(
    scene: _Scene,
    metric: str,
    states: Sequence[tuple[NDArray[np.int8], NDArray[np.int8]]],
    min_iou: float,
    small_sets: bool,
) -> dict[str, dict[str, float | None]]:
    """Return AP by sampling and difficulty for one class and metric."""
    ignored = scene.excused > min_iou if metric == '2d' else np.zeros(len(scene.excused), dtype=np.bool_)
    result: dict[str, dict[str, float | None]] = {sampling: {} for sampling in POSITIONS}
    for difficulty, (truth_state, detection_state) in zip(DIFFICULTIES, states, strict=True):
        defined = (truth_state == 0).any() and (scene.in_image or metric != '2d')
        curve = precision_curve(
            scene.pairs, metric, truth_state, detection_state, scene.scores, ignored, min_iou, small_sets
        )
        for sampling, positions in POSITIONS.items():
            result[sampling][difficulty] = float(100 * curve[positions].mean()) if defined else None
    return result


def _mean(by_class: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average AP over the classes that have one."""

    def average(metric: str, sampling: str, difficulty: str) -> float | None:
        values = [by_metric[metric][sampling][difficulty] for by_metric in by_class]
        defined = [value for value in values if value is not None]
        return sum(defined) / len(defined) if defined else None

    return {
        metric: {sampling: {key: average(metric, sampling, key) for key in DIFFICULTIES} for sampling in POSITIONS}
        for metric in reversed(METRICS)
    }


def _detected(scene: _Scene, classes: Iterable[str]) -> dict[str, int]:
    return {name: int((scene.detected == name.lower()).sum()) for name in classes}


def _warnings(counted: Mapping[str, Mapping[str, int]], detected: Mapping[str, int], small_sets: bool) -> Iterator[str]:
    for name, by_difficulty in counted.items():
        numbers = ', '.join(f'{number} {key}' for key, number in by_difficulty.items())
        if not all(by_difficulty.values()):
            yield f'{name}: a difficulty without ground truth has no AP and is left out of the mean ({numbers})'
        if not detected[name] and any(by_difficulty.values()):
            yield f'{name}: no detection is of this class'
        few = [number for number in by_difficulty.values() if 0 < number < RECALL_POSITIONS]
        if few and not small_sets:
            yield (
                f'{name}: {min(few)} counted ground truths allow at most {100 * (min(few) - 1) / 40:.1f} in R40, because '
                f'official sampling needs {RECALL_POSITIONS} ({numbers}); --small-sets, or small_sets=True of the metric, lifts the limit'
            )


def _warm_up() -> None:
    line = 'Car 0.00 0 0.00 0.00 0.00 50.00 50.00 1.50 1.60 3.90 0.00 1.60 10.00 0.00'
    frames = [concatenate([parse_objects(text, 'warm-up')]) for text in (line, f'{line} 1.0')]
    evaluate_kitti(frames[0], frames[1], ('Car',))
