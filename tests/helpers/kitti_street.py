"""Streets that are small enough for a test and real enough for checks that compare labels with points."""

from pathlib import Path

import numpy as np

SIZES = {'Car': (3.9, 1.6, 1.5), 'Pedestrian': (0.8, 0.6, 1.75), 'Cyclist': (1.8, 0.6, 1.7)}
GROUND = -1.73  # metres
CALIBRATION = (
    'P2: 721.5377 0 609.5593 44.85728 0 721.5377 172.854 0.2163791 0 0 1 0.002745884\nR0_rect: 1 0 0 0 1 0 0 0 1\n'
    'Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27\n'
)


def boxes_of(random: np.random.Generator, number: int = 4, behind: bool = False):
    """Return names and gravity-centred LiDAR boxes of objects apart from each other, ahead or all around."""
    names = [('Car', 'Car', 'Pedestrian', 'Cyclist')[k % 4] for k in range(number)]
    boxes = []
    for k, name in enumerate(names):
        length, width, height = SIZES[name]
        ahead = random.uniform(12, 35) * (-1 if behind and k % 2 else 1)
        side = (k - (number - 1) / 2) * 5 + random.uniform(-0.8, 0.8)
        yaw = random.uniform(0.3, 1.2) * random.choice((-1, 1)) + random.choice((0, np.pi))
        yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
        boxes.append((ahead, side, GROUND + height / 2, length, width, height, yaw))
    return names, np.array(boxes)


def scan_of(random: np.random.Generator, boxes, ground: int = 4000):
    """Return a flat road and 150 points on the sides and the roof of each box, x, y, z, intensity."""
    road = np.column_stack((random.uniform(-45, 45, (ground, 2)), random.normal(GROUND, 0.02, ground)))
    parts = [road]
    for x, y, z, *sizes, yaw in boxes:
        local = random.uniform(-0.5, 0.5, (150, 3))
        face = random.integers(0, 5, 150)
        for side, (axis, sign) in enumerate(((0, 1), (0, -1), (1, 1), (1, -1), (2, 1))):
            local[face == side, axis] = 0.49 * sign
        local = local * sizes
        cos, sin = np.cos(yaw), np.sin(yaw)
        turned = (local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos, local[:, 2])
        parts.append(np.column_stack(turned) + np.array([x, y, z]))
    xyz = np.concatenate(parts)
    return np.column_stack((xyz, random.uniform(0, 1, len(xyz)))).astype(np.float32)


def label(name: str, box, image_box=(100, 100, 200, 200), score=None) -> str:
    """Return the KITTI line of a LiDAR box under `CALIBRATION`."""
    x, y, z, length, width, height, yaw = box
    place = (-y, -(z - height / 2) - 0.08, x - 0.27)
    turn = (-yaw - np.pi / 2 + np.pi) % (2 * np.pi) - np.pi
    return line(name, (height, width, length), place, turn, image_box, score)


def line(name: str, sizes, place, turn: float, image_box=(100, 100, 200, 200), score=None) -> str:
    """Return a KITTI line of any numbers."""
    numbers = (*image_box, *sizes, *place, turn, *(() if score is None else (score,)))
    return f'{name} 0.00 0 0.00 ' + ' '.join(f'{number:.3f}' for number in numbers) + '\n'


def write_street(root: Path, frames: int = 8, seed: int = 0, write_label=label, behind: bool = False, **splits):
    """Write a folder in the KITTI layout and return its truth, names and boxes by frame id.

    Args:
        root: The folder.
        frames: Number of frames.
        seed: Of the scenes.
        write_label: Makes a label line of a name and a box.
        behind: Put half of the objects behind the camera.
        **splits: Frame ids by split; by default all are in ``train``.
    """
    random, truth = np.random.default_rng(seed), {}
    for kind in ('velodyne', 'label_2', 'calib'):
        (root / 'training' / kind).mkdir(parents=True, exist_ok=True)
    (root / 'ImageSets').mkdir(exist_ok=True)
    for number in range(frames):
        frame = f'{number:06d}'
        names, boxes = truth[frame] = boxes_of(random, behind=behind)
        scan_of(random, boxes).tofile(root / 'training' / 'velodyne' / f'{frame}.bin')
        (root / 'training' / 'calib' / f'{frame}.txt').write_text(CALIBRATION)
        write_labels(root, frame, [write_label(name, box) for name, box in zip(names, boxes, strict=True)])
    for name, ids in (splits or {'train': list(truth)}).items():
        (root / 'ImageSets' / f'{name}.txt').write_text(''.join(f'{frame}\n' for frame in ids))
    return truth


def write_labels(root: Path, frame: str, lines) -> None:
    """Write the label file of a frame."""
    (root / 'training' / 'label_2' / f'{frame}.txt').write_text(''.join(lines))
