"""Pseudo-scenes: objects of the bank pasted into a background or a labelled frame (docs/deviations.md#cpsp)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.bank.generation import OBJECT, Generation
from ssal3d.errors import UserError, unknown_name
from ssal3d.ops.box_kernels import pair_bev_iou
from ssal3d.ops.kept_points import copy_kept
from ssal3d.ops.kernel import kernel
from ssal3d.ops.membership import outside_boxes

MODES = ('add', 'fill_up_to')
OBJECT_SOURCES = ('ground_truth', 'confident')


@dataclass(frozen=True)
class PasteSettings:
    """What is pasted into a scene.

    Attributes:
        groups: Objects to draw by class name, in this order (KITTI and Waymo 15 Car or Vehicle, 10, 10).
        false_positives: False positives to draw by class name, after the objects; their points carry no label.
        sources: Which objects: a labelled frame gets ``('ground_truth',)`` only, a pseudo-scene all.
        mode: ``'add'`` draws that many (KITTI); ``'fill_up_to'`` only what the scene lacks to that many (Waymo).
        min_points: Points an object needs.
        in_group_iou: Inside a group, both objects of a pair with this BEV IoU are refused; 0 refuses any overlap, as
            usual for labelled frames; the authors take 0.3 in pseudo-scenes.
        annotated_share: Share in [0, 1] of a class's draw that are annotated objects, as far as there are that many
            and as many confident ones as are left to draw; None draws from all alike, so few are annotated.
        use_dim: Columns of the files' points that the scene has, as in ``LoadPointsFromFile``: the first so many, or a
            list; None for all.
    """

    groups: Mapping[str, int]
    false_positives: Mapping[str, int] = field(default_factory=dict)
    sources: Sequence[str] = OBJECT_SOURCES
    mode: str = 'add'
    min_points: int = 5
    in_group_iou: float = 0.3
    annotated_share: float | None = None
    use_dim: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown_name('paste mode', self.mode, list(MODES))
        if self.annotated_share is not None and not 0 <= self.annotated_share <= 1:
            raise UserError(f'found annotated_share {self.annotated_share}, expected a share in [0, 1]')


@dataclass(frozen=True)
class Scene:
    """A cloud with its labelled boxes.

    Attributes:
        points: ``(N, C)`` float32 points.
        boxes: ``(M, 7)`` gravity-centred boxes.
        names: ``(M,)`` class names.
        uids: ``(M,)`` uid of each pasted object in the bank, -1 for boxes that were in the scene before.
        false_positives: ``(K,)`` uids of pasted false positives, which have no box.
        obstacles: ``(O, 7)`` boxes of known objects that are no labels here, such as vans; nothing is pasted into them.
    """

    points: NDArray[np.float32]
    boxes: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 7), np.float32))
    names: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, np.str_))
    uids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    false_positives: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    obstacles: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 7), np.float32))


def paste_objects(
    scene: Scene,
    generation: Generation,
    settings: PasteSettings,
    rng: np.random.Generator,
    plane: Sequence[float] | NDArray[np.floating] | None = None,
) -> Scene:
    """Return the scene with objects of the bank pasted in.

    For each class a fresh draw without replacement is taken from its objects, ground truth and pseudo labels alike
    unless `PasteSettings.annotated_share` says otherwise. An object that touches (BEV IoU above 0) a box of the scene,
    an obstacle or an object of an earlier group is refused; for pairs within a group see `PasteSettings.in_group_iou`.
    Objects keep their x, y and yaw. Points of the scene inside a pasted box are removed; the objects' points come
    first. A class without objects is skipped.

    Args:
        scene: A background, or a labelled frame with its boxes.
        generation: Where objects come from; only the points of the drawn ones are read.
        settings: How many objects of which kind.
        rng: Decides the draw.
        plane: Road plane ``(a, b, c, d)`` of this scene, ``a x + b y + c z + d = 0`` in the LiDAR frame: every pasted
            object, false positives included, is moved in z until its bottom face stands on it.

    Raises:
        UserError: If a class is unknown, the plane is vertical, or the points have other columns than the bank's.
    """
    columns = _columns(scene.points.shape[1], generation, settings.use_dim)
    rows, labelled = _draw(scene, generation, settings, rng)
    if not len(rows):
        return scene
    objects = generation.objects[rows]
    boxes = objects['box'].copy()
    if plane is not None:
        boxes[:, 2] = _ground_height(boxes, plane) + boxes[:, 5] / 2
    keep = outside_boxes(scene.points, boxes)
    starts, counts = objects['offset'].copy(), objects['n_pts'].copy()
    pasted = _place(generation.points, columns, starts, counts, boxes, np.ascontiguousarray(scene.points), keep)
    names = np.array(generation.classes)[objects['label'][:labelled]]
    return Scene(
        pasted,
        np.concatenate((scene.boxes, boxes[:labelled])),
        np.concatenate((scene.names, names)),
        np.concatenate((_uids(scene), objects['uid'][:labelled])),
        np.concatenate((scene.false_positives, objects['uid'][labelled:])),
        scene.obstacles,
    )


def _columns(width: int, generation: Generation, use_dim: int | Sequence[int] | None) -> NDArray[np.int64]:
    """Return the columns of the bank's points that a scene with points of this width has."""
    stored = generation.points.shape[1]
    chosen = range(stored if use_dim is None else use_dim) if isinstance(use_dim, int | None) else use_dim
    columns = np.array(chosen, dtype=np.int64)
    if len(columns) != width or columns[:3].tolist() != [0, 1, 2] or columns.max() >= stored:
        raise UserError(
            f'the scene has {width} columns per point, the objects of {generation.source} have {stored}, of which '
            f'PasteObjects takes {columns.tolist()}; load points with the same columns as when the bank was built, or give '
            'PasteObjects the use_dim of LoadPointsFromFile'
        )
    return columns


def _draw(
    scene: Scene, generation: Generation, settings: PasteSettings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], int]:
    """Return the accepted rows of the bank, false positives last, and the number of labelled ones."""
    drawn, labelled = [np.empty(0, np.int64)], 0
    for groups, is_labelled in ((settings.groups, True), (settings.false_positives, False)):
        for name, wanted in groups.items():
            sources, min_points = (settings.sources, settings.min_points) if is_labelled else (('false_positive',), 1)
            rows = generation.rows(name, sources, min_points)
            if is_labelled and settings.mode == 'fill_up_to':
                wanted -= int((scene.names == name).sum())
            if wanted <= 0 or not len(rows):
                continue
            if is_labelled and settings.annotated_share is not None:
                rows = _of_both_kinds(generation, name, wanted, settings, rng)
            else:
                rows = _some(rows, wanted, rng)
            drawn.append(rows)
            labelled += len(rows) * is_labelled
    rows = np.concatenate(drawn)
    placed = np.concatenate((scene.boxes, scene.obstacles)).astype(np.float64)
    ends = np.cumsum([len(group) for group in drawn])
    fits = _fits(generation.objects['box'][rows].astype(np.float64), ends, placed, settings.in_group_iou)
    return rows[fits], int(np.count_nonzero(fits[:labelled]))


def _of_both_kinds(
    generation: Generation, name: str, wanted: int, settings: PasteSettings, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return rows of a class, the share of annotated objects first; where one kind has too few, the other fills up."""
    assert settings.annotated_share is not None
    annotated, confident = (
        generation.rows(name, [source] if source in settings.sources else [], settings.min_points)
        for source in OBJECT_SOURCES
    )
    sure = min(len(annotated), max(round(settings.annotated_share * wanted), wanted - len(confident)))
    return np.concatenate((_some(annotated, sure, rng), _some(confident, wanted - sure, rng)))


def _some(rows: NDArray[np.int64], wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rows[rng.choice(len(rows), min(wanted, len(rows)), replace=False)]


def _ground_height(boxes: NDArray[np.float32], plane: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float64]:
    a, b, c, d = (float(value) for value in plane)
    if not abs(c) > 1e-6:
        raise UserError(f'found the road plane {tuple(plane)}, expected (a, b, c, d) in the LiDAR frame with c not 0')
    return -(a * boxes[:, 0].astype(np.float64) + b * boxes[:, 1] + d) / c


def _uids(scene: Scene) -> NDArray[np.int64]:
    """Return the uids of the scene's boxes; those it was made with have none."""
    return np.concatenate((scene.uids, np.full(len(scene.boxes) - len(scene.uids), -1)))


@kernel
def _fits(boxes: Any, ends: Any, placed: Any, in_group_iou: Any) -> Any:
    """Return which drawn boxes touch no placed box and overlap no other drawn box of their group too much.

    Groups follow each other and end before the rows ``ends``; what fits of one is placed for the next.
    """
    fits = np.ones(boxes.shape[0], dtype=np.bool_)
    standing, count = np.concatenate((placed, boxes)), placed.shape[0]
    start = 0
    for end in ends:
        for i in range(start, end):
            for j in range(count):
                if pair_bev_iou(boxes[i], standing[j]) > 0.0:
                    fits[i] = False
                    break
            for j in range(start, i):
                iou = pair_bev_iou(boxes[i], boxes[j])
                if iou > 0.0 and iou >= in_group_iou:
                    fits[i] = fits[j] = False
        for i in range(start, end):
            if fits[i]:
                standing[count] = boxes[i]
                count += 1
        start = end
    return fits


@kernel
def _place(bank_points: Any, columns: Any, offsets: Any, counts: Any, boxes: Any, points: Any, keep: Any) -> Any:
    """Return the points of the objects at their boxes' centres, then the points of the scene that are kept."""
    result = np.empty((counts.sum() + keep.sum(), points.shape[1]), dtype=np.float32)
    row = 0
    for k in range(boxes.shape[0]):
        for i in range(offsets[k], offsets[k] + counts[k]):
            for column in range(points.shape[1]):
                result[row, column] = bank_points[i, columns[column]] + (
                    boxes[k, column] if column < 3 else np.float32(0)
                )
            row += 1
    copy_kept(points, keep, result[row:])
    return result


def _warm_up() -> None:
    rows, points = np.zeros(1, OBJECT), np.zeros((1, 4), np.float32)
    rows['n_pts'] = 1
    settings = PasteSettings({'': 1}, min_points=1, sources=('ground_truth',))
    for bank_points in (points, np.frombuffer(points.tobytes(), np.float32).reshape(1, 4)):  # in memory, and mapped
        generation = Generation(rows, bank_points, rows[:0], np.zeros(0, np.uint8), rows[:0], {'classes': ['']})
        paste_objects(Scene(points), generation, settings, np.random.default_rng(0))
