"""Box-level diversity (B_Div, Eq. 5 of S-SSAL, arXiv 2501.15449): how much of a frame the query holds already.

The similarity of a frame is the mean over its boxes of the highest cosine with any selected feature. It only grows
while features are selected. So a box keeps its running maximum and never meets a feature twice; it meets one only when
its frame is about to be visited, and none any more once the frame is known to be too similar.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.checks import check_box_features
from ssal3d.predictions.stored import StoredColumn

Features = NDArray[np.float32]
BLOCK = 1024  # features that a candidate is compared with at a time; rejected ones rarely need all of them
LOOK_AHEAD = 16  # frames compared together: products of a dozen rows use a third of a core's arithmetic
FIRST = 2**12  # rows of a stored column that are read ahead at first
WHOLE = 2**26  # bytes of a stored column up to which all of it is read at once
AHEAD = 2**27  # bytes of a larger one that are read ahead at most


class Similarity:
    """Similarity of every frame of a pool to a growing selection.

    Args:
        features: ``(K, D)`` features of all boxes of the pool; stored ones are read for the frames that are compared.
        offsets: ``(F + 1,)`` position of each frame's first box.
        frame_ids: ``(F,)`` names for error messages.
        div: ``'union'``: the highest cosine over all selected features (Eq. 5); ``'per_frame'``: the highest
            similarity to one selected frame, never more than the union's (released code, docs/deviations.md#cal).
        cluster: See `SelectedFeatures`; with ``'union'`` only.
    """

    def __init__(
        self,
        features: NDArray[np.floating] | StoredColumn,
        offsets: NDArray[np.int64],
        frame_ids: Sequence[str] | NDArray[np.str_],
        div: str = 'union',
        cluster: int | None = None,
    ) -> None:
        self._features, self._offsets, self._frame_ids = features, offsets, frame_ids
        self._ahead = ReadAhead(features, offsets)
        self._union = div == 'union'
        self._selected = SelectedFeatures(features.shape[1], cluster)
        self._scenes: list[int] = []  # first feature of each selected frame
        self._seen = np.zeros(len(frame_ids), dtype=np.int64)
        self._similarity = np.zeros(len(frame_ids), dtype=np.float64)
        self._best = np.zeros(len(features), dtype=np.float32)  # per box, with 'union' only
        self._visited: tuple[int, Features] | None = None  # the frame visited last and its unit features

    def visit(self, frames: Sequence[int] | NDArray[np.integer], t_sim: float) -> Iterator[tuple[int, float]]:
        """Yield the frames that are less similar to what is selected at that moment, with their similarity.

        Args:
            frames: Frames in the order of the visit; frames may be added to the selection between two of them.
            t_sim: Similarity from which on a frame is passed over; comparing stops there.
        """
        order = np.asarray(frames, dtype=np.int64)
        places = np.flatnonzero(self._below(order, t_sim))  # similarities only grow: the others need no look
        if not len(places):
            return
        windows = np.split(order[places], np.flatnonzero(np.diff(places // LOOK_AHEAD)) + 1)
        for window, raw in zip(windows, self._ahead.rows_of(windows)):
            rows = self._split(window, raw)
            self._compare(rows, t_sim)
            for frame in window[self._below(window, t_sim)].tolist():
                self._compare({frame: rows[frame]}, t_sim)  # with what was selected since the line above
                if (found := self._value(frame)) < t_sim:
                    self._visited = frame, rows[frame]
                    yield frame, found

    def of(self, frame: int) -> float:
        """Return the similarity of a frame in [0, 1]; 0 without boxes and while nothing is selected."""
        self._compare(self._unit_rows([frame]), np.inf)
        return self._value(frame)

    def add(self, frame: int) -> None:
        """Add the features of a frame of the pool to the selection."""
        visited, rows = self._visited or (None, None)
        self.add_scene(self._unit_rows([frame])[frame] if rows is None or visited != frame else rows)

    def add_scene(self, rows: Features) -> None:
        """Add the ``(N, D)`` unit features of a frame that need not be in the pool to the selection."""
        if len(rows):
            self._scenes.append(self._selected.total)
            self._selected.add(rows)

    def _value(self, frame: int) -> float:
        """Return the similarity, rounded to the accuracy of float32 cosines so that last bits decide nothing."""
        return round(float(self._similarity[frame]), 6)

    def _below(self, frames: NDArray[np.int64], t_sim: float) -> NDArray[np.bool_]:
        """Return which frames have a `_value` below ``t_sim`` as far as they were compared."""
        found = self._similarity[frames]
        below = found < t_sim
        for near in np.flatnonzero(np.abs(found - t_sim) < 1e-6):  # where rounding decides
            below[near] = self._value(int(frames[near])) < t_sim
        return below

    def _compare(self, rows: Mapping[int, Features], t_sim: float) -> None:
        """Bring frames, given with their features, up to date: together if equally far, each until ``t_sim``."""
        pending = np.array([frame for frame in rows if len(rows[frame])], dtype=np.int64)
        while True:
            pending = pending[self._seen[pending] < self._selected.total]
            pending = pending[self._below(pending, t_sim)]
            if not len(pending):
                return
            seen = int(self._seen[pending].min())
            group = pending[self._seen[pending] == seen]
            block, now_seen = self._selected.block(seen)
            members = [rows[frame] for frame in group.tolist()]
            cosines = (np.concatenate(members) if len(members) > 1 else members[0]) @ block.T
            update = self._update_union if self._union else self._update_per_frame
            update(group, cosines, seen)
            self._seen[group] = now_seen

    def _update_union(self, frames: NDArray[np.int64], cosines: Features, seen: int) -> None:
        """Raise the running maximum of every box of some frames, then the frames' means."""
        boxes, starts, sizes = boxes_of(frames, self._offsets)
        self._best[boxes] = np.maximum(self._best[boxes], cosines.max(axis=1))
        self._similarity[frames] = np.add.reduceat(self._best[boxes].astype(np.float64), starts) / sizes

    def _update_per_frame(self, frames: NDArray[np.int64], cosines: Features, seen: int) -> None:
        """Raise the similarity of some frames to the most similar of the selected frames behind ``seen``."""
        _, starts, sizes = boxes_of(frames, self._offsets)
        scenes = [scene - seen for scene in self._scenes if seen <= scene < seen + cosines.shape[1]]
        per_scene = np.maximum.reduceat(cosines, scenes, axis=1).astype(np.float64)
        means = np.add.reduceat(per_scene, starts, axis=0) / sizes[:, None]
        self._similarity[frames] = np.maximum(self._similarity[frames], means.max(axis=1))

    def _unit_rows(self, frames: Sequence[int]) -> dict[int, Features]:
        """Return the unit features of each frame's boxes."""
        chosen = np.asarray(frames, dtype=np.int64)
        return self._split(chosen, self._features[boxes_of(chosen, self._offsets)[0]])

    def _split(self, frames: NDArray[np.int64], features: NDArray[np.floating]) -> dict[int, Features]:
        """Return the unit features of each frame's boxes, given all of them one after another."""
        sizes = self._offsets[frames + 1] - self._offsets[frames]
        rows = unit_rows(features)
        check_box_features(rows, np.repeat(frames, sizes), self._frame_ids)
        ends = np.cumsum(sizes).tolist()
        return {frame: rows[end - size : end] for frame, size, end in zip(frames.tolist(), sizes.tolist(), ends)}


def unit_rows(features: NDArray[np.floating]) -> Features:
    """Scale the rows of ``(N, D)`` features to length 1; a zero row stays zero, so its cosines are 0.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    features = np.asarray(features, dtype=np.float32)
    lengths = np.sqrt(np.einsum('nd,nd->n', features, features))[:, None]
    with np.errstate(invalid='ignore'):  # infinite features give NaN, which `Similarity` reports
        return np.divide(features, np.where(lengths > 0, lengths, 1), dtype=np.float32)


class SelectedFeatures:
    """A growing list of unit features, read in blocks that end where a frame's features end.

    Args:
        width: Feature dimension D.
        cluster: Keep at most this many representatives (the features nearest to k-means centres) whenever more than
            twice as many are there; that bounds memory and the cost of a visit. None keeps all. The paper mentions
            clustering without details.

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


class ReadAhead:
    """Rows of a column frame by frame, in an order that is known in advance.

    A stored column is read for many frames at once, every time twice as far, or as a whole where it is small; what was
    read stays for the next order.

    Args:
        column: ``(K, width)`` rows of all boxes.
        offsets: ``(F + 1,)`` position of each frame's first box.
    """

    def __init__(self, column: NDArray[np.floating] | StoredColumn, offsets: NDArray[np.int64]) -> None:
        small = len(column) * column.shape[1] * column.dtype.itemsize <= WHOLE
        self._column = np.asarray(column) if small else column
        self._offsets = offsets
        self._known: dict[int, NDArray[np.floating]] = {}
        self._limit = FIRST

    def rows_of(self, parts: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.floating]]:
        """Yield the rows of all frames of each part, one after another.

        Args:
            parts: Frames of each part, in the order in which they are wanted.
        """
        for number, part in enumerate(parts):
            if isinstance(self._column, StoredColumn):
                frames = part.tolist()
                if not all(frame in self._known for frame in frames):
                    self._read(parts[number:])
                yield np.concatenate([self._known[frame] for frame in frames])
            else:
                yield self._column[boxes_of(part, self._offsets)[0]]

    def _read(self, parts: Iterable[NDArray[np.int64]]) -> None:
        """Read the frames of as many parts as the limit allows, at least those of the first one."""
        assert isinstance(self._column, StoredColumn)
        most = AHEAD // (self._column.shape[1] * self._column.dtype.itemsize)
        if sum(map(len, self._known.values())) + self._limit > most:
            self._known.clear()
        wanted: list[int] = []
        rows = 0
        for part in parts:
            wanted += [frame for frame in part.tolist() if frame not in self._known]
            rows += int((self._offsets[part + 1] - self._offsets[part]).sum())
            if rows >= self._limit:
                break
        frames = np.array(wanted, dtype=np.int64)
        boxes, starts, _ = boxes_of(frames, self._offsets)
        self._known.update(zip(wanted, np.split(self._column[boxes], starts[1:])))
        self._limit = min(2 * self._limit, most)


def boxes_of(
    frames: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of some frames' boxes, where each frame starts among them, and how many it has.

    Args:
        frames: ``(N,)`` frames in any order.
        offsets: ``(F + 1,)`` position of each frame's first box.
    """
    first = offsets[frames]
    sizes = offsets[frames + 1] - first
    starts = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(first - starts, sizes), starts, sizes
