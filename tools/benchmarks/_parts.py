"""What users wait for, as parts of `benchmarks.all`: CPU seconds of each, and the least that they could be."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks import box_bank, kitti_eval, large_selection, pseudo_scene, selection
from mmengine.config import Config

from ssal3d import compat
from ssal3d.configs import read_config
from ssal3d.registry import ACTIVE_SAMPLERS

FRAMES = 3612  # of KITTI's training split, without the labelled ones
LARGE = 100_000
STEPS = 4
EXPERIMENTS = Path(__file__).resolve().parents[2] / 'configs' / 'ssal'


class Part(NamedTuple):
    """A part.

    Attributes:
        what: What is measured.
        limit: CPU seconds that a thread of the machine of the docs cannot go below.
        why: Where the limit comes from.
        keeps: What keeps us from it.
        measure: Returns the CPU seconds, given an empty folder.
    """

    what: str
    limit: float
    why: str
    keeps: str
    measure: Callable[[Path], float]


def start_up(folder: Path) -> float:
    """Return what a command needs to print its help."""
    return min(selection.run_process([str(selection.COMMAND), '--help']).cpu for _ in range(5))


def whole_query(folder: Path) -> float:
    """Return what CAL needs from start to end, reading two models' predictions."""
    query = selection.command(folder, 'cal', FRAMES, selection.Scale(150, 256, 128, 0, 0))
    return min(selection.run_process(query).cpu for _ in range(5))


def sampler(name: str) -> Callable[[Path], float]:
    """Return how to measure reading and selecting of a sampler, with the long gradients and features of its paper."""

    def measure(folder: Path) -> float:
        instance = ACTIVE_SAMPLERS.build(Config.fromfile(selection.CONFIGS / f'{name}_kitti.py').active_sampler)
        scale = selection.Scale(468, 256, 128, selection.GRADIENTS.get(name, 0), selection.LABELLED)
        selection.write_inputs(folder, FRAMES, instance, scale)
        rows = {row['part']: row['value'] for row in selection.time_parts(folder, instance, scale.budget, None)}
        return rows['reading'] + rows['selecting']

    return measure


def large_query(folder: Path) -> float:
    """Return what CAL needs for many frames from start to end."""
    large_selection.write_pool(folder, LARGE, large_selection.NOISE)
    return min(large_selection.measure(folder).cpu for _ in range(2))


def step(config: str) -> Callable[[Path], float]:
    """Return how to measure forward and backward pass of two scans for an experiment's detector, on one thread."""

    def measure(folder: Path) -> float:
        from benchmarks.train_step import one_thread, scan, step_seconds
        from mmengine.registry import init_default_scope

        compat.apply_preferences()
        init_default_scope('mmdet3d')
        with one_thread():
            return sum(step_seconds(read_config(EXPERIMENTS / f'{config}.py'), scan(), STEPS))

    return measure


def average_precision(folder: Path) -> float:
    """Return what reading and evaluating a val split needs."""
    rows = {row['part']: row['value'] for row in kitti_eval.run(kitti_eval.DEFAULT_FRAMES)}
    return sum(value for part, value in rows.items() if part.startswith(('load', 'evaluate 3')))


def refresh(folder: Path) -> float:
    """Return what the refresh of a bank needs for a raw scan."""
    rows = {row['part']: row['value'] for row in box_bank.run(box_bank.DEFAULT_FRAMES)}
    return 1e-3 * sum(value for part, value in rows.items() if part.startswith(('total', 'crop')))


def scene(folder: Path) -> float:
    """Return what a pseudo-scene needs."""
    rows = {row['part']: row['value'] for row in pseudo_scene.run(pseudo_scene.DEFAULT_FRAMES)}
    return 1e-3 * rows['total']


PARTS = {
    'start': Part('`ssal3d select --help`', 0.03, 'starting Python', 'importing rich and our own modules', start_up),
    'select': Part(
        'CAL from start to end, 3,612 frames × 12 boxes × 256 features, two models, 150 boxes',
        0.35,
        'importing NumPy and pyarrow, decoding 11 million features',
        'other imports; decoding of nested columns, 5 ns a value',
        whole_query,
    ),
    'crb': Part(
        'CRB, reading and selecting, 3,612 gradients of 65,536 values, about 100 frames',
        0.4,
        'products of the frames that stage 1 leaves, reading their gradients once',
        'decoding of their gradients; the second stage in Python',
        sampler('crb'),
    ),
    'badge': Part(
        'BADGE, the same with gradients of 9,216 values',
        0.47,
        'products of the draws with all gradients, 40 GFLOP at 85 GFLOP/s',
        'all products are made at once (120 GFLOP): those of a few draws are bound by memory',
        sampler('badge'),
    ),
    'kecor': Part(
        'KECOR, the same with RoI features of 32,768 values',
        2.4,
        'first layer of the proxy on the pool and in training, 188 GFLOP at 85 GFLOP/s, one pass over the features',
        'decoding of 118 million features; hashing them; steps of Adam',
        sampler('kecor'),
    ),
    'large-selection': Part(
        'CAL from start to end, 100,000 frames × 12 boxes × 64 features, 5,000 boxes',
        0.65,
        'start, and overlaps and products of the frames that are compared',
        'decoding of nested columns; overlaps of boxes in NumPy rather than in one kernel',
        large_query,
    ),
    'step-pillars-sim': Part(
        'training step of two scans (17,000 and 8,000 points), pillar detector of the simulated streets',
        0.026,
        '4.4 GFLOP at 170 GFLOP/s in bfloat16',
        'narrow layers: memory rather than arithmetic',
        step('pillars_sim'),
    ),
    'step-pvrcnn-sim': Part(
        'the same, PV-RCNN of the simulated streets',
        0.058,
        '5 GFLOP at 85 GFLOP/s',
        'many small products: sparse convolutions by kernel position, the second stage in float32; Python',
        step('pvrcnn_sim'),
    ),
    'step-pvrcnn-mini': Part(
        'the same, small PV-RCNN at 0.1 m',
        0.157,
        '13 GFLOP at 85 GFLOP/s',
        'the same',
        step('pvrcnn_kitti_mini'),
    ),
    'step-pvrcnn-kitti': Part(
        'the same, PV-RCNN of KITTI at full size',
        5.4,
        '926 GFLOP at 170 GFLOP/s',
        'normalisation and the second stage in float32',
        step('pvrcnn_kitti'),
    ),
    'kitti-eval': Part(
        'KITTI AP with loading, 3,769 frames, three classes',
        0.2,
        'opening 7,538 files',
        'reading files one by one; matching at 41 scores a curve',
        average_precision,
    ),
    'box-bank': Part(
        'refresh of the bank, a raw scan, without inference',
        0.6e-3,
        '0.2 ms of reading, 0.3 ms of arithmetic, 0.1 ms for the camera view (estimated)',
        'Python for every frame',
        refresh,
    ),
    'pseudo-scene': Part(
        'a pseudo-scene of 32 objects in 20,000 points, with reading the scan',
        0.4e-3,
        'reading and one pass over the points',
        'opening the bank, and Python for every scene',
        scene,
    ),
}
