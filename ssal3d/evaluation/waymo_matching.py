"""One-to-one matching of detections to ground truth that maximises the sum of IoU, at every score cut-off.

A pair may match from the IoU threshold up; scores play no part beyond the cut-off. Only few boxes of a frame overlap so
much, so the pairs of a frame fall into small groups that share no box. Every group is solved by itself (Hungarian
algorithm on integers), and anew only where a cut-off adds a detection to it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.ops.box_kernels import pair_iou_3d
from ssal3d.ops.kernel import kernel

LEVELS = (1, 2)
STEPS_OF_IOU = 1_000_000  # the matching sums whole millionths of IoU
SMALLEST_SIZE = 0.01  # metres; thinner boxes overlap nothing
# Columns of what `count_matches` returns.
MATCHED, MATCHED_COUNTED, HEADING, FOUND = 0, 1, 2, 3  # FOUND: level 1, FOUND + 1: level 2
_COLUMNS = FOUND + len(LEVELS)

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


def count_matches(
    truth_offsets: Rows,
    offsets: Rows,
    truth_boxes: Array,
    boxes: Array,
    truth_levels: NDArray[np.int32],
    last_cutoff: Rows,
    counted: NDArray[np.bool_],
    min_iou: float,
    cutoffs: int,
) -> Array:
    """Match detections to ground truth of one kind at every score cut-off.

    Args:
        truth_offsets: ``(F + 1,)`` first ground truth of every frame.
        offsets: ``(F + 1,)`` first detection of every frame, same frames.
        truth_boxes: ``(G, 7)`` gravity-centred boxes, frame by frame.
        boxes: ``(D, 7)`` likewise.
        truth_levels: ``(G,)`` difficulty 1 or 2.
        last_cutoff: ``(D,)`` the highest cut-off that each detection passes.
        counted: ``(D,)`` detections that are an error when they match nothing.
        min_iou: A pair may match from this 3D IoU up.
        cutoffs: Number of cut-offs C, in ascending order of score.

    Returns:
        ``(C, 5)`` sums over all matched pairs: number, number with a counted detection, heading accuracy
        ``1 - |error| / pi``, number with a ground truth of level 1, and of level 2. O(pairs within a frame) plus, for a
        group of g ground truths and d detections, O(d g^2) at each of at most C cut-offs.
    """
    return _count_matches(
        truth_offsets, offsets, truth_boxes, boxes, truth_levels, last_cutoff, counted, np.float32(min_iou), cutoffs
    )


def assign(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the one-to-one assignment with the greatest sum of weights.

    Args:
        weights: ``(R, C)`` weights >= 0; 0 means that the two may not be assigned.

    Returns:
        ``(R,)`` column of each row, -1 for none. O(min^2 max) of R and C; see Kuhn, The Hungarian method for the
        assignment problem, 1955.

    >>> assign(np.array([[90, 80], [85, 0]])).tolist()
    [1, 0]
    """
    return _assign(np.ascontiguousarray(weights, dtype=np.int64))


@kernel
def _count_matches(
    truth_offsets: Any,
    offsets: Any,
    truth_boxes: Any,
    boxes: Any,
    truth_levels: Any,
    last_cutoff: Any,
    counted: Any,
    min_iou: Any,
    cutoffs: Any,
) -> Any:
    totals = np.zeros((cutoffs, _COLUMNS))
    for frame in range(truth_offsets.size - 1):
        g0, g1 = truth_offsets[frame], truth_offsets[frame + 1]
        d0, d1 = offsets[frame], offsets[frame + 1]
        pairs, weights = _pairs(truth_boxes[g0:g1], boxes[d0:d1], min_iou)
        if pairs.shape[0] == 0:
            continue
        group = _groups(pairs, g1 - g0, d1 - d0)
        order = np.argsort(group, kind='mergesort')
        start = 0
        while start < order.size:
            end = start
            while end < order.size and group[order[end]] == group[order[start]]:
                end += 1
            rows = order[start:end]
            truths, detections = np.unique(pairs[rows, 0]), np.unique(pairs[rows, 1])
            # The most confident first: at a lower cut-off, the same columns and some more are there.
            detections = detections[np.argsort(-last_cutoff[d0 + detections], kind='mergesort')]
            table = np.zeros((truths.size, detections.size), dtype=np.int64)
            for row in rows:
                for column in range(detections.size):
                    if detections[column] == pairs[row, 1]:
                        table[np.searchsorted(truths, pairs[row, 0]), column] = weights[row]
            _count_group(
                table,
                truth_boxes[g0 + truths, 6],
                boxes[d0 + detections, 6],
                truth_levels[g0 + truths],
                last_cutoff[d0 + detections],
                counted[d0 + detections],
                totals,
            )
            start = end
    return totals


@kernel
def _pairs(truth_boxes: Any, boxes: Any, min_iou: Any) -> Any:
    """Return the pairs of a frame that may match, ``(P, 2)`` truth and detection, and their weights ``(P,)``."""
    room = 4 * (truth_boxes.shape[0] + boxes.shape[0])
    pairs, weights = np.empty((room, 2), dtype=np.int64), np.empty(room, dtype=np.int64)
    count = 0
    for g in range(truth_boxes.shape[0]):
        if min(truth_boxes[g, 3], truth_boxes[g, 4], truth_boxes[g, 5]) <= SMALLEST_SIZE:
            continue
        for d in range(boxes.shape[0]):
            if min(boxes[d, 3], boxes[d, 4], boxes[d, 5]) <= SMALLEST_SIZE:
                continue
            iou = np.float32(min(pair_iou_3d(truth_boxes[g], boxes[d]), 1.0))
            weight = np.int64(np.rint(iou * np.float32(STEPS_OF_IOU)))
            if iou < min_iou or weight == 0:
                continue
            if count == room:
                room *= 2
                more_pairs, more_weights = np.empty((room, 2), dtype=np.int64), np.empty(room, dtype=np.int64)
                more_pairs[:count], more_weights[:count] = pairs, weights
                pairs, weights = more_pairs, more_weights
            pairs[count, 0], pairs[count, 1], weights[count] = g, d, weight
            count += 1
    return pairs[:count], weights[:count]


@kernel
def _groups(pairs: Any, truths: Any, detections: Any) -> Any:
    """Return a number for each pair, the same for pairs that are linked through shared boxes (union-find)."""
    parent = np.arange(truths + detections)
    for p in range(pairs.shape[0]):
        a, b = _root(parent, pairs[p, 0]), _root(parent, truths + pairs[p, 1])
        parent[max(a, b)] = min(a, b)
    result = np.empty(pairs.shape[0], dtype=np.int64)
    for p in range(pairs.shape[0]):
        result[p] = _root(parent, pairs[p, 0])
    return result


@kernel
def _root(parent: Any, node: Any) -> Any:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@kernel
def _count_group(
    table: Any, truth_headings: Any, headings: Any, levels: Any, last_cutoff: Any, counted: Any, totals: Any
) -> None:
    """Add the matched pairs of one group to ``totals`` at every cut-off that some of its detections pass."""
    present = 0
    while present < last_cutoff.size:
        highest = last_cutoff[present]
        while present < last_cutoff.size and last_cutoff[present] == highest:
            present += 1
        lowest = last_cutoff[present] + 1 if present < last_cutoff.size else 0
        columns = _assign(table[:, :present])
        for row in range(columns.size):
            column = columns[row]
            if column < 0:
                continue
            accuracy = _heading_accuracy(truth_headings[row], headings[column])
            for cutoff in range(lowest, highest + 1):
                totals[cutoff, MATCHED] += 1
                totals[cutoff, MATCHED_COUNTED] += counted[column]
                totals[cutoff, HEADING] += accuracy
                totals[cutoff, FOUND + levels[row] - 1] += 1


@kernel
def _heading_accuracy(truth: Any, heading: Any) -> Any:
    """1 for the same heading, 0 for the opposite one."""
    error = (heading - truth) % (2 * np.pi)
    return 1 - min(error, 2 * np.pi - error) / np.pi


@kernel
def _assign(weights: Any) -> Any:
    rows, columns = weights.shape
    result = np.full(rows, -1, dtype=np.int64)
    if rows == 1:  # by far the most frequent
        best = int(np.argmax(weights[0]))
        result[0] = best if weights[0, best] > 0 else -1
        return result
    row_of = _row_of_columns(weights) if rows <= columns else _row_of_columns(weights.T.copy())
    for j in range(row_of.size):
        row, column = (row_of[j], j) if rows <= columns else (j, row_of[j])
        if row_of[j] >= 0 and weights[row, column] > 0:
            result[row] = column
    return result


@kernel
def _row_of_columns(weights: Any) -> Any:
    """Assign every row of a table that is not taller than wide; return the row of each column, -1 for none.

    Row after row takes the shortest augmenting path in the costs ``-weight`` reduced by prices (Jonker and Volgenant,
    1987). Columns are numbered from 1 here: column 0 is where the row waits that is to be assigned, and row 0 is none.
    """
    rows, columns = weights.shape
    row_price, column_price = np.zeros(rows + 1, dtype=np.int64), np.zeros(columns + 1, dtype=np.int64)
    row_of, came_from = np.zeros(columns + 1, dtype=np.int64), np.zeros(columns + 1, dtype=np.int64)
    for row in range(1, rows + 1):
        row_of[0] = row
        here = _cheapest_free_column(weights, row_of, came_from, row_price, column_price)
        while here != 0:  # along the path, every row moves on by one column
            row_of[here] = row_of[came_from[here]]
            here = came_from[here]
    return row_of[1:] - 1


@kernel
def _cheapest_free_column(weights: Any, row_of: Any, came_from: Any, row_price: Any, column_price: Any) -> Any:
    """Search from column 0 as Dijkstra does; ``came_from`` and both prices are updated."""
    unreached = np.int64(1) << 60
    slack, visited = np.full(row_of.size, unreached), np.zeros(row_of.size, dtype=np.bool_)
    here = 0
    while row_of[here] != 0:
        visited[here] = True
        row, step, following = row_of[here], unreached, 0
        for column in range(1, row_of.size):
            if visited[column]:
                continue
            cost = -weights[row - 1, column - 1] - row_price[row] - column_price[column]
            if cost < slack[column]:
                slack[column], came_from[column] = cost, here
            if slack[column] < step:
                step, following = slack[column], column
        for column in range(row_of.size):
            if visited[column]:
                row_price[row_of[column]] += step
                column_price[column] -= step
            else:
                slack[column] -= step
        here = following
    return here


def _warm_up() -> None:
    boxes, offsets, ones = np.ones((2, 7)), np.array([0, 2]), np.ones(2, dtype=np.int64)
    count_matches(offsets, offsets, boxes, boxes, np.ones(2, np.int32), ones, np.ones(2, np.bool_), 0.5, 2)
    assign(np.ones((2, 2), dtype=np.int64))
