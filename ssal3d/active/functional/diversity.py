"""Box-level diversity (B_Div, Eq. 5 of the paper): how much of a frame the query holds already.

The similarity of a frame is the mean over its boxes of the highest cosine with any selected feature. It only grows
while features are selected. So a box keeps its running maximum and never meets a feature twice; it meets one only when
its frame is about to be visited, and none any more once the frame is known to be too similar.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.checks import check_box_features
from ssal3d.active.functional.selected_features import Features, SelectedFeatures, unit_rows

LOOK_AHEAD = 16  # frames compared together: products of a dozen rows use a third of a core's arithmetic


class Similarity:
    """Similarity of every frame of a pool to a growing selection.

    Args:
        features: ``(K, D)`` features of all boxes of the pool.
        offsets: ``(F + 1,)`` position of each frame's first box.
        frame_ids: ``(F,)`` names for error messages.
        div: ``'union'``: the highest cosine over all selected features (Eq. 5); ``'per_frame'``: the highest
            similarity to one selected frame, never more than the union's (released code, D-4 of spec 4.3).
        cluster: See `SelectedFeatures`; with ``'union'`` only.
    """

    def __init__(
        self,
        features: NDArray[np.floating],
        offsets: NDArray[np.int64],
        frame_ids: Sequence[str] | NDArray[np.str_],
        div: str = 'union',
        cluster: int | None = None,
    ) -> None:
        self._features, self._offsets, self._frame_ids = features, offsets, frame_ids
        self._union = div == 'union'
        self._selected = SelectedFeatures(features.shape[1], cluster)
        self._scenes: list[int] = []  # first feature of each selected frame
        self._seen = np.zeros(len(frame_ids), dtype=np.int64)
        self._similarity = np.zeros(len(frame_ids), dtype=np.float64)
        self._best = np.zeros(len(features), dtype=np.float32)  # per box, with 'union' only

    def visit(self, frames: Sequence[int], t_sim: float) -> Iterator[tuple[int, float]]:
        """Yield frames with their similarity to what is selected at that moment.

        Args:
            frames: Frames in the order of the visit; frames may be added to the selection between two of them.
            t_sim: Comparing stops when a similarity reaches this, so values above it are lower bounds.
        """
        for start in range(0, len(frames), LOOK_AHEAD):
            rows = self._unit_rows(frames[start : start + LOOK_AHEAD])
            self._compare(rows, t_sim)
            for frame in rows:
                self._compare({frame: rows[frame]}, t_sim)  # with what was selected since the line above
                yield frame, self._value(frame)

    def of(self, frame: int) -> float:
        """Return the similarity of a frame in [0, 1]; 0 without boxes and while nothing is selected."""
        self._compare(self._unit_rows([frame]), np.inf)
        return self._value(frame)

    def add(self, frame: int) -> None:
        """Add the features of a frame of the pool to the selection."""
        self.add_scene(self._unit_rows([frame])[frame])

    def add_scene(self, rows: Features) -> None:
        """Add the ``(N, D)`` unit features of a frame that need not be in the pool to the selection."""
        if len(rows):
            self._scenes.append(self._selected.total)
            self._selected.add(rows)

    def _value(self, frame: int) -> float:
        """Return the similarity, rounded to the accuracy of float32 cosines so that last bits decide nothing."""
        return round(float(self._similarity[frame]), 6)

    def _compare(self, rows: Mapping[int, Features], t_sim: float) -> None:
        """Bring frames, given with their features, up to date: together if equally far, each until ``t_sim``."""
        pending = [frame for frame in rows if len(rows[frame])]
        while pending := [f for f in pending if self._seen[f] < self._selected.total and self._value(f) < t_sim]:
            seen = min(self._seen[frame] for frame in pending)
            group = [frame for frame in pending if self._seen[frame] == seen]
            block, now_seen = self._selected.block(seen)
            cosines = np.concatenate([rows[frame] for frame in group]) @ block.T
            update = self._update_union if self._union else self._update_per_frame
            update(group, cosines, seen)
            self._seen[group] = now_seen

    def _update_union(self, frames: list[int], cosines: Features, seen: int) -> None:
        """Raise the running maximum of every box of some frames, then the frames' means."""
        boxes, starts, sizes = self._boxes(frames)
        self._best[boxes] = np.maximum(self._best[boxes], cosines.max(axis=1))
        self._similarity[frames] = np.add.reduceat(self._best[boxes].astype(np.float64), starts) / sizes

    def _update_per_frame(self, frames: list[int], cosines: Features, seen: int) -> None:
        """Raise the similarity of some frames to the most similar of the selected frames behind ``seen``."""
        _, starts, sizes = self._boxes(frames)
        scenes = [scene - seen for scene in self._scenes if seen <= scene < seen + cosines.shape[1]]
        per_scene = np.maximum.reduceat(cosines, scenes, axis=1).astype(np.float64)
        means = np.add.reduceat(per_scene, starts, axis=0) / sizes[:, None]
        self._similarity[frames] = np.maximum(self._similarity[frames], means.max(axis=1))

    def _boxes(self, frames: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions of some frames' boxes, where each frame starts among them, and how many it has."""
        first = self._offsets[frames]
        sizes = self._offsets[1:][frames] - first
        starts = np.cumsum(sizes) - sizes
        return np.arange(sizes.sum()) + np.repeat(first - starts, sizes), starts, sizes

    def _unit_rows(self, frames: Sequence[int]) -> dict[int, Features]:
        """Return the unit features of each frame's boxes."""
        boxes, starts, sizes = self._boxes(frames)
        rows = unit_rows(self._features[boxes])
        check_box_features(rows, np.repeat(frames, sizes), self._frame_ids)
        return dict(zip(frames, np.split(rows, starts[1:])))
