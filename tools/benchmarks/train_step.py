"""PV-RCNN on the CPU, one thread: its operators and modules with upstream's kernels and with ours, and whole steps.

``--frames`` is the number of repetitions; every figure is the fastest. The scan is a real one if SSAL3D_TEST_DATA names
the test data, else a synthetic street. "upstream" rows use the kernels of mmcv, spconv and MMDetection3D as they come,
where they exist for the CPU at all; they leave out training, where upstream's suppression of 9000 boxes takes minutes.
Training steps are in CPU seconds.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401 - the small detector is one of ours
from ssal3d import compat
from ssal3d.configs import read_config
from ssal3d.models.fast_layers import use_fast_layers

DEFAULT_FRAMES = 3
ROOT = Path(__file__).resolve().parents[2]
LIMITS = np.array([0, -40, -3, 70.4, 40, 1])
MODULES = {
    'sparse backbone': 'middle_encoder',
    'BEV backbone': 'backbone',
    'BEV neck': 'neck',
    'proposal head with suppression': 'rpn_head',
    'set abstraction of 2048 key points': 'points_encoder',
    'RoI grid pooling': 'roi_head.bbox_roi_extractor',
    'RoI head': 'roi_head.bbox_head',
}


def run(frames: int, method: str | None = None, all: bool = False) -> list[dict[str, Any]]:
    """Time operators, modules and steps.

    Args:
        frames: Repetitions.
        method: Time a step of this semi-supervised method instead, beside what its passes cost.
        all: Do so for every method.
    """
    if method or all:
        from benchmarks import _semi_step

        return _semi_step.method_step(method, frames) if method else _semi_step.every_method(frames)
    compat.apply_preferences()
    init_default_scope('mmdet3d')
    with one_thread():
        points = scan()
        return [*operators(points, frames), *prediction(points, frames), *training(points, frames)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def operators(points: torch.Tensor, repeats: int) -> Iterator[dict[str, Any]]:
    """Time the operators at the sizes of the stock PV-RCNN."""
    from mmcv import ops
    from mmcv.ops.voxelize import voxelization

    grid = [0.05, 0.05, 0.1], LIMITS.tolist(), 5, 40000
    boxes, scores = proposals(1024)
    cases = {
        'voxelise the scan': (lambda: voxelization(points, *grid), 5.0),
        'suppress 1024 boxes': (lambda: ops.nms_rotated(boxes, scores, 0.7), 20.0),
        'IoU of 128 x 1024 boxes': (lambda: ops.box_iou_rotated(boxes[:128], boxes), None),
    }
    for part, (action, target) in cases.items():
        with upstream_kernels():
            yield row(f'{part}: upstream', seconds(action, repeats))
        yield row(part, seconds(action, repeats), target)
    cloud = points[None, :, :3].contiguous()
    yield row('choose 2048 key points', seconds(lambda: ops.furthest_point_sample(cloud, 2048), repeats))
    many, many_scores = proposals(9000)
    yield row('suppress 9000 boxes', seconds(lambda: ops.nms_rotated(many, many_scores, 0.8), repeats))


def prediction(points: torch.Tensor, repeats: int) -> Iterator[dict[str, Any]]:
    """Time the modules of the stock PV-RCNN, and the whole, when it predicts."""
    model = build(stock_config()).eval()
    with upstream_kernels():
        before = module_seconds(model, lambda: predict(model, points), repeats)
    use_fast_layers(model)
    after = module_seconds(model, lambda: predict(model, points), repeats)
    for part in before:
        yield row(f'{part}: upstream', before[part])
        yield row(part, after[part])


def training(points: torch.Tensor, repeats: int) -> Iterator[dict[str, Any]]:
    """Time a training step of two frames: the stock PV-RCNN and the small one of the demo."""
    small = read_config(ROOT / 'configs' / 'ssal' / 'pvrcnn_kitti_mini.py')
    for name, config in (('stock', stock_config()), ('small', small)):
        for part, value in zip(('forward', 'backward'), step_seconds(config, points, repeats)):
            yield row(f'training step of 2 frames, {name}: {part}', value)


def step_seconds(config: Config, points: torch.Tensor, repeats: int) -> tuple[float, float]:
    """Return the fewest CPU seconds that forward and backward pass of two frames need, without the optimiser.

    Args:
        config: Of the detector.
        points: ``(N, 4)`` the first frame; the second one has every other point of it.
        repeats: Steps, after one that may compile.
    """
    model = build(config).train()
    use_fast_layers(model)
    data = {'inputs': {'points': [points, points[::2]]}}
    forward, backward = [], []
    for _ in range(repeats + 1):
        samples = [sample(CARS), sample(CARS)]
        start = time.process_time()
        losses = model(**model.data_preprocessor({**data, 'data_samples': samples}, True), mode='loss')
        loss = model.parse_losses(losses)[0]
        middle = time.process_time()
        loss.backward()
        forward.append(middle - start)
        backward.append(time.process_time() - middle)
        model.zero_grad()
    return min(forward[1:]), min(backward[1:])


CARS = [
    [8.0, 1.2, -1.7, 3.9, 1.6, 1.5, 0.3],
    [14.7, -1.1, -1.6, 3.7, 1.6, 1.5, 0.0],
    [33.6, -7, -1.4, 4.1, 1.6, 1.4, 0.1],
]


def sample(boxes: list) -> Any:
    """Return a data sample with these cars."""
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
    from mmengine.structures import InstanceData

    result = Det3DDataSample(metainfo={'box_type_3d': LiDARInstance3DBoxes})
    tensor = torch.tensor(boxes, dtype=torch.float32).view(-1, 7)
    result.gt_instances_3d = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(tensor), labels_3d=torch.full((len(tensor),), 2, dtype=torch.long)
    )
    return result


def stock_config() -> Config:
    """Return MMDetection3D's PV-RCNN for KITTI."""
    import mmdet3d

    folder = Path(mmdet3d.__file__).parent / '.mim' / 'configs' / 'pv_rcnn'
    return Config.fromfile(str(folder / 'pv_rcnn_8xb2-80e_kitti-3d-3class.py'))


def build(config: Config) -> Any:
    """Build the model of a config with random weights."""
    from mmdet3d.registry import MODELS

    torch.manual_seed(0)
    return MODELS.build(config.model)


@torch.no_grad()
def predict(model: Any, points: torch.Tensor) -> None:
    """Predict one frame."""
    model.test_step({'inputs': {'points': [points]}, 'data_samples': [sample([])]})


def module_seconds(model: Any, action: Callable[[], None], repeats: int) -> dict[str, float]:
    """Return the fastest time of each module, and of the whole action."""
    best: dict[str, float] = {}
    for _ in range(repeats + 1):
        spent: dict[str, float] = {}
        timed = [timing(model.get_submodule(path), part, spent) for part, path in MODULES.items()]
        start = time.perf_counter()
        action()
        spent['predict one frame'] = time.perf_counter() - start
        for restore in timed:
            restore()
        best = {part: min(value, best.get(part, value)) for part, value in spent.items()}
    return best


def timing(module: Any, part: str, spent: dict[str, float]) -> Callable[[], None]:
    """Let a module note how long its forward (or, for heads, predict) takes; returns how to undo that."""
    name = 'predict' if hasattr(module, 'predict') else 'forward'
    original = getattr(module, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = original(*args, **kwargs)
        spent[part] = spent.get(part, 0.0) + time.perf_counter() - start
        return result

    setattr(module, name, timed)
    return lambda: delattr(module, name)


@contextmanager
def upstream_kernels() -> Iterator[None]:
    """Take our kernels out where upstream has its own for the CPU."""
    import mmcv._ext as extension
    from spconv.pytorch import ops

    places = [
        *((extension, name) for name in ('nms_rotated', 'box_iou_rotated', 'hard_voxelize_forward')),
        *((ops, name) for name in ('get_indice_pairs', 'indice_conv')),
    ]
    ours = [getattr(owner, name) for owner, name in places]
    try:
        for (owner, name), kernel in zip(places, ours, strict=True):
            setattr(owner, name, kernel.__wrapped__)
        yield
    finally:
        for (owner, name), kernel in zip(places, ours, strict=True):
            setattr(owner, name, kernel)


def proposals(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return boxes crowded around some objects, and scores."""
    random = np.random.default_rng(0)
    centres = random.uniform((0, -40), (70, 40), (max(count // 20, 1), 2))
    places = centres[random.integers(0, len(centres), count)] + random.normal(0, 0.6, (count, 2))
    sizes = random.normal((3.9, 1.6), 0.1, (count, 2))
    yaws = random.choice((0, 1.57), (count, 1)) + random.normal(0, 0.1, (count, 1))
    boxes = torch.from_numpy(np.concatenate((places, sizes, yaws), 1)).float()
    return boxes, torch.from_numpy(random.random(count)).float()


def scan() -> torch.Tensor:
    """Return a real scan in camera view, or a synthetic street of 20,000 points."""
    root = os.environ.get('SSAL3D_TEST_DATA')
    if root:
        path = Path(root) / 'kitti_mini' / 'training' / 'velodyne' / '000008.bin'
        points = np.fromfile(path, dtype=np.float32).reshape(-1, 4)
    else:
        random = np.random.default_rng(0)
        distance, angle = 3 + random.gamma(2, 8, 20000), random.uniform(-0.7, 0.7, 20000)
        height = np.where(random.random(20000) < 0.7, -1.7, random.uniform(-1.7, 0.9, 20000))
        parts = (distance * np.cos(angle), distance * np.sin(angle), height, random.random(20000))
        points = np.stack(parts, 1).astype(np.float32)
    inside = ((points[:, :3] > LIMITS[:3]) & (points[:, :3] < LIMITS[3:])).all(1) & (abs(points[:, 1]) < points[:, 0])
    return torch.from_numpy(points[inside])


def seconds(action: Callable[[], Any], repeats: int) -> float:
    """Return the fastest of some runs, after one that may compile."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def row(part: str, value: float, at_most: float | None = None) -> dict[str, Any]:
    """Return one line of the result, in milliseconds."""
    return {'part': part, 'value': 1000 * value, 'unit': 'ms', **({} if at_most is None else {'target': at_most})}
