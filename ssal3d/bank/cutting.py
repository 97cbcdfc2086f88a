"""Objects and backgrounds cut from clouds, and the generation that they make: the paste database of labelled frames."""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.generation import GROUND_TRUTH, OBJECT, PREDICTION, SOURCES, Generation, frame_dtype
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA
from ssal3d.ops.kernel import kernel
from ssal3d.ops.membership import Members, points_of_boxes
from ssal3d.predictions.schema import BOX_CONVENTION
from ssal3d.predictions.table import Ragged

LoadPoints = Callable[[str], NDArray[np.float32]]


class FrameCut(NamedTuple):
    """What is cut from a frame.

    Attributes:
        objects: ``(k,)`` of `OBJECT` without ``uid``, ``frame`` and ``offset``.
        points: ``(p, C)`` their points minus the box centres, in the same order.
        mask: Packed background mask.
        num_points: Points of the frame.
        checksum: CRC-32 of the points.
    """

    objects: NDArray
    points: NDArray[np.float32]
    mask: NDArray[np.uint8]
    num_points: int
    checksum: int


class BankArrays(NamedTuple):
    """The arrays of a generation, see `Generation`."""

    objects: NDArray
    points: NDArray[np.float32]
    frames: NDArray
    masks: NDArray[np.uint8]
    preds: NDArray


def cut_labelled_objects(
    load_points: LoadPoints, classes: Sequence[str], labelled: LabelledObjects, executor: Executor | None = None
) -> Generation:
    """Return the paste database: the annotated objects of the labelled frames, and what is left without them.

    Args:
        load_points: Gives the ``(N, C)`` float32 cloud of a frame.
        classes: Class names of the bank; objects of other classes are cut out of the background only.
        labelled: Annotated objects of the labelled frames.
        executor: Cuts frames side by side; None for one by one. Changes no byte.

    Raises:
        UserError: If there is no frame, or a cloud is not an ``(N, C)`` float32 array of equal C.
    """

    def cut(row: int) -> FrameCut:
        return cut_labelled_frames(load_points, classes, labelled, row, row + 1)[0]

    rows = range(len(labelled.frame_ids))
    return paste_database(classes, labelled, list((executor.map if executor else map)(cut, rows)))


def cut_labelled_frames(
    load_points: LoadPoints, classes: Sequence[str], labelled: LabelledObjects, start: int, stop: int
) -> list[FrameCut]:
    """Return what is cut from the labelled frames from one position to another, see `cut_labelled_objects`."""
    names, cuts = tuple(classes), []
    for row, frame_id in enumerate(labelled.frame_ids[start:stop].tolist(), start):
        points = check_points(load_points(frame_id), frame_id)
        annotations = labelled.table(classes, row)
        boxes = np.ascontiguousarray(annotations['box'])
        members = points_of_boxes(points, boxes)
        pasted = pasted_annotations(annotations, members)
        rows = new_objects(annotations[pasted], 1.0, 0.0, GROUND_TRUTH, number=0)
        found = cut_frame(points, boxes, members, rows, pasted, np.ones(len(boxes), np.bool_))
        set_uids(found.objects, frame_id, names)
        cuts.append(found)
    return cuts


def paste_database(classes: Sequence[str], labelled: LabelledObjects, cuts: Sequence[FrameCut]) -> Generation:
    """Return the generation of what was cut from all labelled frames.

    Args:
        classes: Class names of the bank.
        labelled: Annotated objects of the labelled frames.
        cuts: What `cut_labelled_frames` returned, for all frames.

    Raises:
        UserError: If there is no frame, or clouds have different numbers of columns.
    """
    if not cuts:
        raise UserError('the paste database needs at least one labelled frame, found none')
    names = tuple(classes)
    nothing = Ragged(np.zeros(0, PREDICTION), np.zeros(len(cuts) + 1, np.int64))
    arrays = joined_cuts(labelled.frame_ids.tolist(), np.ones(len(cuts), np.bool_), cuts, nothing)
    meta = generation_meta(arrays, names, 0, None)
    return Generation(*arrays, {**meta, 'tau': dict.fromkeys(names)})


def check_points(points: NDArray[np.float32], frame_id: str) -> NDArray[np.float32]:
    """Return the cloud, contiguous.

    Raises:
        UserError: If it is not an ``(N, C)`` float32 array with at least three columns.
    """
    if not isinstance(points, np.ndarray) or points.ndim != 2 or points.shape[1] < 3 or points.dtype != np.float32:
        found = f'{getattr(points, "dtype", type(points).__name__)} {getattr(points, "shape", "")}'
        raise UserError(f'frame {frame_id}: load_points returned {found}, expected (N, C) float32 with C >= 3')
    return np.ascontiguousarray(points)


def pasted_annotations(annotations: NDArray, members: Members) -> NDArray[np.int64]:
    """Return the positions of those of ``(K,)`` `ANNOTATION` that become objects: usable, trained, not empty.

    Args:
        annotations: Annotations of a frame.
        members: The points of their boxes, and of other boxes behind them.
    """
    holds_points = members.counts[: len(annotations)] > 0
    return np.flatnonzero(annotations['usable'] & (annotations['label'] >= 0) & holds_points)


def new_objects(
    boxes: NDArray,
    scores: NDArray[np.floating] | float,
    uncertainty: NDArray[np.floating] | float,
    source: int,
    number: int,
) -> NDArray:
    """Return ``(K,)`` new rows of `OBJECT`.

    Args:
        boxes: ``(K,)`` with ``box`` and ``label``: predictions or annotations.
        scores: ``(K,)`` their scores.
        uncertainty: ``(K,)`` their uncertainties.
        source: Index into `SOURCES`.
        number: Number of the generation.
    """
    rows = np.zeros(len(boxes), OBJECT)
    rows['box'], rows['label'], rows['score'], rows['unc'] = boxes['box'], boxes['label'], scores, uncertainty
    rows['source'], rows['born'], rows['seen'] = source, number, number
    return rows


def cut_frame(
    points: NDArray[np.float32],
    boxes: NDArray[np.float32],
    members: Members,
    rows: NDArray,
    chosen: NDArray[np.int64],
    blocked: NDArray[np.bool_],
) -> FrameCut:
    """Cut objects out of a frame.

    Args:
        points: ``(N, C)`` cloud.
        boxes: ``(M, 7)`` boxes.
        members: Their points.
        rows: ``(k,)`` of `OBJECT`; ``n_pts`` is set.
        chosen: ``(k,)`` the box of each object.
        blocked: ``(M,)`` boxes whose points leave the background.
    """
    rows['n_pts'] = members.counts[chosen]
    keep = _keep_mask(len(points), members.points, members.offsets, blocked)
    cut = _cut(points, boxes, members.points, members.offsets, chosen)
    return FrameCut(rows, cut, np.packbits(keep, bitorder='little'), len(points), zlib.crc32(points.data))


def set_uids(objects: NDArray, frame_id: str, classes: tuple[str, ...]) -> None:
    """Set the uid of a frame's objects, a 63-bit hash of what an object is: the same in every generation."""
    boxes = np.ascontiguousarray(objects['box'])
    digests = []
    for label, source, box in zip(objects['label'].tolist(), objects['source'].tolist(), boxes):
        name = f'{frame_id}|{classes[label]}|{SOURCES[source]}|'
        digests.append(hashlib.blake2b(name.encode() + box.tobytes(), digest_size=8).digest())
    objects['uid'] = np.frombuffer(b''.join(digests), '<u8') >> 1


def joined_objects(parts: Sequence[NDArray]) -> NDArray:
    """Concatenate rows of `OBJECT`; np.concatenate promotes structured types field by field in Python."""
    rows, start = np.empty(sum(map(len, parts)), OBJECT), 0
    for part in parts:
        rows[start : start + len(part)] = part
        start += len(part)
    return rows


def joined_cuts(
    frame_ids: list[str], labelled: NDArray[np.bool_], cuts: Sequence[FrameCut], preds: Ragged
) -> BankArrays:
    """Return the arrays of the generation that frames make.

    Args:
        frame_ids: ``(F,)`` frame ids, ascending.
        labelled: ``(F,)`` which frames are labelled.
        cuts: What was cut from each.
        preds: `PREDICTION` of the unlabelled frames.

    Raises:
        UserError: If their clouds have different numbers of columns.
    """
    channels = cuts[0].points.shape[1]
    for frame_id, cut in zip(frame_ids, cuts):
        if cut.points.shape[1] != channels:
            raise UserError(
                f'frame {frame_id}: load_points returned {cut.points.shape[1]} columns, expected {channels} as in '
                f'frame {frame_ids[0]}'
            )
    objects = joined_objects([cut.objects for cut in cuts])
    objects['frame'] = np.repeat(np.arange(len(cuts)), [len(cut.objects) for cut in cuts])
    objects['offset'] = _starts(objects['n_pts'])
    frames = np.zeros(len(cuts), frame_dtype(max(map(len, frame_ids))))
    frames['frame_id'], frames['labelled'] = frame_ids, labelled
    frames['n_points'] = [cut.num_points for cut in cuts]
    frames['checksum'] = [cut.checksum for cut in cuts]
    frames['mask_offset'] = _starts(np.array([len(cut.mask) for cut in cuts]))
    frames['pred_offset'] = preds.offsets[:-1]
    points, masks = (np.concatenate([getattr(cut, name) for cut in cuts]) for name in ('points', 'mask'))
    return BankArrays(objects, points, frames, masks, preds.values)


def generation_meta(arrays: BankArrays, classes: tuple[str, ...], number: int, parent: int | None) -> dict[str, Any]:
    """Return what the meta data of any generation says, without its thresholds.

    Args:
        arrays: What `joined_cuts` returned.
        classes: Class names.
        number: Number of the generation.
        parent: Number of the one before.
    """
    objects, frames = arrays.objects, arrays.frames
    counts = [
        {source: int(((objects['label'] == k) & (objects['source'] == s)).sum()) for s, source in enumerate(SOURCES)}
        for k in range(len(classes))
    ]
    return {
        'schema': SCHEMA,
        'generation': number,
        'parent': parent,
        'classes': list(classes),
        'box': BOX_CONVENTION,
        'channels': arrays.points.shape[1],
        'objects': dict(zip(classes, counts)),
        'frames': {'labelled': int(frames['labelled'].sum()), 'unlabelled': int((~frames['labelled']).sum())},
    }


def _starts(sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.cumsum(sizes, dtype=np.int64) - sizes


@kernel
def _keep_mask(num_points: Any, members: Any, offsets: Any, blocked: Any) -> Any:
    keep = np.ones(num_points, dtype=np.bool_)
    for box in range(blocked.shape[0]):
        if blocked[box]:
            for k in range(offsets[box], offsets[box + 1]):
                keep[members[k]] = False
    return keep


@kernel
def _cut(points: Any, boxes: Any, members: Any, offsets: Any, chosen: Any) -> Any:
    """Copy the points of the chosen boxes, in their order, minus the centres."""
    total = 0
    for box in chosen:
        total += offsets[box + 1] - offsets[box]
    cut = np.empty((total, points.shape[1]), dtype=np.float32)
    row = 0
    for box in chosen:
        for k in range(offsets[box], offsets[box + 1]):
            cut[row] = points[members[k]]
            for axis in range(3):
                cut[row, axis] -= boxes[box, axis]
            row += 1
    return cut


def _warm_up() -> None:
    cloud, box = np.zeros((1, 4), np.float32), np.ones((1, 7), np.float32)
    labelled = LabelledObjects.from_frames([('', box, [''])])
    cut_labelled_objects(lambda _: cloud, ('',), labelled)
