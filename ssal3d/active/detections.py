"""What a sampler believes to be in each frame: the boxes it judges, and which of them are reliable."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssal3d.predictions import PoolPredictions


@dataclass(frozen=True)
class Detections:
    """Boxes of a pool of F frames, K in total.

    Attributes:
        predictions: The boxes; after an ensemble these are not the boxes that carry ``box_features``.
        reliable: ``(K,)`` whether a box probably is a real object; such boxes make up the predicted cost of a frame.
    """

    predictions: PoolPredictions
    reliable: NDArray[np.bool_]

    @classmethod
    def of(cls, pool: PoolPredictions) -> 'Detections':
        """Return the predictions as they are, all of them reliable."""
        return cls(pool, np.ones(len(pool.scores), dtype=bool))

    def count(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the number of boxes in ``mask`` (a ``(K,)`` selection) as ``(F, C)`` by frame and class."""
        frames, classes = len(self.predictions), len(self.predictions.classes)
        cell = self.predictions.frame_of_box[mask] * classes + self.predictions.labels[mask]
        return np.bincount(cell, minlength=frames * classes).reshape(frames, classes)

    def take(self, frames: NDArray[np.integer]) -> 'Detections':
        """Return the detections of some frames, given by ascending positions."""
        kept = np.zeros(len(self.predictions), dtype=bool)
        kept[frames] = True
        return Detections(self.predictions.take(frames), self.reliable[kept[self.predictions.frame_of_box]])
