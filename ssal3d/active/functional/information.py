"""The information in the boxes of some frames, and the greedy purchase of what is worth most at the moment.

Every box b has a unit feature ``x_b`` and a worth ``q_b``. With ``M = I + 1/sigma^2 sum q_b x_b x_b^T`` over the bought
boxes their information is ``1/2 log det M`` nats: Bayesian D-optimal design, in which a box adds little along
directions that are bought already. More boxes never lower it, and it has diminishing returns (it is submodular): what a
frame adds only shrinks while others are bought, so a greedy need not look again at a frame whose last known gain is too
small (Minoux 1978; Leskovec et al. 2007).
"""

import heapq
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.chunks import map_chunks
from ssal3d.active.functional.diversity import Features, boxes_of, unit_rows

FIT_ROWS = 2**14  # rows that decide on the directions to keep; evenly spaced ones where there are more
ROWS = 4096  # rows of a matrix product
BATCH = 32  # frames that are valued together; doubled while a purchase needs more
BUCKET = 4  # frames are padded to a multiple of so many boxes


class Information:
    """The information of a growing set of bought boxes, and what each frame of a pool would add to it.

    Args:
        features: ``(K, D)`` features of all boxes, of length 1 (or 0: such boxes tell nothing).
        entropies: ``(K,)`` worth of the boxes, >= 0, with a class weight of 1.
        labels: ``(K,)`` classes of the boxes.
        offsets: ``(F + 1,)`` position of each frame's first box.
        classes: Number of classes C.
        sigma: Noise of one look at a box, in lengths of a feature.

    Attributes:
        weights: ``(C,)`` factors of the boxes' worth, 1 at first; may be lowered while boxes are bought.
    """

    def __init__(
        self,
        features: Features,
        entropies: NDArray[np.floating],
        labels: NDArray[np.integer],
        offsets: NDArray[np.int64],
        classes: int,
        sigma: float,
    ) -> None:
        self.weights: NDArray[np.float64] = np.ones(classes)
        self._features, self._labels, self._offsets = features, labels, offsets
        self._precisions = np.asarray(entropies, dtype=np.float64) / sigma**2
        self._sigma = sigma
        self._total = np.eye(features.shape[1])  # M
        self._whitening = np.eye(features.shape[1])  # W with M^-1 = W W^T

    @property
    def value(self) -> float:
        """``1/2 log det M`` of what was added so far, in nats."""
        return 0.5 * float(np.linalg.slogdet(self._total)[1])

    def gains(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how much each of some frames would add in nats, >= 0, together with all of its boxes.

        O(n D (D + n)) per frame of n boxes. Rounded to 9 decimals: last bits decide nothing.
        """
        return np.concatenate(map_chunks(lambda start, stop: self._gains(frames[start:stop]), len(frames)))

    def add_frame(self, frame: int) -> None:
        """Add the boxes of a frame of the pool, with the weights that their classes have now."""
        boxes = np.arange(self._offsets[frame], self._offsets[frame + 1])
        self._add(self._scaled(boxes))

    def add(self, features: Features) -> None:
        """Add ``(N, D)`` unit features of boxes that need not be in the pool, with worth 1."""
        self._add(features.astype(np.float64) / self._sigma)

    def _add(self, rows: NDArray[np.float64]) -> None:
        """Add ``(N, D)`` rows ``sqrt(q) x / sigma``; O(N D^2 + D^3).

        Decomposing M anew is as fast as a Woodbury update at D = 64, and no errors add up.
        """
        self._total += rows.T @ rows
        self._whitening = np.linalg.inv(np.linalg.cholesky(self._total)).T

    def _scaled(self, boxes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the ``(N, D)`` rows ``sqrt(q) x / sigma`` of some boxes."""
        scale = np.sqrt(self._precisions[boxes] * self.weights[self._labels[boxes]])
        return self._features[boxes] * scale[:, None]

    def _gains(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        """Value frames in groups of about equally many boxes: ``1/2 log det(I_n + A M^-1 A^T)`` with rows A."""
        gains = np.zeros(len(frames))
        boxes, starts, sizes = boxes_of(frames, self._offsets)
        rows = self._scaled(boxes) @ self._whitening
        rows = np.concatenate((rows, np.zeros((1, rows.shape[1]))))  # what frames are padded with: it adds nothing
        buckets = -(-sizes // BUCKET)
        for bucket in np.unique(buckets[buckets > 0]).tolist():
            group = np.flatnonzero(buckets == bucket)
            place = np.arange(bucket * BUCKET)
            own = rows[np.where(place < sizes[group, None], starts[group, None] + place, -1)]
            small = own.shape[1] <= own.shape[2]  # the determinant of either Gram matrix is the same
            gram = own @ own.swapaxes(1, 2) if small else own.swapaxes(1, 2) @ own
            diagonal = np.arange(gram.shape[1])
            gram[:, diagonal, diagonal] += 1
            factors = np.linalg.cholesky(gram)
            gains[group] = np.log(factors[:, diagonal, diagonal]).sum(axis=1)
        return gains.round(9)


def lazy_greedy(
    values: Callable[[NDArray[np.int64]], NDArray[np.float64]], items: NDArray[np.int64]
) -> Iterator[tuple[int, float]]:
    """Yield items, always one of the highest current value, with that value; ties by position.

    The caller buys an item before asking for the next. No purchase may raise a value: the last known value of an item
    then bounds it from above, and only items whose bound is on top are valued again. The order is that of a greedy
    which values everything at every step.

    Args:
        values: Gives the current values of some items.
        items: Positions of all items.

    >>> worth = np.array([1.0, 3.0, 2.0])
    >>> list(lazy_greedy(lambda items: worth[items], np.arange(3)))
    [(1, 3.0), (2, 2.0), (0, 1.0)]
    """
    heap = [(-value, item, 0) for item, value in zip(items.tolist(), values(items).tolist())]
    heapq.heapify(heap)
    bought = 0
    while heap:
        batch = BATCH
        while heap[0][2] < bought:
            stale: list[int] = []
            while heap and heap[0][2] < bought and len(stale) < batch:
                stale.append(heapq.heappop(heap)[1])
            for value, item in zip(values(np.array(stale)).tolist(), stale):
                heapq.heappush(heap, (-value, item, bought))
            batch *= 2
        value, item, _ = heapq.heappop(heap)
        bought += 1
        yield item, -value


def leading_directions(features: NDArray[np.floating], dim: int) -> NDArray[np.float64]:
    """Return the ``(D, d)`` orthonormal directions, d <= ``dim``, that hold most of the rows' length.

    They are the leading eigenvectors of the ``(D, D)`` second moments of the unit rows, each with its largest
    component positive. With ``D <= dim`` there is nothing to leave out: the identity.

    Args:
        features: ``(K, D)`` features of all boxes, finite.
        dim: Directions to keep.
    """
    width = features.shape[1]
    if width <= dim:
        return np.eye(width)
    sample = features[:: max(1, -(-len(features) // FIT_ROWS))]

    def moments(start: int, stop: int) -> NDArray[np.float64]:
        rows = unit_rows(sample[start:stop])
        return (rows.T @ rows).astype(np.float64)

    total = sum(map_chunks(moments, len(sample), ROWS), np.zeros((width, width)))
    vectors = np.linalg.eigh(total)[1][:, ::-1][:, :dim]
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.where(vectors[largest, np.arange(dim)] < 0, -1.0, 1.0)


def project(features: NDArray[np.floating], directions: NDArray[np.float64]) -> Features:
    """Return the ``(K, d)`` parts of ``(K, D)`` features along ``(D, d)`` orthonormal directions, of length 1."""
    narrow = directions.astype(np.float32)

    def part(start: int, stop: int) -> Features:
        return unit_rows(unit_rows(features[start:stop]) @ narrow)

    return np.concatenate(map_chunks(part, len(features), ROWS))


def class_weights(counts: NDArray[np.integer], start: NDArray[np.integer], balance: float) -> NDArray[np.float64]:
    """Return ``((1 + min start) / (1 + N_c)) ^ balance``: 1 for the rarest class at the start, less for frequent ones.

    The scale is fixed at the start, so weights only shrink while boxes are bought.

    Args:
        counts: ``(C,)`` boxes N_c that are labelled or bought.
        start: ``(C,)`` boxes that were labelled before the first purchase.
        balance: Exponent >= 0; 0 treats all classes alike.

    >>> class_weights(np.array([99, 0]), np.array([99, 0]), 0.5).tolist()
    [0.1, 1.0]
    """
    return ((1 + np.min(start)) / (1 + np.asarray(counts))) ** balance
