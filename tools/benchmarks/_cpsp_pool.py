"""A synthetic pool for the benchmarks of confident pseudo-scenes: scans on disk and two rounds of predictions.

Scans have about 20,000 points, those in the camera's view of a 64-beam scan, with 14 objects each; predictions follow
the authors' setting: Poisson(12) boxes a frame, scores 0.1 + 0.9 Beta(0.6, 0.7), classes 80/12/8 %.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssal3d.predictions import PoolPredictions

CLASSES = ('Car', 'Pedestrian', 'Cyclist')
SIZES = np.array([[3.9, 1.6, 1.56], [0.8, 0.6, 1.73], [1.76, 0.6, 1.73]])
SHARES = (0.80, 0.12, 0.08)
NUM_SCANS = 50
NUM_OBJECTS = 14


class SyntheticPool:
    """Scans in a folder, replicated over frames, with predictions.

    Args:
        folder: Where the scans go.
        frames: Number of frames.
    """

    def __init__(self, folder: Path, frames: int) -> None:
        self.folder, self.frame_ids = folder, [f'{frame:06d}' for frame in range(frames)]
        self.rng = np.random.default_rng(0)
        self.boxes, self.labels = zip(*(self._scan(scan) for scan in range(min(NUM_SCANS, frames))))

    def load_points(self, frame_id: str) -> NDArray[np.float32]:
        """Read a frame's scan."""
        return np.fromfile(self.folder / f'{int(frame_id) % len(self.boxes):06d}.bin', np.float32).reshape(-1, 4)

    def predict(self, seed: int) -> PoolPredictions:
        """Return one round of predictions: jittered objects in 85 % of cases, else boxes anywhere."""
        rng = np.random.default_rng(seed)
        counts = rng.poisson(12, len(self.frame_ids))
        boxes, labels = [], []
        for frame, count in enumerate(counts):
            chosen = rng.permutation(NUM_OBJECTS)[: int(rng.binomial(min(count, NUM_OBJECTS), 0.85))]
            stray_boxes, stray_labels = _random_boxes(rng, count - len(chosen))
            real = self.boxes[frame % len(self.boxes)][chosen]
            boxes.append(np.concatenate((real + rng.normal(0, 0.04, real.shape), stray_boxes)))
            labels.append(np.concatenate((self.labels[frame % len(self.boxes)][chosen], stray_labels)))
        return PoolPredictions(
            np.array(self.frame_ids),
            np.concatenate(([0], np.cumsum(counts))),
            np.concatenate(boxes).astype(np.float32),
            (0.1 + 0.9 * rng.beta(0.6, 0.7, counts.sum())).astype(np.float32),
            np.concatenate(labels).astype(np.int16),
            CLASSES,
        )

    def _scan(self, scan: int) -> tuple[NDArray, NDArray]:
        """Write a scan of ground, clutter and objects; return its objects."""
        boxes, labels = _random_boxes(self.rng, NUM_OBJECTS)
        ground = self.rng.uniform((2, -40, -1.75), (70, 40, -1.7), (14000, 3))
        clutter = self.rng.uniform((2, -40, -1.7), (70, 40, 1.0), (5000, 3))
        counts = np.maximum(1, (3000 / np.maximum(boxes[:, 0], 5)).astype(int))
        owner = np.repeat(np.arange(NUM_OBJECTS), counts)
        local = self.rng.uniform(-0.48, 0.48, (len(owner), 3)) * boxes[owner, 3:6]
        cos, sin = np.cos(boxes[owner, 6]), np.sin(boxes[owner, 6])
        turned = np.stack(
            (local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos, local[:, 2]), 1
        )
        xyz = np.concatenate((ground, clutter, boxes[owner, :3] + turned))
        points = np.column_stack((xyz, self.rng.random(len(xyz)))).astype(np.float32)
        self.rng.permutation(points).tofile(self.folder / f'{scan:06d}.bin')
        return boxes, labels


def _random_boxes(rng: np.random.Generator, count: int) -> tuple[NDArray, NDArray]:
    labels = rng.choice(len(CLASSES), count, p=SHARES)
    sizes = SIZES[labels] * rng.uniform(0.9, 1.1, (count, 1))
    centres = np.column_stack((rng.uniform(5, 65, count), rng.uniform(-35, 35, count), sizes[:, 2] / 2 - 1.73))
    return np.column_stack((centres, sizes, rng.uniform(-np.pi, np.pi, count))), labels
