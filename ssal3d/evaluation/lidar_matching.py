"""Matching of detections to labels without an image: by the distance of centres, as nuScenes does, or by 3D overlap.

Each detection, from the most confident on, takes the best label of its frame that is still free. Which labels count and
in which band a detection lies is decided afterwards, so one matching serves all bands.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssal3d.ops.box_kernels import pair_iou_3d
from ssal3d.ops.kernel import kernel

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """Detections of one class in all frames, from the most confident on.

    Attributes:
        order: ``(D,)`` rows of the detections.
        partner: ``(D,)`` row of the label that each took, in that order; -1 for none.
    """

    order: Rows
    partner: Rows


def match(
    truth: Array, truth_frames: Rows, boxes: Array, frames: Rows, scores: Array, threshold: float, by_distance: bool
) -> Matches:
    """Match the detections of one class.

    Args:
        truth: ``(G, 7)`` labels.
        truth_frames: ``(G,)`` number of the frame of each, ascending.
        boxes: ``(D, 7)`` detections.
        frames: ``(D,)`` number of the frame of each.
        scores: ``(D,)`` confidences; of equal ones the last counts first, as in nuScenes' development kit.
        threshold: Metres that the centres must be closer than, or 3D IoU that must be exceeded.
        by_distance: Whether the threshold is a distance.

    Returns:
        The matches. O(D times labels of a frame).
    """
    order = np.lexsort((np.arange(len(scores)), scores))[::-1]
    count = int(max(truth_frames.max(initial=-1), frames.max(initial=-1))) + 1
    start = np.searchsorted(truth_frames, np.arange(count + 1))
    partner = _match(
        np.ascontiguousarray(truth, dtype=np.float64).reshape(-1, 7),
        start.astype(np.int64),
        np.ascontiguousarray(boxes, dtype=np.float64).reshape(-1, 7),
        frames.astype(np.int64),
        order.astype(np.int64),
        float(threshold),
        by_distance,
    )
    return Matches(order, partner)


@kernel
def _match(
    truth: Array, start: Rows, boxes: Array, frames: Rows, order: Rows, threshold: float, by_distance: bool
) -> Rows:
    free = np.ones(truth.shape[0], dtype=np.bool_)
    partner = np.full(order.size, -1, dtype=np.int64)
    for rank in range(order.size):
        d = order[rank]
        best, best_value = -1, np.inf
        for g in range(start[frames[d]], start[frames[d] + 1]):
            if not free[g]:
                continue
            if by_distance:
                value = np.sqrt((truth[g, 0] - boxes[d, 0]) ** 2 + (truth[g, 1] - boxes[d, 1]) ** 2)
            else:
                value = -pair_iou_3d(truth[g], boxes[d])
            if value < best_value:
                best, best_value = g, value
        limit = threshold if by_distance else -threshold
        if best >= 0 and best_value < limit:
            free[best] = False
            partner[rank] = best
    return partner


def _warm_up() -> None:
    box, number = np.ones((1, 7)), np.zeros(1, dtype=np.int64)
    for by_distance in (True, False):
        match(box, number, box, number, np.ones(1), 0.5, by_distance)
