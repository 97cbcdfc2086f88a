"""Small pools written out by hand, for the tests of this folder."""

from collections.abc import Mapping, Sequence

import numpy as np

from ssal3d.data.label_state import LabelState
from ssal3d.predictions import PoolPredictions

CLASSES = ('Car', 'Pedestrian', 'Cyclist')


def make_pool(
    frames: Mapping[str, Sequence[Mapping]], classes: Sequence[str] = CLASSES, width: int = 2, **metadata
) -> PoolPredictions:
    """Build predictions from boxes ``{'label': 'Car', 'score': 0.5, 'box': [7 numbers], 'feature': [...]}``.

    A box without ``box`` stands far from all others.
    """
    boxes = [box for frame_id in sorted(frames) for box in frames[frame_id]]
    far = iter(range(1000, 10**6, 50))
    features = [box.get('feature', [0.0] * width) for box in boxes]
    logits = [box.get('logits', [0.0] * len(classes)) for box in boxes]
    return PoolPredictions(
        frame_ids=np.array(sorted(frames), dtype=np.str_),
        offsets=np.concatenate(([0], np.cumsum([len(frames[frame_id]) for frame_id in sorted(frames)]))).astype(int),
        boxes=np.array([box.get('box') or [next(far), 0, 0, 4, 2, 1.5, 0] for box in boxes], np.float32).reshape(-1, 7),
        scores=np.array([box['score'] for box in boxes], dtype=np.float32),
        labels=np.array([classes.index(box['label']) for box in boxes], dtype=np.int16),
        classes=tuple(classes),
        fields={
            'box_features': np.array(features, dtype=np.float32).reshape(len(boxes), -1 if boxes else width),
            'class_logits': np.array(logits, dtype=np.float32).reshape(len(boxes), len(classes)),
            'lidar2img': np.tile(np.eye(4, dtype=np.float32).reshape(1, 16), (len(frames), 1)),
            'image_shape': np.tile(np.array([[100, 200]], dtype=np.float32), (len(frames), 1)),
        },
        metadata=metadata,
        source='test pool',
    )


def box(label: str = 'Car', score: float = 0.5, **more) -> dict:
    return {'label': label, 'score': score, **more}


def at(x: float, y: float = 0.0) -> list[float]:
    """A car-sized box at a place."""
    return [x, y, 0, 4, 2, 1.5, 0]


def unlabelled(pool: PoolPredictions) -> LabelState:
    """The state in which nothing of a pool is labelled."""
    return LabelState.empty(pool.classes, 'test', pool.frame_ids.tolist())


class Oracle:
    """Reveals counts and remembers whom it was asked about."""

    def __init__(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self.counts = counts
        self.asked: list[str] = []

    def __call__(self, frame_id: str) -> Mapping[str, int]:
        self.asked.append(frame_id)
        return self.counts[frame_id]
