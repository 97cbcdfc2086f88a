"""What HSSDA finds in the teacher's predictions of all frames: thresholds and labels."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssal3d.evaluation.box_precision import count_right
from ssal3d.semi.hssda.label_store import BOUGHT, LabelStore, label_rows
from ssal3d.semi.hssda.levels import (
    DEFAULTS,
    MIN_POINTS,
    FramePrediction,
    Level,
    LevelRules,
    ScoredBoxes,
    estimate_thresholds,
    high_labels,
    score_pools,
    step_labels,
    view_levels,
)

DualThresholds = dict[str, dict[str, tuple[float, float]]]


class FrameLevels(NamedTuple):
    """The predictions on the original view of a frame, ``(K, 7)`` stored boxes, ``(P,)`` `Level` of the predictions."""

    frame_id: str
    original: ScoredBoxes
    stored: Tensor
    levels: Tensor


def frame_levels(
    predictions: Iterable[FramePrediction],
    store: LabelStore,
    rules: LevelRules,
    mined: Mapping[str, NDArray] | None = None,
    bought: bool = False,
) -> Iterator[FrameLevels]:
    """Yield the levels of predictions, frame by frame.

    Args:
        predictions: Predictions of all frames.
        store: Known boxes; what touches one of them is ignored.
        rules: Thresholds of this mining.
        mined: Labels that this mining has found, which are known, too.
        bought: Yield the bought frames instead of the others; they may touch the known boxes.
    """
    for frame_id, original, other in predictions:
        if store.is_bought(frame_id) != bought:
            continue
        stored = _stored_boxes(store, frame_id)
        if mined and frame_id in mined:
            stored = torch.cat((stored, torch.from_numpy(mined[frame_id]['box'].copy())))
        yield FrameLevels(
            frame_id, original, stored, view_levels(original, other, stored[:0] if bought else stored, rules)
        )


def mining_thresholds(
    predictions: Sequence[FramePrediction],
    store: LabelStore,
    pool: str = 'all',
    defaults: Mapping[str, Sequence[float]] = DEFAULTS,
    truncate: bool = False,
    one_to_one: bool = True,
) -> DualThresholds:
    """Return (high, low) by class and cue from what agrees with known boxes.

    Args:
        predictions: Predictions of all frames.
        store: Known boxes.
        pool: Which frames count: ``'all'`` with boxes, bought or mined (released; the thresholds then drift with what
            was mined), or ``'labelled_only'``.
        defaults: See `estimate_thresholds`.
        truncate: See `two_centre_thresholds`.
        one_to_one: See `score_pools`.
    """
    frames = (
        (frame, _stored_boxes(store, frame.frame_id))
        for frame in predictions
        if pool == 'all' or store.is_bought(frame.frame_id)
    )
    return estimate_thresholds(score_pools(frames, store.classes, one_to_one), defaults, truncate)


def mined_labels(
    predictions: Sequence[FramePrediction],
    store: LabelStore,
    thresholds: DualThresholds,
    load_points: Callable[[str], NDArray[np.float32]],
    min_points: int = MIN_POINTS,
) -> dict[str, NDArray]:
    """Return the rows of new labels by frame, for `LabelStore.publish`; bought frames get none.

    Args:
        predictions: Predictions of all frames.
        store: Known boxes, which a new label must not touch.
        thresholds: Of this mining.
        load_points: Gives the ``(N, >=3)`` cloud of a frame; called for frames with candidates only.
        min_points: Points that a label needs inside.
    """
    rules, new = LevelRules.of(thresholds, store.classes), {}
    for frame_id, original, stored, levels in frame_levels(predictions, store, rules):
        if not (levels == Level.HIGH).any():
            continue
        chosen = high_labels(levels, original.boxes, torch.from_numpy(load_points(frame_id)), stored, min_points)
        if chosen.any():
            columns = (original.boxes, original.labels, original.s, original.r)
            new[frame_id] = label_rows(*(column[chosen].numpy() for column in columns))
    return new


def mid_labels(
    predictions: Sequence[FramePrediction], store: LabelStore, mined: Mapping[str, NDArray], rules: LevelRules
) -> dict[str, NDArray]:
    """Return the rows of the middle level by frame, for `LabelStore.publish`, as training steps would find them now.

    Args:
        predictions: Predictions of all frames; bought ones get no such labels.
        store: Known boxes before this mining.
        mined: Labels that it has found; a label of the middle level must not touch them either.
        rules: Thresholds of this mining.
    """
    result = {}
    for frame_id, original, _, levels in frame_levels(predictions, store, rules, mined):
        mid, weights = step_labels(original, levels, rules)
        if len(weights):
            columns = (mid.boxes, mid.labels, mid.s, mid.r, weights)
            result[frame_id] = label_rows(*(column.numpy() for column in columns))
    return result


def labelled_precision(
    predictions: Sequence[FramePrediction], store: LabelStore, thresholds: DualThresholds
) -> tuple[Tensor, Tensor]:
    """Return how many boxes of bought frames pass the high thresholds and are right, and how many pass, ``(C,)`` each.

    All true boxes of these frames are known, so a label may touch them here.

    Args:
        predictions: Predictions of all frames.
        store: Known boxes.
        thresholds: Of this mining.
    """
    rules, classes = LevelRules.of(thresholds, store.classes), len(store.classes)
    counts = torch.zeros(2, classes, dtype=torch.int64)
    for frame_id, original, stored, levels in frame_levels(predictions, store, rules, bought=True):
        high, truth = levels == Level.HIGH, torch.from_numpy(store.labels_of(frame_id)['label'].astype(np.int64))
        counts += torch.stack(count_right(original.boxes[high], original.labels[high], stored, truth, classes))
    return counts[0], counts[1]


def describe_labels(store: LabelStore) -> str:
    """Return one line for the log: bought and mined labels and the thresholds, by class."""
    labels = store.labels
    mined = labels['source'] != BOUGHT
    counts = [label_counts(store, rows) for rows in (~mined, mined, mined & (labels['born'] == store.epoch))]
    parts = []
    for name in store.classes:
        cues = ', '.join(f'{cue} {high:.2f}/{low:.2f}' for cue, (high, low) in store.thresholds.get(name, {}).items())
        bought, total, new = (count[name] for count in counts)
        parts.append(f'{name}: {bought} bought, {total} mined ({new} new); high/low {cues}')
    return '; '.join(parts)


def label_counts(store: LabelStore, rows: NDArray[np.bool_]) -> dict[str, int]:
    """Return the number of labels of some rows by class name."""
    counts = np.bincount(store.labels['label'][rows], minlength=len(store.classes))
    return dict(zip(store.classes, counts.tolist()))


def _stored_boxes(store: LabelStore, frame_id: str) -> Tensor:
    return torch.from_numpy(np.array(store.labels_of(frame_id)['box'], dtype=np.float32).reshape(-1, 7))
