"""Which detections are right: those that overlap an annotated object of their class enough."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError, unknown_name
from ssal3d.evaluation.annotated_boxes import AnnotatedBoxes
from ssal3d.ops.box_kernels import pair_iou_3d
from ssal3d.ops.kernel import kernel

Array = NDArray[np.floating]
Rows = NDArray[np.int64]


class FrameDetections(Protocol):
    """What is needed of detections in F frames; `ssal3d.predictions.PoolPredictions` has it."""

    @property
    def frame_ids(self) -> NDArray[np.str_]:
        """``(F,)`` ids."""

    @property
    def offsets(self) -> Rows:
        """``(F + 1,)`` first detection of every frame."""

    @property
    def boxes(self) -> NDArray[np.float32]:
        """``(K, 7)`` gravity-centred boxes in the LiDAR frame, m and rad."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """``(K,)`` confidences in [0, 1]."""

    @property
    def labels(self) -> NDArray[np.int16]:
        """``(K,)`` index into the classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""

    @property
    def source(self) -> str:
        """Where they come from, for errors."""


IOU_THRESHOLDS = {'Car': 0.7, 'Vehicle': 0.7, 'Pedestrian': 0.5, 'Cyclist': 0.5}
MATCHINGS = ('independent', 'best_any_class', 'greedy')
_INDEPENDENT, _BEST_ANY_CLASS, _GREEDY = range(len(MATCHINGS))


def right_detections(
    boxes: Array,
    labels: NDArray[np.integer],
    scores: Array,
    offsets: Rows,
    truth_boxes: Array,
    truth_labels: NDArray[np.integer],
    truth_offsets: Rows,
    min_iou: Array,
    matching: str = 'independent',
) -> NDArray[np.bool_]:
    """Return which detections are right.

    Args:
        boxes: ``(K, 7)`` gravity-centred boxes, frame by frame.
        labels: ``(K,)`` their classes.
        scores: ``(K,)`` confidences; only ``'greedy'`` looks at them.
        offsets: ``(F + 1,)`` first box of every frame.
        truth_boxes: ``(G, 7)`` annotated boxes of the same frames.
        truth_labels: ``(G,)`` their classes.
        truth_offsets: ``(F + 1,)`` first annotated box of every frame.
        min_iou: ``(C,)`` 3D IoU from which on a detection of each class is right.
        matching: ``'independent'``: every detection that overlaps an object of its class enough is right, duplicates,
            too. ``'best_any_class'``: the object that it overlaps most, of any class, must be of its class (Küppers et
            al., 2020). ``'greedy'``: an object makes only one detection right, the most confident first.

    Returns:
        ``(K,)`` True where right. O(pairs within a frame).

    Raises:
        UserError: If the matching is unknown.
    """
    if matching not in MATCHINGS:
        raise unknown_name('matching', matching, list(MATCHINGS))
    order = np.lexsort(
        (-np.asarray(scores, dtype=np.float64), np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)))
    )
    return _right(
        *(
            np.ascontiguousarray(boxes, dtype=np.float64).reshape(-1, 7),
            np.asarray(labels, dtype=np.int64),
            order,
            offsets,
        ),
        *(np.ascontiguousarray(truth_boxes, dtype=np.float64).reshape(-1, 7), np.asarray(truth_labels, dtype=np.int64)),
        *(truth_offsets, np.asarray(min_iou, dtype=np.float64), MATCHINGS.index(matching)),
    )


def right_in_frames(
    pool: FrameDetections,
    truth: AnnotatedBoxes,
    thresholds: Mapping[str, float],
    matching: str = 'independent',
    rows: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return which detections of many frames are right.

    Args:
        pool: Detections.
        truth: Annotated boxes of the same frames in the same order; labels index the same classes.
        thresholds: By class name.
        matching: See `right_detections`.
        rows: ``(K,)`` detections to judge, all by default; the others might as well not be there.

    Returns:
        True where right, for each of the chosen detections.
    """
    rows = np.ones(len(pool.scores), dtype=np.bool_) if rows is None else rows
    offsets = np.concatenate(([0], np.cumsum(rows)))[pool.offsets]
    min_iou = np.array([thresholds[name] for name in pool.classes])
    ours = pool.boxes[rows], pool.labels[rows], pool.scores[rows], offsets
    return right_detections(*ours, truth.boxes, truth.labels, truth.offsets, min_iou, matching)


def class_thresholds(classes: Sequence[str], changes: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the 3D IoU from which on a detection is right, by class.

    Args:
        classes: Class names.
        changes: Changes to `IOU_THRESHOLDS` by class name; numbers in (0, 1].

    Raises:
        UserError: If a class has no threshold, or a name or number in ``changes`` is wrong.
    """
    for name in changes or {}:
        if name not in classes:
            raise unknown_name('class', name, list(classes))
    result = {}
    for name in classes:
        value = {**IOU_THRESHOLDS, **(changes or {})}.get(name)
        if value is None:
            raise UserError(f"class '{name}' needs an IoU threshold of its own, e.g. --iou {name}=0.5")
        if not 0 < value <= 1:
            raise UserError(f'IoU threshold of {name}: found {value}, expected a number above 0 and up to 1')
        result[name] = float(value)
    return result


@kernel
def _right(
    boxes: Any,
    labels: Any,
    order: Any,
    offsets: Any,
    truth_boxes: Any,
    truth_labels: Any,
    truth_offsets: Any,
    min_iou: Any,
    matching: Any,
) -> Any:
    right = np.zeros(labels.size, dtype=np.bool_)
    taken = np.zeros(truth_labels.size, dtype=np.bool_)
    for frame in range(offsets.size - 1):
        for d in order[offsets[frame] : offsets[frame + 1]]:
            best, best_iou = -1, 0.0
            for g in range(truth_offsets[frame], truth_offsets[frame + 1]):
                other_class = truth_labels[g] != labels[d]
                if taken[g] or (other_class and matching != _BEST_ANY_CLASS):
                    continue
                iou = pair_iou_3d(boxes[d], truth_boxes[g])
                if iou > best_iou:
                    best, best_iou = g, iou
            if best >= 0 and best_iou >= min_iou[labels[d]] and truth_labels[best] == labels[d]:
                right[d] = True
                taken[best] = matching == _GREEDY
    return right


def _warm_up() -> None:
    boxes, one, offsets = np.ones((1, 7)), np.zeros(1, dtype=np.int64), np.array([0, 1])
    right_detections(boxes, one, np.ones(1), offsets, boxes, one, offsets, np.full(1, 0.5))
