"""Range, voxels and anchors for own data, from its labelled frames."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.infos import read_infos
from ssal3d.errors import UserError

BEGIN, END = '# --- what depends on the data\n', '# --- end of what depends on the data\n'
VOXELS_HIGH = 40  # what the sparse encoders of MMDetection3D expect
_STRIDE = 16  # voxels along a cell of the coarsest map: eight in the encoder, twice that in the backbone
_BEHIND = 0.01  # share of boxes behind the sensor from which the range reaches as far back as forward
_FEW = 10  # boxes of a class from which a median says something
_LARGE = 3.0  # metres: longer objects get the overlaps of cars
_FARTHEST = 76.8  # metres
_FINE, _COARSE = 0.05, 0.1  # metres: voxels up to, and beyond, a range of _FINE_UP_TO
_FINE_UP_TO = 85.0  # metres along the longer side


@dataclass(frozen=True)
class Suggestion:
    """What depends on the data.

    Attributes:
        class_names: Class names.
        point_cloud_range: x, y, z minimum, then maximum, metres.
        voxel_size: Metres.
        point_values: Values of a point of a converted scan.
        anchor_sizes: Median length, width, height by class, metres.
        anchor_bottoms: Median height of the bottom of the boxes by class, metres.
        anchor_overlaps: BEV IoU from which an anchor is positive, and up to which it is negative.
        paste_groups: Objects to paste per frame, by class.
        boxes: Labelled boxes by class.
        inside: Share of the boxes whose centre is in the range.
        notes: What a person should know.
    """

    class_names: tuple[str, ...]
    point_cloud_range: tuple[float, ...]
    voxel_size: tuple[float, ...]
    point_values: int
    anchor_sizes: tuple[tuple[float, ...], ...]
    anchor_bottoms: tuple[float, ...]
    anchor_overlaps: tuple[tuple[float, float], ...]
    paste_groups: dict[str, int]
    boxes: dict[str, int]
    inside: float
    notes: tuple[str, ...]


def suggest(infos: Mapping[str, Any], source: str | Path) -> Suggestion:
    """Suggest range, voxels and anchors.

    Args:
        infos: A converted split; its labelled frames count.
        source: Where it stands, for messages.

    Raises:
        UserError: If a class has no labelled box.
    """
    categories = sorted(infos['metainfo']['categories'].items(), key=lambda entry: entry[1])
    names = tuple(name for name, label in categories if label >= 0)
    entries = [entry for info in infos['data_list'] for entry in info.get('instances', ())]
    boxes = np.array([entry['bbox_3d'][:7] for entry in entries], dtype=np.float64).reshape(-1, 7)
    labels = np.array([entry['bbox_label_3d'] for entry in entries], dtype=np.int64)
    counts = {name: int((labels == label).sum()) for label, name in enumerate(names)}
    missing = [name for name, count in counts.items() if not count]
    if missing:
        raise UserError(
            f'{source}: no labelled box of class {", ".join(missing)}; label some, or leave the class out of --classes'
        )
    boxes_by_class = [boxes[labels == label] for label in range(len(names))]
    limits, voxel = fit_range(boxes)
    most = max(counts.values())
    low, high = np.array(limits[:3]), np.array(limits[3:])
    inside = float(((boxes[:, :3] >= low) & (boxes[:, :3] < high)).all(axis=1).mean())
    few = [f'{name}: only {count} boxes, its anchor is a guess' for name, count in counts.items() if count < _FEW]
    return Suggestion(
        class_names=names,
        point_cloud_range=limits,
        voxel_size=voxel,
        point_values=int(infos['data_list'][0]['lidar_points']['num_pts_feats']),
        anchor_sizes=tuple(tuple(_rounded(np.median(rows[:, 3:6], axis=0))) for rows in boxes_by_class),
        anchor_bottoms=tuple(_rounded([np.median(rows[:, 2] - rows[:, 5] / 2) for rows in boxes_by_class])),
        anchor_overlaps=tuple(
            (0.6, 0.45) if np.median(rows[:, 3]) > _LARGE else (0.5, 0.35) for rows in boxes_by_class
        ),
        paste_groups={name: 15 if count == most else 10 for name, count in counts.items()},
        boxes=counts,
        inside=inside,
        notes=tuple(few),
    )


def fit_range(boxes: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return a range that holds 99 of 100 boxes, and voxels that divide it as detectors want it.

    It is symmetric in y, because frames are mirrored in training, and in x unless nothing is labelled behind the
    sensor: a few labelled frames say how far objects are seen, not on which side the next ones stand.

    Args:
        boxes: ``(N, 7)`` gravity-centred labels.
    """
    reach = np.hypot(boxes[:, 3], boxes[:, 4]) / 2
    ahead, aside = (min(float(np.quantile(np.abs(boxes[:, axis]) + reach, 0.99)), _FARTHEST) for axis in range(2))
    behind = ahead if (boxes[:, 0] < 0).mean() > _BEHIND else 0.0
    voxel = _FINE if max(ahead + behind, 2 * aside) <= _FINE_UP_TO else _COARSE
    cell = _STRIDE * voxel
    ahead, aside = (float(np.ceil(value / cell - 1e-9) * cell) for value in (ahead, aside))
    edges = ((-ahead if behind else 0.0, ahead), (-aside, aside))
    bottom = float(np.quantile(boxes[:, 2] - boxes[:, 5] / 2, 0.01)) - 0.5
    top = float(np.quantile(boxes[:, 2] + boxes[:, 5] / 2, 0.99)) + 0.3
    height = max(4.0, float(np.ceil(top - bottom)))
    floor = float(np.floor(bottom * 10) / 10)
    limits = (edges[0][0], edges[1][0], floor, edges[0][1], edges[1][1], floor + height)
    return tuple(_rounded(limits)), (voxel, voxel, height / VOXELS_HIGH)


def read_suggestion(folder: Path, tag: str) -> Suggestion:
    """Suggest from a converted folder.

    Args:
        folder: What `ssal3d create-data folder` wrote.
        tag: Prefix of its annotation files.
    """
    path = folder / f'{tag}_infos_train.pkl'
    return suggest(read_infos(path), path)


def as_block(suggestion: Suggestion, folder: Path, tag: str, labels: Path | None) -> str:
    """Return the first block of a config, as the template has it.

    Args:
        suggestion: What to fill in.
        folder: Data root.
        tag: Prefix of the annotation files.
        labels: The label state to begin with; None buys at random.
    """
    start = (
        "initial = dict(sampler=dict(type='RandomSampler'), query=dict(budget=200))  # boxes of the random start\n"
        if labels is None
        else f'initial = dict(labels={_below(labels, folder)!r})  # what is labelled already\n'
    )
    values: Sequence[tuple[str, Any, str]] = (
        ('data_root', str(folder), 'what `ssal3d create-data folder` wrote'),
        ('tag', tag, 'prefix of the annotation files'),
        (
            'class_names',
            list(suggestion.class_names),
            ', '.join(f'{n} {c}' for n, c in suggestion.boxes.items()) + ' boxes',
        ),
        (
            'point_cloud_range',
            list(suggestion.point_cloud_range),
            f'm; holds {100 * suggestion.inside:.1f} % of the boxes',
        ),
        (
            'voxel_size',
            list(suggestion.voxel_size),
            'm; the range is a multiple of 16 voxels in x and y, 40 voxels in z',
        ),
        ('point_values', suggestion.point_values, 'of a converted scan'),
        ('paste_groups', suggestion.paste_groups, 'objects pasted per frame, by class'),
    )
    lines = ''.join(f'{key} = {value!r}  # {comment}\n' for key, value, comment in values)
    return BEGIN + lines + _anchor_lines(suggestion) + start + END


def _anchor_lines(suggestion: Suggestion) -> str:
    """Return the anchors by class, a line for each."""
    lines = [
        f'    {name!r}: dict(size={list(size)}, bottom={bottom}, pos_iou_thr={positive}, neg_iou_thr={negative}),\n'
        for name, size, bottom, (positive, negative) in zip(
            suggestion.class_names,
            suggestion.anchor_sizes,
            suggestion.anchor_bottoms,
            suggestion.anchor_overlaps,
            strict=True,
        )
    ]
    comment = '# m: medians of size (length, width, height) and bottom; BEV IoU: positive from, negative up to'
    return ''.join((f'anchors = {{  {comment}\n', "    '_delete_': True,\n", *lines, '}\n'))


def _below(path: Path, folder: Path) -> str:
    """Return a path that follows from ``data_root`` if it is inside."""
    return f'${{data_root}}/{path.relative_to(folder)}' if folder in path.parents else str(path)


def fill_template(template: str, block: str) -> str:
    """Return a config whose first block is replaced, and whose bases are the shipped ones wherever it lies.

    Raises:
        UserError: If the template has no such block.
    """
    pattern = re.compile(re.escape(BEGIN) + '.*?' + re.escape(END), re.DOTALL)
    if not pattern.search(template):
        raise UserError(
            f'the template has no block between {BEGIN.strip()!r} and {END.strip()!r}; take the shipped one'
        )
    return pattern.sub(lambda _: block, template.replace("'../", "'ssal3d::"), count=1)


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 3) for value in values]
