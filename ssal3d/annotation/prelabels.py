"""Which predicted boxes an annotator starts from: those that both models agree on, confident for their class."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.model import Cuboid
from ssal3d.annotation.rotations import wrapped
from ssal3d.errors import UserError, unknown_name
from ssal3d.ops.boxes import bev_iou
from ssal3d.predictions import PoolPredictions

Array = NDArray[np.floating]


def prelabels(
    frame_ids: Sequence[str],
    predictions: PoolPredictions,
    reference: PoolPredictions | None = None,
    thresholds: Mapping[str, float] | float = 0.5,
    iou: float = 0.5,
) -> dict[str, tuple[Cuboid, ...]]:
    """Choose pre-labels for some frames.

    With two models, a box is taken if a box of the same class of the other model overlaps it; the two are matched one
    to one, the best overlap first. The box of the model with the higher score is taken, with the mean of both scores.

    Args:
        frame_ids: The frames, in the order in which boxes get their numbers.
        predictions: Of the query model.
        reference: Of a second model; without it, the score alone decides.
        thresholds: Lowest score (the mean of both models) by class name, or one for all.
        iou: BEV IoU from which two boxes show the same object.

    Returns:
        Boxes by frame id, the highest score first; ids are running numbers over all frames, from 1.

    Raises:
        UserError: If a threshold belongs to no class, a frame has no predictions or the models differ in classes.
    """
    lowest = _by_class(thresholds, predictions.classes)
    if reference is not None and reference.classes != predictions.classes:
        raise UserError(
            f'{reference.source}: found the classes {", ".join(reference.classes)}, expected '
            f'{", ".join(predictions.classes)} as in {predictions.source}'
        )
    result: dict[str, tuple[Cuboid, ...]] = {}
    number = 0
    for frame_id in frame_ids:
        boxes, scores, labels = _of_frame(predictions, frame_id)
        if reference is not None:
            boxes, scores, labels = agreed((boxes, scores, labels), _of_frame(reference, frame_id), iou)
        kept = np.flatnonzero(scores >= lowest[labels])
        kept = kept[np.argsort(-scores[kept], kind='stable')]
        cuboids = []
        for row in kept.tolist():
            number += 1
            values = tuple(float(value) for value in boxes[row])
            name = predictions.classes[labels[row]]
            cuboids.append(Cuboid(name, (*values[:6], wrapped(values[6])), str(number), score=float(scores[row])))
        result[frame_id] = tuple(cuboids)
    return result


def agreed(
    first: tuple[Array, Array, NDArray[np.int64]], second: tuple[Array, Array, NDArray[np.int64]], iou: float
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return the boxes ``(N, 7)``, mean scores ``(N,)`` and labels ``(N,)`` on which two models agree in one frame."""
    overlap = bev_iou(first[0], second[0])
    overlap[first[2][:, None] != second[2][None, :]] = 0
    rows, columns = matched(overlap, iou)
    stronger = first[1][rows] >= second[1][columns]
    boxes = np.where(stronger[:, None], first[0][rows], second[0][columns])
    return boxes, (first[1][rows] + second[1][columns]) / 2, first[2][rows]


def matched(overlap: Array, lowest: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Match rows and columns one to one, the largest overlap first.

    Args:
        overlap: ``(N, M)``, e.g. IoU.
        lowest: Overlap that a pair needs; pairs with overlap 0 never match.

    Returns:
        Rows and columns of the pairs, by row.
    """
    rows, columns = np.nonzero((overlap >= lowest) & (overlap > 0))
    free_rows, free_columns = np.ones(overlap.shape[0], bool), np.ones(overlap.shape[1], bool)
    pairs = []
    for pair in np.argsort(-overlap[rows, columns], kind='stable').tolist():
        row, column = rows[pair], columns[pair]
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            pairs.append((row, column))
    matches = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return matches[:, 0], matches[:, 1]


def _by_class(thresholds: Mapping[str, float] | float, classes: Sequence[str]) -> Array:
    if not isinstance(thresholds, Mapping):
        return np.full(len(classes), float(thresholds))
    for name in thresholds:
        if name not in classes and name != 'default':
            raise unknown_name('class in the pre-label thresholds', name, list(classes))
    return np.array([thresholds.get(name, thresholds.get('default', 0.5)) for name in classes], dtype=np.float64)


def _of_frame(predictions: PoolPredictions, frame_id: str) -> tuple[Array, Array, NDArray[np.int64]]:
    position = int(np.searchsorted(predictions.frame_ids, frame_id))
    if position == len(predictions) or predictions.frame_ids[position] != frame_id:
        raise UserError(f'{predictions.source}: no predictions of frame {frame_id}; predict the pool again')
    rows = predictions.boxes_of(position)
    return (
        predictions.boxes[rows].astype(np.float64),
        predictions.scores[rows].astype(np.float64),
        predictions.labels[rows].astype(np.int64),
    )
