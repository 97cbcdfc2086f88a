"""How many planted errors `ssal3d labels check` finds, on simulated frames: precision of its first 50, recall by kind.

The frames are simulated streets with their true labels. A share of the boxes is spoilt (`ssal3d.annotation.planted`).
Two emulated models see an object the more surely the more points it has, miss the others, jitter by about 10 cm, 4 %
and 2 degrees, confuse the class of one object in 50, and report about 0.6 phantoms a frame, half of which both report.
They are made up, not trained: with weaker detectors expect less.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.planted import hits, plant, precision_at, recall_by_kind
from ssal3d.annotation.prelabels import prelabels
from ssal3d.annotation.quality import suspicions
from ssal3d.data.kitti_format import Calibration, camera_boxes_to_lidar
from ssal3d.ops.boxes import points_per_box
from ssal3d.predictions import PoolPredictions
from ssal3d.simulation.camera import ROTATION, TRANSLATION
from ssal3d.simulation.frame import simulate_frame
from ssal3d.terminal import console, print_table, track

CLASSES = ('Car', 'Pedestrian', 'Cyclist')
FIRST = 50
PHANTOMS = 0.6  # a frame and model
SHARED = 0.5  # of the phantoms that both models report


def main() -> None:
    """Simulate, spoil, check and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=200, help='simulated frames (default: 200)')
    parser.add_argument('--share', type=float, default=0.08, help='of the boxes that are spoilt (default: 0.08)')
    parser.add_argument('--seed', type=int, default=0, help='of streets, errors and models (default: 0)')
    arguments = parser.parse_args()
    frames, clouds = simulated(arguments.frames, arguments.seed)
    spoilt, errors = plant(frames, CLASSES, arguments.share, arguments.seed)
    models = [emulated(frames, clouds, np.random.default_rng((arguments.seed, k)), arguments.seed) for k in (1, 2)]
    seen = prelabels([frame.frame_id for frame in frames], models[0], models[1], 0.5, 0.5)
    boxes = sum(len(frame.cuboids) for frame in frames)
    console.print(f'{len(frames)} frames, {boxes} boxes, {len(errors)} planted errors', highlight=False)
    for title, agreed in (('with two models', seen), ('without models', None)):
        start = time.monotonic()
        ranked = suspicions(spoilt, CLASSES, clouds.__getitem__, agreed)
        found = hits(ranked, errors)
        counts = recall_by_kind(found, errors)
        total = [sum(column) for column in zip(*counts.values())]
        print_table(
            f'{title}: {len(ranked)} suspicions, precision at {FIRST} {precision_at(found, FIRST):.2f}, at the number of '
            f'errors {precision_at(found, len(errors)):.2f}, {time.monotonic() - start:.1f} s',
            ('error', 'planted', 'found', 'recall'),
            [(kind, n, k, k / max(n, 1)) for kind, (k, n) in (*counts.items(), ('all', (total[0], total[1])))],
        )


def simulated(number: int, seed: int) -> tuple[list[LabelFrame], dict[str, np.ndarray]]:
    """Return labelled frames and their scans by id."""
    frames, clouds = [], {}
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = ROTATION, TRANSLATION
    for index in track(range(number), 'simulating'):
        frame, name = simulate_frame(seed, index), f'{index:06d}'
        objects = frame.objects[np.isin(frame.objects.names, CLASSES)]
        boxes = camera_boxes_to_lidar(objects, Calibration({'R0_rect': np.eye(4), 'Tr_velo_to_cam': rigid}))
        cuboids = tuple(Cuboid(str(label), tuple(box)) for label, box in zip(objects.names, boxes.tolist()))
        frames.append(LabelFrame(name, cuboids))
        clouds[name] = frame.scan.points
    return frames, clouds


def emulated(
    frames: Sequence[LabelFrame], clouds: dict[str, np.ndarray], rng: np.random.Generator, seed: int
) -> PoolPredictions:
    """Return what a model might see of right labels; phantoms that models share come from the seed."""
    common = np.random.default_rng((seed, 0))
    rows, scores, labels, offsets = [], [], [], [0]
    for frame in frames:
        counts = points_per_box(clouds[frame.frame_id], frame.boxes) if frame.cuboids else []
        for cuboid, count in zip(frame.cuboids, counts):
            sure = 1 - np.exp(-count / 25)
            if rng.random() > 0.3 + 0.69 * sure:
                continue
            noise = np.concatenate((rng.normal(0, (0.1, 0.1, 0.05)), np.zeros(3), rng.normal(0, [0.035])))
            box = np.array(cuboid.box) + noise
            box[3:6] *= np.exp(rng.normal(0, 0.04, 3))
            wrong = rng.random() < 0.02
            label = rng.integers(len(CLASSES)) if wrong else CLASSES.index(cuboid.class_name)
            _add(rows, scores, labels, box, rng.beta(2 + 6 * sure, 2), label)
        for stream, rate in ((common, PHANTOMS * SHARED), (rng, PHANTOMS * (1 - SHARED))):
            for _ in range(stream.poisson(rate)):
                place = (stream.uniform(4, 60), stream.uniform(-30, 30), -0.9)
                _add(rows, scores, labels, (*place, 0.8, 0.6, 1.7, 0.0), stream.beta(3, 4), 1)
        offsets.append(len(rows))
    pool = PoolPredictions(
        frame_ids=np.array([frame.frame_id for frame in frames]),
        offsets=np.array(offsets),
        boxes=np.array(rows, dtype=np.float32).reshape(-1, 7),
        scores=np.array(scores, dtype=np.float32),
        labels=np.array(labels, dtype=np.int16),
        classes=CLASSES,
        metadata={},
        source='emulated model',
    )
    return replace(pool, source=f'emulated model of {len(rows)} boxes')


def _add(rows: list, scores: list, labels: list, box: Sequence[float], score: float, label: int) -> None:
    rows.append(tuple(box))
    scores.append(score)
    labels.append(label)


if __name__ == '__main__':
    main()
