"""Predictions of a pool in memory: flat arrays over all boxes, with offsets per frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError
from ssal3d.predictions.stored import StoredColumn


class Ragged(NamedTuple):
    """A list per frame: ``values[offsets[f]:offsets[f + 1]]`` belongs to frame ``f``."""

    values: NDArray
    offsets: NDArray[np.int64]

    def of(self, frame: int) -> NDArray:
        """Return the values of one frame."""
        return self.values[self.offsets[frame] : self.offsets[frame + 1]]

    def where(self, kept: NDArray[np.bool_]) -> 'Ragged':
        """Return the lists with those values alone that a mask keeps, one flag for each value."""
        return Ragged(self.values[kept], np.concatenate(([0], np.cumsum(kept)))[self.offsets])


@dataclass(frozen=True)
class PoolPredictions:
    """Predictions for F frames with K boxes in total, ordered by frame id.

    Attributes:
        frame_ids: ``(F,)`` strings, ascending, unique.
        offsets: ``(F + 1,)`` position of each frame's first box.
        boxes: ``(K, 7)`` gravity-centred boxes in the LiDAR frame, m and rad.
        scores: ``(K,)`` confidences in [0, 1].
        labels: ``(K,)`` indices into ``classes``.
        classes: Class names.
        fields: Further columns by name: ``(K, ...)`` per box, ``(F, ...)`` per frame, or `Ragged`.
        metadata: What the files say about detector and settings.
        source: Where the predictions come from, for error messages.
    """

    frame_ids: NDArray[np.str_]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int16]
    classes: tuple[str, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str = 'predictions'

    def __len__(self) -> int:
        return len(self.frame_ids)

    def __getitem__(self, name: str) -> Any:
        if name not in self.fields:
            raise UserError(
                f"{self.source}: the field '{name}' is missing; predict the pool again with --fields {name},..."
            )
        return self.fields[name]

    def boxes_of(self, frame: int) -> slice:
        """Return the slice of one frame's boxes."""
        return slice(int(self.offsets[frame]), int(self.offsets[frame + 1]))

    @property
    def frame_of_box(self) -> NDArray[np.int64]:
        """``(K,)`` frame index of every box."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def index(self) -> dict[str, int]:
        """Return the position of every frame id."""
        return {str(frame_id): position for position, frame_id in enumerate(self.frame_ids)}

    def between(self, low: int, high: int) -> 'PoolPredictions':
        """Return boxes, scores and labels of consecutive frames as views, without further columns."""
        boxes = slice(int(self.offsets[low]), int(self.offsets[min(high, len(self))]))
        return PoolPredictions(
            self.frame_ids[low:high],
            self.offsets[low : min(high, len(self)) + 1] - boxes.start,
            self.boxes[boxes],
            self.scores[boxes],
            self.labels[boxes],
            self.classes,
            source=self.source,
        )

    def take(self, frames: NDArray[np.integer]) -> 'PoolPredictions':
        """Return the predictions of some frames, given by ascending positions."""
        positions = np.asarray(frames, dtype=np.int64)
        if len(positions) == len(self):
            return self
        boxes, offsets = gathered(self.offsets, positions)
        fields: dict[str, Any] = {}
        for name, values in self.fields.items():
            if isinstance(values, Ragged):
                entries, ragged_offsets = gathered(values.offsets, positions)
                fields[name] = Ragged(values.values[entries], ragged_offsets)
            else:
                rows = boxes if _is_per_box(name) else positions
                fields[name] = values.take(rows) if isinstance(values, StoredColumn) else values[rows]
        return PoolPredictions(
            self.frame_ids[positions],
            offsets,
            self.boxes[boxes],
            self.scores[boxes],
            self.labels[boxes],
            self.classes,
            fields,
            self.metadata,
            self.source,
        )


def _is_per_box(name: str) -> bool:
    from ssal3d.predictions.schema import Layout, column

    return column(name).layout is Layout.BOX


def gathered(offsets: NDArray[np.int64], frames: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the flat rows of some frames, given by position, and their new offsets."""
    counts = np.diff(offsets)[frames]
    new_offsets = np.concatenate(([0], np.cumsum(counts)))
    rows = np.arange(new_offsets[-1]) + np.repeat(offsets[frames] - new_offsets[:-1], counts)
    return rows, new_offsets
