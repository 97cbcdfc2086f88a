"""Whether anchors can learn the objects: by the sizes that classes usually have, and by the labelled boxes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.checks.finding import Checked, Finding
from ssal3d.checks.network import MisfitError, feature_map, part
from ssal3d.checks.subject import Subject
from ssal3d.checks.tree import at, numbers
from ssal3d.class_names import SYNONYMS

# Length and width (m) of MMDetection3D's anchors for KITTI (the first three) and nuScenes.
USUAL = {
    'car': (3.9, 1.6),
    'pedestrian': (0.8, 0.6),
    'cyclist': (1.76, 0.6),
    'truck': (6.74, 2.46),
    'motorcycle': (1.68, 0.6),
    'bus': (11.0, 2.9),
    'trailer': (12.0, 2.87),
    'traffic_cone': (0.4, 0.4),
}
UNLIKE = 0.25  # overlap of an anchor with the usual size of its class below which it belongs to another one
RARELY = 0.9  # share of the boxes of a class with an anchor below which a person should know
PLACES = 12  # along each side of a cell


@dataclass(frozen=True)
class Anchors:
    """The anchors of one class on the map.

    Attributes:
        key: Dotted key of their sizes.
        sizes: ``(S, 2)`` length and width, m.
        edges: x, y minimum, then maximum of what they cover, m.
        cells: Cells along x and y.
        centred: Whether the first anchor stands in the middle of the first cell, not at its edge.
        needed: BEV IoU from which an anchor learns a box.
        own: Whether the class has anchors of its own, not all.
    """

    key: str
    sizes: NDArray[np.float64]
    edges: tuple[float, float, float, float]
    cells: tuple[int, int]
    centred: bool
    needed: float
    own: bool

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance between two anchors along x and y, m."""
        return tuple(
            (self.edges[axis + 2] - self.edges[axis]) / max(self.cells[axis] - (not self.centred), 1) for axis in (0, 1)
        )  # type: ignore[return-value]

    def overlaps(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the BEV IoU of each box with its best anchor, both without rotation as the assigner sees them.

        The overlap along an axis only falls with the distance of the centres, so that the best anchor of a size is the
        nearest one.

        Args:
            boxes: ``(N, 7)`` boxes, m and rad.
        """
        boxes = boxes.astype(np.float64)
        across = np.abs(np.sin(boxes[:, 6])) > np.abs(np.cos(boxes[:, 6]))
        extent = np.where(across[:, None], boxes[:, [4, 3]], boxes[:, [3, 4]])
        away = np.stack([self._to_nearest(boxes[:, axis], axis) for axis in (0, 1)], axis=1)
        best = np.zeros(len(boxes))
        for size in np.concatenate((self.sizes, self.sizes[:, ::-1])):
            side = np.minimum(np.minimum(extent, size), np.maximum((extent + size) / 2 - away, 0))
            shared = side.prod(axis=1)
            best = np.maximum(best, shared / (extent.prod(axis=1) + size.prod() - shared))
        return best

    def _to_nearest(self, values: NDArray[np.floating], axis: int) -> NDArray[np.float64]:
        step = self.spacing[axis]
        first = self.edges[axis] + (step / 2 if self.centred else 0)
        index = np.clip(np.round((values - first) / step), 0, self.cells[axis] - 1)
        return np.abs(values - first - index * step)


def anchors_by_class(subject: Subject) -> dict[str, Anchors] | None:
    """Return the anchors of every class; None for heads without anchors, or of a kind that is not known here."""
    classes, model = subject.classes, subject.model
    key, settings, head = _head(model)
    generator = head.get('anchor_generator') or {}
    sizes, ranges = generator.get('sizes') or (), generator.get('ranges') or ()
    try:
        seen = feature_map(model) if sizes else None
    except MisfitError:  # `check_network` says it
        seen = None
    if seen is None or len(ranges) not in (1, len(sizes)):
        return None
    assigners = at(model, f'{settings}.assigner') or at(model, 'train_cfg.pts.assigner')
    by_class = bool(head.get('assign_per_class') or head.get('assigner_per_size'))
    found = {}
    for label, name in enumerate(classes):
        needed = _needed(
            assigners[min(label, len(assigners) - 1)] if isinstance(assigners, list | tuple) else assigners
        )
        chosen = [label] if by_class and label < len(sizes) else list(range(len(sizes)))
        covered = numbers(ranges[min(chosen[0], len(ranges) - 1)], 6)
        if needed is None or covered is None:
            return None
        found[name] = Anchors(
            key=f'{subject.model_key}.{key}.anchor_generator.sizes' + (f'.{label}' if by_class else ''),
            sizes=np.array([sizes[index][:2] for index in chosen], dtype=np.float64),
            edges=(covered[0], covered[1], covered[3], covered[4]),
            cells=(seen.width, seen.height),
            centred=str(generator['type']).startswith('Aligned') and not generator.get('align_corner', False),
            needed=needed,
            own=len(chosen) == 1,
        )
    return found or None


def _head(model: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    """Return key, key of the training settings and config of the head with anchors; the config is empty without any."""
    for name, settings in (('rpn_head', 'train_cfg.rpn'), ('bbox_head', 'train_cfg')):
        key, head = part(model, name)
        generator = head.get('anchor_generator')
        if isinstance(generator, Mapping) and str(generator.get('type', '')).endswith('RangeGenerator'):
            return key, settings, head
    return '', '', {}


def _needed(assigner: Any) -> float | None:
    """Return the overlap from which the best anchor of a box learns it; None if it is measured otherwise."""
    if not isinstance(assigner, Mapping) or not str(at(assigner, 'iou_calculator.type')).endswith(
        'BboxOverlapsNearest3D'
    ):
        return None
    positive = assigner.get('pos_iou_thr')
    lowest = assigner.get('min_pos_iou', 0.0) if assigner.get('match_low_quality', True) else positive
    return None if positive is None else max(float(min(positive, lowest)), 1e-6)


def usual_size(name: str) -> tuple[float, float] | None:
    """Return the usual length and width of a class of that name, m."""
    word = name.lower()
    alike = next((group for group in SYNONYMS if word in group), (word,))
    return next((USUAL[other] for other in (word, *alike) if other in USUAL), None)


def check_anchors(subject: Subject) -> Checked:
    """Compare anchors with the usual sizes of their classes, and their distance with their size."""
    name, found = 'anchors', anchors_by_class(subject)
    if found is None:
        return Checked(name, 'no anchors')
    wrong = [*_of_other_classes(found), *_too_far_apart(found)]
    first = next(iter(found.values()))
    return Checked(name, f'{len(found)} classes, every {first.spacing[0]:.2g} x {first.spacing[1]:.2g} m', tuple(wrong))


def _of_other_classes(found: Mapping[str, Anchors]) -> Iterator[Finding]:
    for name, anchors in found.items():
        usual = usual_size(name)
        if anchors.own and usual is not None and max(_alike(size, usual) for size in anchors.sizes) < UNLIKE:
            length, width = anchors.sizes[0]
            others = [other for other, known in USUAL.items() if _alike(anchors.sizes[0], known) > 0.7]
            hint = f', like those of a {others[0]}' if others else ''
            yield Finding(
                anchors.key,
                f'anchors of {length:g} x {width:g} m for {name}{hint}',
                f'about {usual[0]:g} x {usual[1]:g} m; anchors stand in the order of the classes: {", ".join(found)}',
            )


def _alike(size: Sequence[float] | NDArray[np.float64], other: Sequence[float]) -> float:
    shared = min(size[0], other[0]) * min(size[1], other[1])
    return float(shared / (size[0] * size[1] + other[0] * other[1] - shared))


def _too_far_apart(found: Mapping[str, Anchors]) -> Iterator[Finding]:
    for name, anchors in found.items():
        reached = share_of_places(anchors)
        if anchors.own and reached < RARELY:
            across = ' x '.join(f'{value:.2g}' for value in anchors.spacing)
            yield Finding(
                anchors.key,
                f'anchors every {across} m: {100 * reached:.0f} % of the places of a {name} have one',
                f'{100 * RARELY:.0f} %; a finer map (neck.upsample_strides, voxel_size) or a lower min_pos_iou',
                'warning' if reached > 0 else 'error',
            )


def share_of_places(anchors: Anchors) -> float:
    """Return in which share of the places inside a cell an object of the anchors' size gets an anchor."""
    step_x, step_y = anchors.spacing
    offsets = (np.arange(PLACES) + 0.5) / PLACES
    x, y = (grid.reshape(-1) for grid in np.meshgrid(offsets * step_x, offsets * step_y))
    middle = [anchors.edges[axis] + step * (anchors.cells[axis] // 2) for axis, step in enumerate((step_x, step_y))]
    length, width = anchors.sizes[0]
    boxes = np.column_stack((x + middle[0], y + middle[1], 0 * x, 0 * x + length, 0 * x + width, 0 * x, 0 * x))
    return float((anchors.overlaps(boxes) >= anchors.needed).mean())


def compare_with_boxes(
    found: Mapping[str, Anchors], boxes: Mapping[str, NDArray[np.floating]]
) -> tuple[list[tuple[object, ...]], list[Finding]]:
    """Count how many labelled boxes anchors can learn.

    Args:
        found: The anchors by class.
        boxes: ``(N, 7)`` labelled boxes by class, gravity-centred, m and rad.

    Returns:
        Rows of class, boxes, boxes in the anchors' range and those of them with an anchor; and what is wrong: an error
        for a class none of whose boxes has an anchor, a warning below 90 %.
    """
    rows: list[tuple[object, ...]] = []
    wrong = []
    for name, anchors in found.items():
        class_boxes = np.asarray(boxes.get(name, np.empty((0, 7))), dtype=np.float64).reshape(-1, 7)
        low, high = np.array(anchors.edges[:2]), np.array(anchors.edges[2:])
        inside = class_boxes[((class_boxes[:, :2] >= low) & (class_boxes[:, :2] < high)).all(axis=1)]
        learnt = int((anchors.overlaps(inside) >= anchors.needed).sum())
        rows.append((name, len(class_boxes), len(inside), learnt))
        if len(class_boxes) and not len(inside):
            edges = ', '.join(f'{value:g}' for value in anchors.edges)
            wrong.append(
                Finding(anchors.key, f'0 of {len(class_boxes)} labelled boxes of {name} in [{edges}] m', 'some')
            )
        elif len(inside) and learnt < RARELY * len(inside):
            size = np.median(inside[:, 3:5], axis=0)
            shape = ' x '.join(f'{value:g}' for value in anchors.sizes[0])
            wrong.append(
                Finding(
                    anchors.key,
                    f'{learnt} of {len(inside)} labelled boxes of {name} with an anchor ({shape} m)',
                    f'{100 * RARELY:.0f} % or more; the boxes measure {size[0]:.2f} x {size[1]:.2f} m',
                    'warning' if learnt else 'error',
                )
            )
    return rows, wrong
