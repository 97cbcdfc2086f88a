"""Three levels of pseudo labels (HSSDA): dual thresholds from what agrees with known boxes, and what each level does.

* high: becomes a permanent label when labels are mined;
* mid: is a label for this step only, with weight ``s r``;
* low: its points are taken out of the cloud.

A prediction has three cues: its score ``s``, its RPN score ``r``, and its *view IoU*, the bird's-eye-view (BEV) IoU
with what the teacher predicts on another view of the frame. Boxes are ``(x, y, z, dx, dy, dz, yaw)`` with their gravity
centre (m, rad), all of one frame of reference: map the predictions on the other view back first (BEV IoU does not
change under rotation, mirroring and scaling).
Source: HSSDA (Liu et al. 2023, arXiv 2304.01464) and its released code; see docs/deviations.md#hssda.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from mmcv.ops import points_in_boxes_all, points_in_boxes_part
from numpy.typing import NDArray
from torch import Tensor

from ssal3d.class_names import class_index
from ssal3d.data.boxes import gravity_to_bottom
from ssal3d.errors import UserError
from ssal3d.ops.torch_boxes import best_bev_iou, bev_iou, overlap_3d

CUES = ('s', 'r', 'view_iou')
DEFAULTS = {'s': (0.99, 0.99), 'r': (0.95, 0.95), 'view_iou': (0.93, 0.93)}
SUPPORT = 0.5  # summed BEV IoU with known boxes from which a prediction's cues count as those of a true object
NO_MID = ('Pedestrian',)  # hard-coded in the released code
RAW_SCORE = 0.1  # raw boxes below it are background anyway
MIN_POINTS = 6

Thresholds = Mapping[str, Mapping[str, Sequence[float]]]  # class name -> cue -> (high, low)


class Level(IntEnum):
    """What a prediction is good for."""

    IGNORED = 0
    LOW = 1
    MID = 2
    HIGH = 3


class ScoredBoxes(NamedTuple):
    """Predictions on one frame: ``(P, 7)`` boxes, ``(P,)`` scores s and r in [0, 1], ``(P,)`` class indices."""

    boxes: Tensor
    s: Tensor
    r: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> 'ScoredBoxes':
        """Return some of the predictions, given by a mask or by positions."""
        return ScoredBoxes(*(column[rows] for column in self))


class FramePrediction(NamedTuple):
    """What the teacher says of a frame in the original view, and in the other one, mapped back."""

    frame_id: str
    original: ScoredBoxes
    other: ScoredBoxes


def two_centre_thresholds(
    values: NDArray[np.floating], default: Sequence[float], truncate: bool = False
) -> tuple[float, float]:
    """Return the centres of the two clusters of some cue, the higher first, to two decimals.

    These are the centres of the best of all splits of the sorted values, which k-means from random starts (the released
    code) finds most of the time. They depend on the set of values alone, not on their order.

    Args:
        values: ``(n,)`` values in [0, 1].
        default: (high, low) for up to two values.
        truncate: Cut off the digits as the released code does, instead of rounding.

    >>> two_centre_thresholds(np.array([0.55, 0.60, 0.65, 0.92, 0.94, 0.96]), (0.99, 0.99))
    (0.94, 0.6)
    >>> two_centre_thresholds(np.array([0.3, 0.4]), (0.99, 0.95))
    (0.99, 0.95)
    """
    values = np.sort(np.asarray(values, dtype=np.float64))
    if len(values) <= 2:
        return float(default[0]), float(default[1])
    split = _best_split(values)
    centres = values[split:].mean(), values[:split].mean()
    high, low = (_cut(centre) if truncate else round(float(centre), 2) for centre in centres)
    return high, low


def _best_split(values: NDArray[np.floating]) -> int:
    """Return how many of the sorted values belong to the lower of two clusters with the least squared distances."""
    shifted = values - values.mean()
    sizes = np.arange(1, len(values))
    between = np.cumsum(shifted)[:-1] ** 2 * (1 / sizes + 1 / sizes[::-1])  # what the split takes off the squares
    return int(sizes[np.argmax(between)])


def _cut(value: float) -> float:
    """Return a number with only its first two decimals.

    >>> _cut(0.8999999999999999), _cut(0.29), _cut(1e-05)
    (0.89, 0.29, 0.0)
    """
    return float(Decimal(repr(float(value))).quantize(Decimal('0.01'), rounding=ROUND_DOWN))


def score_pools(
    frames: Iterable[tuple[FramePrediction, Tensor]], classes: Sequence[str], one_to_one: bool = True
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Collect the cues of predictions that known boxes support, by class name and cue.

    A prediction is supported if its BEV IoUs with the known boxes of its frame, of whatever class, sum up to at least
    0.5. Each contributes ``s`` and ``r``; the view IoUs are those above 0 of pairs of supported predictions of the same
    class on the two views.

    Args:
        frames: Predictions and ``(K, 7)`` known boxes of each; those without known boxes contribute nothing.
        classes: Class names that labels index.
        one_to_one: Pair every prediction at most once, the highest IoU first; else, as released, count all pairs.

    Returns:
        For each class and each of `CUES` the ``(n,)`` values.
    """
    found: dict[str, dict[str, list[NDArray]]] = {name: {cue: [] for cue in CUES} for name in classes}
    for frame, stored in frames:
        if not len(stored):
            continue
        first, second = (_supported(view, stored) for view in (frame.original, frame.other))
        for label, name in enumerate(classes):
            first_rows, second_rows = first.labels == label, second.labels == label
            iou = bev_iou(first.boxes[first_rows], second.boxes[second_rows])
            pool = found[name]
            pool['s'].append(_numbers(first.s[first_rows]))
            pool['r'].append(_numbers(first.r[first_rows]))
            pool['view_iou'].append(_one_to_one(_numbers(iou)) if one_to_one else _numbers(iou[iou > 0]))
    return {
        name: {cue: np.concatenate([np.empty(0), *values]) for cue, values in pool.items()}
        for name, pool in found.items()
    }


def estimate_thresholds(
    pools: Mapping[str, Mapping[str, NDArray[np.floating]]],
    defaults: Mapping[str, Sequence[float]] = DEFAULTS,
    truncate: bool = False,
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return (high, low) by class name and cue, see `two_centre_thresholds`."""
    return {
        name: {cue: two_centre_thresholds(pool[cue], defaults[cue], truncate) for cue in CUES}
        for name, pool in pools.items()
    }


@dataclass(frozen=True)
class LevelRules:
    """Thresholds as tensors, for use in the forward pass.

    Attributes:
        thresholds: ``(C, 3, 2)`` high and low by class and cue.
        mid: ``(C,)`` whether a class has labels for one step.
        raw_score: Score that a prediction must exceed to be of the low level.
    """

    thresholds: Tensor
    mid: Tensor
    raw_score: float = RAW_SCORE

    @classmethod
    def of(
        cls,
        thresholds: Thresholds,
        classes: Sequence[str],
        no_mid: Sequence[str] = NO_MID,
        raw_score: float = RAW_SCORE,
    ) -> 'LevelRules':
        """Build from thresholds by class name.

        Args:
            thresholds: (high, low) by class name and cue.
            classes: Class names that labels index.
            no_mid: Classes without labels for one step. The released default need not be among the classes.
            raw_score: See the attribute.

        Raises:
            UserError: If a class of ``no_mid`` does not exist or a class has no thresholds.
        """
        missing = [name for name in classes if name not in thresholds]
        if missing:
            raise UserError(
                f"thresholds: class '{missing[0]}' is missing; mine labels with all of {', '.join(classes)}"
            )
        table = [[[float(value) for value in thresholds[name][cue]] for cue in CUES] for name in classes]
        mid = torch.ones(len(classes), dtype=torch.bool)
        for name in no_mid:
            if name in classes or tuple(no_mid) != NO_MID:
                mid[class_index(name, classes, 'no_mid')] = False
        return cls(torch.tensor(table).reshape(-1, len(CUES), 2), mid, raw_score)

    def to(self, device: torch.device | str) -> 'LevelRules':
        """Return the rules on a device."""
        return LevelRules(self.thresholds.to(device), self.mid.to(device), self.raw_score)


def assign_levels(
    s: Tensor, r: Tensor, view_iou: Tensor, labels: Tensor, overlaps_known: Tensor, rules: LevelRules
) -> Tensor:
    """Return the level of each prediction.

    All three cues must exceed the thresholds of a level. What overlaps a known box is ignored. A class without mid
    level falls to the low one. Above the high thresholds a prediction is also a label for one step until it is mined,
    see `is_step_label`.

    Args:
        s: ``(P,)`` scores in [0, 1].
        r: ``(P,)`` RPN scores in [0, 1].
        view_iou: ``(P,)`` best BEV IoU with the predictions on the other view, see `best_bev_iou`.
        labels: ``(P,)`` class indices.
        overlaps_known: ``(P,)`` whether the BEV IoU with any stored label of the frame is above 0.
        rules: Thresholds on the same device.

    Returns:
        ``(P,)`` int64 of `Level`.
    """
    cues = torch.stack((s, r, view_iou), 1)
    table = rules.thresholds[labels].to(cues.dtype)
    high, low = ((cues > table[..., side]).all(1) for side in (0, 1))
    levels = torch.where(s > rules.raw_score, Level.LOW, Level.IGNORED)
    levels = torch.where(low & rules.mid[labels], Level.MID, levels)
    levels = torch.where(high, Level.HIGH, levels)
    return torch.where(overlaps_known, Level.IGNORED, levels)


def is_step_label(levels: Tensor, labels: Tensor, rules: LevelRules) -> Tensor:
    """Return which predictions are labels for one step, ``(P,)`` bool; their weight is ``s r``."""
    return (levels >= Level.MID) & rules.mid[labels]


def view_levels(original: ScoredBoxes, other: ScoredBoxes, stored: Tensor, rules: LevelRules) -> Tensor:
    """Return the level of each prediction on the original view, ``(P,)`` of `Level`; see `assign_levels`.

    Args:
        original: Predictions on the original view.
        other: Predictions on the other view, mapped back.
        stored: ``(K, 7)`` stored labels of the frame.
        rules: Thresholds on the same device.
    """
    overlaps = best_bev_iou(original.boxes, stored) > 0
    return assign_levels(
        original.s, original.r, best_bev_iou(original.boxes, other.boxes), original.labels, overlaps, rules
    )


def step_labels(original: ScoredBoxes, levels: Tensor, rules: LevelRules) -> tuple[ScoredBoxes, Tensor]:
    """Return the labels of the middle level and their weights ``s r``, ``(M,)``.

    Args:
        original: Predictions on the original view.
        levels: ``(P,)`` their levels, see `view_levels`.
        rules: Thresholds on the same device.
    """
    mid = original.take(is_step_label(levels, original.labels, rules))
    return mid, mid.s * mid.r


def high_labels(levels: Tensor, boxes: Tensor, points: Tensor, stored: Tensor, min_points: int = MIN_POINTS) -> Tensor:
    """Return which predictions become permanent labels, ``(P,)`` bool.

    Args:
        levels: ``(P,)`` of `Level`.
        boxes: ``(P, 7)`` predicted boxes.
        points: ``(N, >=3)`` points of the frame, cut to the camera's view.
        stored: ``(K, 7)`` all boxes that the frame has already; a label must not touch any in BEV.
        min_points: Points that a label needs inside.
    """
    chosen = (levels == Level.HIGH) & (best_bev_iou(boxes, stored) == 0)
    if len(points) and chosen.any():
        inside = points_in_boxes_all(
            points[None, :, :3].float().contiguous(), gravity_to_bottom(boxes[chosen].float())[None]
        )
        counts = inside[0].sum(0)
    else:
        counts = chosen.new_zeros(int(chosen.sum()), dtype=torch.int64)
    return chosen.masked_scatter(chosen, counts >= min_points)


def points_to_remove(points: Tensor, raw_boxes: Tensor, label_boxes: Tensor) -> Tensor:
    """Return which points belong to the low level, ``(N,)`` bool.

    Args:
        points: ``(N, >=3)`` points.
        raw_boxes: ``(R, 7)`` boxes before suppression, those with ``s`` above `RAW_SCORE` only.
        label_boxes: ``(L, 7)`` labels of the frame, stored and for one step. A raw box with any 3D overlap with one of
            them loses no points, unless they are also in a raw box without.
    """
    if not len(points):
        return torch.zeros(0, dtype=torch.bool, device=points.device)
    removed = raw_boxes[~overlap_3d(raw_boxes, label_boxes).any(1)]
    if not len(removed):
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    cloud = points[None, :, :3].float().contiguous()
    return points_in_boxes_part(cloud, gravity_to_bottom(removed.float())[None])[0] >= 0


def _supported(view: ScoredBoxes, stored: Tensor) -> ScoredBoxes:
    return view.take(bev_iou(view.boxes, stored).sum(1) >= SUPPORT)


def _one_to_one(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoUs above 0 of pairs that share no row or column, the highest first."""
    rows, columns = np.nonzero(iou > 0)
    order = np.argsort(-iou[rows, columns], kind='stable')
    used_rows, used_columns, result = set(), set(), []
    for row, column in zip(rows[order].tolist(), columns[order].tolist()):
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            result.append(iou[row, column])
    return np.array(result, dtype=np.float64)


def _numbers(values: Tensor) -> NDArray[np.float64]:
    return values.detach().cpu().numpy().astype(np.float64)
