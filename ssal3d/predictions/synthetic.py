"""Made-up predictions with every column of the contract: to try a sampler without a detector, to test and to time it.

Sizes follow PV-RCNN on KITTI: a dozen boxes per frame, most of them cars, scores at both ends, ReLU features.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.predictions import PoolPredictions
from ssal3d.predictions.places import Place, place, write_manifest
from ssal3d.predictions.schema import COLUMNS, Layout
from ssal3d.predictions.table import Ragged
from ssal3d.predictions.writer import write_part

CLASSES = ('Car', 'Pedestrian', 'Cyclist')
SIZES = np.array([[3.9, 1.6, 1.56], [0.8, 0.6, 1.73], [1.76, 0.6, 1.73]])
PASSES = 5


def synthetic_pool(
    frames: int,
    *,
    seed: int = 0,
    fields: Sequence[str] = (),
    classes: Sequence[str] = CLASSES,
    boxes_per_frame: float = 12,
    width: int = 16,
    noise: float = 0.8,
    rois: int = 8,
    gradient_width: int = 64,
    first: int = 0,
    kinds: NDArray[np.floating] | None = None,
) -> PoolPredictions:
    """Return random predictions; most frames are alike in classes and features, some are empty.

    Args:
        frames: Number of frames F.
        seed: Seed.
        fields: Columns of the contract beyond boxes, scores and labels.
        classes: Class names; the first is the most frequent.
        boxes_per_frame: Mean number of boxes.
        width: Feature dimension D.
        noise: Spread of a box's features around those of its class; the lower, the more alike frames are.
        rois: RoIs R per frame.
        gradient_width: Width G of gradient embeddings.
        first: Number of the first frame, for a part of a larger pool.
        kinds: ``(C, D)`` features around which those of a class lie, for parts that are alike; random by default.
    """
    rng = np.random.default_rng(seed)
    counts = rng.poisson(boxes_per_frame, frames)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    total = int(offsets[-1])
    frequency = 0.2 ** np.arange(len(classes))
    labels = rng.choice(len(classes), total, p=frequency / frequency.sum()).astype(np.int16)
    place = np.stack((rng.uniform(2, 70, total), rng.uniform(-38, 38, total), rng.uniform(-1.2, -0.4, total)), 1)
    size = SIZES[labels % len(SIZES)] * rng.uniform(0.85, 1.15, (total, 3))
    boxes = np.concatenate((place, size, rng.uniform(-np.pi, np.pi, (total, 1))), 1)
    pool = PoolPredictions(
        frame_ids=np.array([f'{number:06d}' for number in range(first, first + frames)], dtype=np.str_),
        offsets=offsets,
        boxes=boxes.astype(np.float32),
        scores=(0.1 + 0.9 * rng.beta(0.6, 0.7, total)).astype(np.float32),
        labels=labels,
        classes=tuple(classes),
        metadata={'score_threshold': 0.1, 'nms_iou': 0.1, 'mc_passes': PASSES},
        source='synthetic pool',
    )
    sizes = _Sizes(width, rois, gradient_width)
    return replace(pool, fields={name: _column(name, pool, sizes, noise, rng, kinds) for name in fields})


def second_model(pool: PoolPredictions, seed: int = 1, fields: Sequence[str] = ()) -> PoolPredictions:
    """Return what another model might predict: 70 % of the boxes, moved a little, and new ones with other scores."""
    rng = np.random.default_rng(seed)
    found = rng.random(len(pool.scores)) < 0.7
    kept = np.flatnonzero(found)
    new = np.flatnonzero(rng.random(len(pool.scores)) < 0.25)
    frame = pool.frame_of_box
    source = np.concatenate((kept, new))
    order = np.argsort(frame[source], kind='stable')
    boxes = pool.boxes[source].astype(np.float64)
    boxes[:, :2] += rng.normal(0, 0.1, (len(source), 2))
    boxes[len(kept) :, 0] += rng.uniform(3, 9, len(new))
    counts = np.bincount(frame[source], minlength=len(pool))
    other = replace(
        pool,
        offsets=np.concatenate(([0], np.cumsum(counts))),
        boxes=boxes[order].astype(np.float32),
        scores=(0.1 + 0.9 * rng.beta(0.6, 0.7, len(source))).astype(np.float32),
        labels=pool.labels[source][order],
        fields={},
        source='synthetic second model',
    )
    return replace(other, fields={name: _column(name, other, _Sizes(16, 8, 64), 0.8, rng) for name in fields})


def annotated_boxes(pool: PoolPredictions, seed: int = 2, share: float = 0.39) -> dict[str, dict[str, int]]:
    """Return made-up annotations: by frame id, ``share`` of the predicted boxes of each class."""
    rng = np.random.default_rng(seed)
    cell = pool.frame_of_box * len(pool.classes) + pool.labels
    predicted = np.bincount(cell, minlength=len(pool) * len(pool.classes)).reshape(len(pool), -1)
    counts = rng.binomial(predicted, share).tolist()
    return {str(frame): dict(zip(pool.classes, row)) for frame, row in zip(pool.frame_ids.tolist(), counts)}


def write_predictions(
    pool: PoolPredictions, folder: str | Place, frames_per_part: int = 1024, first_part: int = 0
) -> None:
    """Write predictions as a folder of the contract.

    Args:
        pool: The predictions; as they are made here, they are not checked frame by frame.
        folder: Where the parts go.
        frames_per_part: Frames of a part.
        first_part: Number of the first part, for a part of a larger pool.
    """
    folder, digests = place(folder), {}
    metadata = {'classes': list(pool.classes), **pool.metadata}
    for number, start in enumerate(range(0, len(pool), frames_per_part), first_part):
        frames = range(start, min(start + frames_per_part, len(pool)))
        rows = [(str(pool.frame_ids[frame]), _row(pool, frame)) for frame in frames]
        part = folder / f'part-0-{number:05d}.parquet'
        if (digest := write_part(part, rows, tuple(pool.fields), metadata)) is not None:
            digests[part.name] = digest
    write_manifest(folder, digests)


def _row(pool: PoolPredictions, frame: int) -> dict[str, NDArray[Any]]:
    boxes = pool.boxes_of(frame)
    return {
        'bboxes_3d': pool.boxes[boxes],
        'scores_3d': pool.scores[boxes],
        'labels_3d': pool.labels[boxes],
        **{name: _of_frame(name, values, frame, boxes) for name, values in pool.fields.items()},
    }


def write_scans(pool: PoolPredictions, folder: str | Path, seed: int = 3, per_box: int = 20) -> None:
    """Write made-up scans to go with predictions: points inside the boxes and on a plain around them.

    Args:
        pool: Predictions of all frames.
        folder: Where ``<frame id>.bin`` go, float32 x, y, z in metres and intensity in [0, 1].
        seed: Seed.
        per_box: Points in each box.
    """
    rng = np.random.default_rng(seed)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for frame, frame_id in enumerate(pool.frame_ids.tolist()):
        boxes = np.repeat(pool.boxes[pool.boxes_of(frame)], per_box, axis=0)
        local = rng.uniform(-0.45, 0.45, (len(boxes), 3)) * boxes[:, 3:6]
        cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
        x, y = local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos
        ground = np.column_stack((rng.uniform(-50, 75, (2000, 2)), np.full(2000, -1.8)))
        points = np.concatenate((np.column_stack((x, y, local[:, 2])) + boxes[:, :3], ground))
        np.column_stack((points, rng.random(len(points)))).astype('<f4').tofile(folder / f'{frame_id}.bin')


def _of_frame(name: str, values: Any, frame: int, boxes: slice) -> NDArray[Any]:
    if isinstance(values, Ragged):
        return values.of(frame)
    return values[boxes] if COLUMNS[name].layout is Layout.BOX else values[frame]


class _Sizes(NamedTuple):
    width: int
    rois: int
    gradient: int


def _column(
    name: str,
    pool: PoolPredictions,
    sizes: _Sizes,
    noise: float,
    rng: np.random.Generator,
    kinds: NDArray[np.floating] | None = None,
) -> Any:
    total, frames, classes = len(pool.scores), len(pool), len(pool.classes)
    width, rois, gradient = sizes
    if name == 'box_features':
        prototypes = rng.normal(0, 1, (classes, width)) if kinds is None else kinds
        features = prototypes.astype(np.float32)[pool.labels]
        features += noise * rng.standard_normal((total, width), dtype=np.float32)
        return np.maximum(features, 0, out=features).astype(np.float16)
    if name == 'lidar2img':  # KITTI's left colour camera, looking along x
        matrix = [[610, -721, 0, 45], [173, 0, -721, 0.2], [1, 0, 0, 0.003], [0, 0, 0, 1]]
        return np.tile(np.array(matrix, dtype=np.float32).reshape(1, 16), (frames, 1))
    if name == 'image_shape':
        return np.tile(np.array([[375, 1242]], dtype=np.float32), (frames, 1))
    makers = {
        'class_logits': lambda: rng.normal(0, 2, (total, classes)).astype(np.float32),
        'num_points': lambda: rng.integers(0, 400, total, dtype=np.int32),
        'roi_index': lambda: np.zeros(total, dtype=np.int32),
        'roi_features': lambda: np.abs(rng.standard_normal((frames, rois * width), dtype=np.float32)).astype(
            np.float16
        ),
        'roi_valid': lambda: _ragged(np.ones((frames, rois), dtype=bool)),
        'mc_scores': lambda: _ragged(rng.random((frames, PASSES * rois), dtype=np.float32)),
        'mc_residuals': lambda: _ragged(rng.normal(0, 1, (frames, PASSES * rois * 7)).astype(np.float32)),
        'gradient': lambda: rng.standard_normal((frames, gradient), dtype=np.float32),
        'roi_scores_target': lambda: rng.random((frames, rois), dtype=np.float32),
        'roi_residuals_target': lambda: rng.standard_normal((frames, rois * 7), dtype=np.float32),
        'predicted_loss': lambda: rng.random(frames, dtype=np.float32),
    }
    return makers[name]()


def _ragged(rows: NDArray[Any]) -> Ragged:
    return Ragged(rows.reshape(-1), np.arange(len(rows) + 1) * rows.shape[1])
