"""How unlike frames are, class by class: PPAL's category-conditioned matching similarity (CCMS) as a distance.

Each box of one frame looks for the most similar box of its class in the other frame; the score-weighted mean of these
distances, averaged over both directions, is the distance of the frames (CCMS of PPAL, Yang et al.
2024, arXiv 2211.11612).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.checks import check_box_features
from ssal3d.active.functional.chunks import map_chunks
from ssal3d.active.functional.diversity import unit_rows

UNMATCHED = 2.0  # distance of a box whose class the other frame does not have: that of opposite features
EPS = 1e-5
BLOCK = 512  # boxes that are compared with as many at a time: products of that size stay in the cache

Matrix = NDArray[np.float32]


def category_distances(
    features: NDArray[np.floating],
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    offsets: NDArray[np.int64],
    score_thr: float = 0.1,
    max_boxes: int = 100,
    frame_ids: Sequence[str] | NDArray[np.str_] | None = None,
) -> Matrix:
    """Return the distances between all pairs of M frames.

    Args:
        features: ``(K, D)`` features of all boxes.
        scores: ``(K,)`` scores in [0, 1].
        labels: ``(K,)`` classes.
        offsets: ``(M + 1,)`` first box of every frame.
        score_thr: Boxes up to this score do not count.
        max_boxes: Boxes per frame that count, those with the highest scores.
        frame_ids: ``(M,)`` names for error messages.

    Returns:
        ``(M, M)`` symmetric distances in [0, 2] with a zero diagonal, rounded to 6 decimals, the accuracy of float32
        cosines. Frames without boxes that count have distance 0 to all. O(K² D) time; beside the result the memory is
        bounded by ``max_boxes`` and M.

    Raises:
        UserError: If a feature is NaN or infinite; names the frame.

    >>> features, offsets = np.array([[1.0, 0], [0, 1], [1, 0]]), np.array([0, 2, 3])
    >>> category_distances(features, np.array([0.8, 0.4, 0.9]), np.array([0, 1, 0]), offsets).round(3).tolist()
    [[0.0, 0.3330000042915344], [0.3330000042915344, 0.0]]
    """
    frames = len(offsets) - 1
    kept = strongest(scores, offsets, max_boxes)
    kept = kept[scores[kept] > score_thr]
    frame = np.repeat(np.arange(frames), np.diff(offsets))[kept]
    rows = unit_rows(features[kept])
    check_box_features(rows, frame, frame_ids)
    one_way = directed(rows, scores[kept].astype(np.float32), labels[kept], frame, frames)
    distances = one_way + one_way.T
    distances *= 0.5
    np.round(distances, 6, out=distances)
    np.fill_diagonal(distances, 0)
    return distances


def strongest(scores: NDArray[np.floating], offsets: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the ascending positions of each frame's ``count`` boxes with the highest scores, ties by position.

    >>> strongest(np.array([0.1, 0.9, 0.5, 0.2]), np.array([0, 3, 4]), 2).tolist()
    [1, 2, 3]
    """
    sizes = np.diff(offsets)
    if not (sizes > count).any():
        return np.arange(offsets[-1])
    frame = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-scores, frame))
    rank = np.arange(len(order)) - np.repeat(offsets[:-1], sizes)
    return np.sort(order[rank < count])


def directed(
    rows: Matrix,
    scores: NDArray[np.float32],
    labels: NDArray[np.integer],
    frame: NDArray[np.int64],
    frames: int,
) -> Matrix:
    """Return the score-weighted mean distance of the boxes of each frame to their likes in each other frame.

    Args:
        rows: ``(K, D)`` unit features.
        scores: ``(K,)`` scores.
        labels: ``(K,)`` classes.
        frame: ``(K,)`` frame of each box, ascending.
        frames: Number of frames M.

    Returns:
        ``(M, M)`` distances in [0, 2] from row to column; 0 to and from frames without boxes.
    """
    totals = np.bincount(frame, weights=scores, minlength=frames) + EPS
    weights = (scores / totals[frame]).astype(np.float32)
    result = np.zeros((frames, frames), dtype=np.float32)
    _, first_box = np.unique(labels, return_index=True)
    for label in labels[np.sort(first_box)]:  # an order that does not depend on how classes are numbered
        own = np.flatnonzero(labels == label)
        mass = np.bincount(frame[own], weights=weights[own], minlength=frames)
        result[:, np.bincount(frame[own], minlength=frames) == 0] += (UNMATCHED * mass[:, None]).astype(np.float32)
        _add_matches(result, rows[own], weights[own], frame[own])
    result[:, np.bincount(frame, minlength=frames) == 0] = 0
    return result


def _add_matches(result: Matrix, rows: Matrix, weights: NDArray[np.float32], frame: NDArray[np.int64]) -> None:
    """Add the weighted distances between boxes of one class; each product of two blocks serves both directions."""
    there, starts = np.unique(frame, return_index=True)
    blocks = _blocks(starts, len(rows))
    pairs = [(a, b) for a in range(len(blocks)) for b in range(a, len(blocks))]

    def compare(number: int, _: int) -> None:
        (a, a_rows), (b, b_rows) = (blocks[block] for block in pairs[number])
        cosines = rows[a_rows] @ rows[b_rows].T
        a_starts, b_starts = starts[a] - a_rows.start, starts[b] - b_rows.start
        nearest = _distances(np.maximum.reduceat(cosines, b_starts, axis=1)) * weights[a_rows, None]
        result[np.ix_(there[a], there[b])] += np.add.reduceat(nearest, a_starts, axis=0)
        if a != b:
            nearest = _distances(np.maximum.reduceat(cosines, a_starts, axis=0)) * weights[b_rows]
            result[np.ix_(there[b], there[a])] += np.add.reduceat(nearest, b_starts, axis=1).T

    map_chunks(compare, len(pairs), 1)  # threads write to different cells


def _blocks(starts: NDArray[np.int64], count: int) -> list[tuple[slice, slice]]:
    """Return blocks of whole frames, at least one each, of up to `BLOCK` boxes: which frames, and which boxes."""
    ends = np.append(starts[1:], count)
    blocks, begin = [], 0
    while begin < len(starts):
        end = max(begin + 1, int(np.searchsorted(ends, starts[begin] + BLOCK, side='right')))
        blocks.append((slice(begin, end), slice(int(starts[begin]), int(ends[end - 1]))))
        begin = end
    return blocks


def _distances(cosines: Matrix) -> Matrix:
    return np.clip(1 - cosines, 0, UNMATCHED)
