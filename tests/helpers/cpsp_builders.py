"""Small pools, clouds and generations for the tests of confident pseudo-scenes."""

import numpy as np

from ssal3d.cpsp.refresh import refresh
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.predictions import PoolPredictions

CLASSES = ('Car', 'Pedestrian', 'Cyclist')
SIZES = {'Car': (4.0, 2.0, 1.5), 'Pedestrian': (0.8, 0.6, 1.7), 'Cyclist': (1.8, 0.6, 1.7)}


def box(x, y, name='Car', yaw=0.0, z=-1.0):
    return np.array([x, y, z, *SIZES[name], yaw])


def points_in(boxes, count, rng, channels=4):
    """`count` points strictly inside every box."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    owner = np.repeat(np.arange(len(boxes)), count)
    local = rng.uniform(-0.45, 0.45, (len(owner), 3)) * boxes[owner, 3:6]
    cos, sin = np.cos(boxes[owner, 6]), np.sin(boxes[owner, 6])
    turned = np.stack((local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos, local[:, 2]), 1)
    rest = rng.random((len(owner), channels - 3))
    return np.column_stack((boxes[owner, :3] + turned, rest)).astype(np.float32)


def predictions_of(frames, classes=CLASSES):
    """Pool predictions from ``{frame_id: [(box, score, class name), ...]}``."""
    ids = sorted(frames)
    flat = [entry for frame_id in ids for entry in frames[frame_id]]
    return PoolPredictions(
        np.array(ids, dtype=np.str_),
        np.cumsum([0, *(len(frames[frame_id]) for frame_id in ids)], dtype=np.int64),
        np.array([entry[0] for entry in flat], dtype=np.float32).reshape(-1, 7),
        np.array([entry[1] for entry in flat], dtype=np.float32),
        np.array([classes.index(entry[2]) for entry in flat], dtype=np.int16),
        tuple(classes),
    )


class RandomPool:
    """Frames with clutter and objects on a coarse grid, and scripted predictions that come and go."""

    def __init__(self, frames, seed=0, channels=4):
        rng = np.random.default_rng(seed)
        self.seed, self.ids, self.objects, self.clouds = seed, [f'{frame:04d}' for frame in range(frames)], {}, {}
        for frame_id in self.ids:
            cells = rng.permutation([(x, y) for x in range(5, 65, 6) for y in range(-30, 31, 6)])[:8]
            names = rng.choice(CLASSES, len(cells), p=(0.6, 0.2, 0.2))
            self.objects[frame_id] = [
                (box(*(cell + rng.normal(0, 0.5, 2)), name, rng.uniform(-np.pi, np.pi)), str(name))
                for cell, name in zip(cells, names)
            ]
            boxes = [entry[0] for entry in self.objects[frame_id]]
            clutter = rng.uniform(
                (0, -40, -2, *[0] * (channels - 3)), (70, 40, 1, *[1] * (channels - 3)), (600, channels)
            )
            cloud = np.concatenate((points_in(boxes, 12, rng, channels), clutter.astype(np.float32)))
            self.clouds[frame_id] = rng.permutation(cloud)

    def load_points(self, frame_id):
        return self.clouds[frame_id].copy()

    def predict(self, round_number, noise=0.15, ids=None):
        rng = np.random.default_rng((self.seed, round_number))
        frames = {}
        for frame_id in self.ids if ids is None else ids:
            entries = []
            for centre, name in self.objects[frame_id]:
                if rng.random() < 0.8:
                    jitter = np.append(rng.normal(0, noise, 3), np.append(rng.normal(0, 0.03, 3), rng.normal(0, 0.05)))
                    seen = name if rng.random() < 0.9 else str(rng.choice(CLASSES))
                    scores = (0.15, 0.2, 0.5, rng.random(), *rng.uniform(0.8, 1, 4))
                    entries.append((centre + jitter, rng.choice(scores), seen))
            for _ in range(rng.integers(0, 4)):
                entries.append((box(*rng.uniform((0, -40), (70, 40))), 0.1 + 0.3 * rng.random(), 'Car'))
            frames[frame_id] = entries
        return predictions_of(frames)


def small_generation(rng, counts, false_positives=(), points=30, classes=CLASSES, channels=4):
    """A generation whose objects stand 8 m apart: ``counts`` confident ones by class, `points` points each.

    Args:
        rng: For the points.
        counts: ``{class name: number}``.
        false_positives: The same as pairs.
        points: Points of every object.
    """
    wanted = [(name, 0.9) for name, count in dict(counts).items() for _ in range(count)]
    wanted += [(name, 0.15) for name, count in dict(false_positives).items() for _ in range(count)]
    entries = [(box(5 + 8 * (k % 8), -28 + 8 * (k // 8), name), score, name) for k, (name, score) in enumerate(wanted)]
    cloud = np.concatenate(
        [np.empty((0, channels), np.float32), *(points_in([entry[0]], points, rng, channels) for entry in entries)]
    )
    return refresh(lambda _: cloud, classes, cpsp_settings(), predictions=predictions_of({'0000': entries}, classes))


def object_points(generation, row):
    """A copy of an object's points at its place in its frame."""
    entry = generation.objects[row]
    points = np.array(generation.points[entry['offset'] : entry['offset'] + entry['n_pts']])
    points[:, :3] += entry['box'][:3]
    return points


def same(first, second):
    """Whether two generations are equal to the byte."""
    names = ('objects', 'points', 'frames', 'masks', 'preds')
    return first.meta == second.meta and all(
        getattr(first, name).dtype == getattr(second, name).dtype
        and getattr(first, name).tobytes() == getattr(second, name).tobytes()
        for name in names
    )
