"""The features of the selected frames, to compare candidates with; optionally reduced to representatives."""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
BLOCK = 1024  # features that a candidate is compared with at a time; rejected ones rarely need all of them


def unit_rows(features: NDArray[np.floating]) -> Features:
    """Scale the rows of ``(N, D)`` features to length 1; a zero row stays zero, so its cosines are 0.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    features = np.asarray(features, dtype=np.float32)
    lengths = np.sqrt(np.einsum('nd,nd->n', features, features))[:, None]
    with np.errstate(invalid='ignore'):  # infinite features give NaN, which `Similarity` reports
        return features / np.where(lengths > 0, lengths, 1)


class SelectedFeatures:
    """A growing list of unit features, read in blocks that end where a frame's features end.

    Args:
        width: Feature dimension D.
        cluster: Keep at most this many representatives (the features nearest to k-means centres) whenever more than
            twice as many are there; that bounds memory and the cost of a visit (D-5 of spec 4.3). None keeps all.

    Attributes:
        total: Number of features ever added.
    """

    def __init__(self, width: int, cluster: int | None = None) -> None:
        self.total = 0
        self._cluster = cluster
        self._rows: Features = np.empty((BLOCK, width), dtype=np.float32)
        self._size = 0  # rows in use
        self._condensed = 0  # so many of the features ...
        self._representatives = 0  # ... are represented by so many first rows
        self._block_ends: list[int] = []

    def __len__(self) -> int:
        return self._size

    def add(self, rows: Features) -> None:
        """Append the ``(N, D)`` features of one frame."""
        needed = self._size + len(rows)
        if needed > len(self._rows):
            grown = np.empty((2 * needed, self._rows.shape[1]), dtype=np.float32)
            grown[: self._size] = self._rows[: self._size]
            self._rows = grown
        self._rows[self._size : needed] = rows
        self._size, self.total = needed, self.total + len(rows)
        if self._cluster and self._size > 2 * self._cluster:
            kept = representatives(self._rows[: self._size], self._cluster)
            self._size = self._representatives = len(kept)
            self._rows[: self._size] = kept
            self._condensed = self.total
        if self.total - (self._block_ends[-1] if self._block_ends else 0) >= BLOCK:
            self._block_ends.append(self.total)

    def block(self, seen: int) -> tuple[Features, int]:
        """Return what to compare with next, and how many features count as seen after that.

        Args:
            seen: Features seen so far, less than `total`.
        """
        if seen < self._condensed:
            return self._rows[: self._representatives], self._condensed
        following = bisect_right(self._block_ends, seen)
        stop = self._block_ends[following] if following < len(self._block_ends) else self.total
        shift = self._representatives - self._condensed
        return self._rows[seen + shift : stop + shift], stop


def representatives(rows: Features, count: int) -> Features:
    """Return at most ``count`` of the ``(N, D)`` rows: those nearest to the centres of k-means with a fixed seed."""
    rows = np.unique(rows, axis=0)
    if len(rows) <= count:
        return rows
    from sklearn.cluster import KMeans  # takes seconds to import
    from sklearn.metrics import pairwise_distances_argmin

    centres = KMeans(count, n_init=1, random_state=0).fit(rows).cluster_centers_
    return rows[np.unique(pairwise_distances_argmin(centres, rows))]
