"""Labels that deserve a second look, the most suspicious first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.checks import ENOUGH, check_frame
from ssal3d.annotation.model import Cuboid, LabelFrame, boxes_of
from ssal3d.annotation.prelabels import matched
from ssal3d.data.folder.limits import SAME_OBJECT
from ssal3d.ops.boxes import bev_iou, iou_3d
from ssal3d.terminal import track

KINDS = {
    'missed': 'the models see an object where nobody drew a box',
    'displaced': 'the models see the object somewhat elsewhere, in another size or direction',
    'class': 'the models see another class',
    'points': 'the box holds no point',
    'size': 'the size is unusual for the class or impossible',
    'duplicate': 'one object has two boxes, or two boxes are in one place',
    'wrong': 'the box cannot be right: class, range or tilt',
}
BOTH = 'both models'
_OUTLIER = 4.0  # robust standard deviations of a class's log sizes from which a size is an outlier
_LEAST_SPREAD = 0.06  # of a class's log sizes: 6 %; people agree no better
_OVERLAP = 0.25  # BEV IoU from which two boxes cannot both be right; objects do not stand in each other
_TOUCHES = 0.1  # BEV IoU from which a label and a prediction show the same object
_AGREES = 0.55  # BEV IoU below which they disagree about where it is
# How suspicious a finding without models is, between 0 (fine) and 1 (certainly wrong).
_SUSPICION = {'points': 0.6, 'duplicate': 1.0, 'class': 1.0, 'size': 1.0, 'range': 1.0, 'tilt': 0.9}
_KIND = {'points': 'points', 'size': 'size', 'duplicate': 'duplicate'}


@dataclass(frozen=True)
class Suspicion:
    """A label that may be wrong.

    Attributes:
        frame_id: Its frame.
        kind: One of `KINDS`.
        suspicion: In [0, 1]; higher is more likely wrong.
        text: One line with file, line and reason.
        box: (x, y, z, dx, dy, dz, yaw) to look at.
    """

    frame_id: str
    kind: str
    suspicion: float
    text: str
    box: tuple[float, ...] = ()


def suspicions(
    frames: Sequence[LabelFrame],
    classes: Sequence[str],
    points: Callable[[str], NDArray[np.floating]] | None = None,
    seen: Mapping[str, Sequence[Cuboid]] | None = None,
    viewer: str = BOTH,
) -> list[Suspicion]:
    """Rank labels by how likely they are wrong.

    Args:
        frames: Labelled frames.
        classes: Class names that may occur.
        points: Gives a frame's scan by its id, to count points.
        seen: What both models agree on by frame id (`ssal3d.annotation.prelabels.prelabels`), for missed, displaced and
            mislabelled objects.
        viewer: Who saw that, in words: `BOTH`, or ``'the model'`` if there is only one.

    Returns:
        The most suspicious first.
    """
    found: list[Suspicion] = []
    odd = size_outliers(frames)
    for frame in track(frames, 'checking the labels'):
        scan = points(frame.frame_id) if points else None
        found.extend(odd.get(frame.frame_id, ()))
        found.extend(_overlaps(frame))
        for finding in check_frame(frame, classes, scan):
            found.append(
                Suspicion(
                    frame.frame_id,
                    _KIND.get(finding.kind, 'wrong'),
                    _SUSPICION[finding.kind],
                    finding.text,
                    finding.box,
                )
            )
        if seen is not None:
            found.extend(_against_models(frame, seen.get(frame.frame_id, ()), viewer))
    return sorted(found, key=lambda entry: (-entry.suspicion, entry.frame_id, entry.text))


def size_outliers(frames: Sequence[LabelFrame]) -> dict[str, list[Suspicion]]:
    """Find boxes whose size is an outlier of their class, by the median and the median deviation of log sizes.

    Args:
        frames: All frames; classes of fewer than `ENOUGH` boxes are left out.

    Returns:
        Suspicions by frame id: 0.5 at the limit, towards 1 the farther away.
    """
    found: dict[str, list[Suspicion]] = {}
    everything = [(frame, cuboid) for frame in frames for cuboid in frame.cuboids if min(cuboid.box[3:6]) > 0]
    for name in {cuboid.class_name for _, cuboid in everything}:
        of_class = [pair for pair in everything if pair[1].class_name == name]
        if len(of_class) < ENOUGH:
            continue
        sizes = np.log([cuboid.box[3:6] for _, cuboid in of_class])
        middle = np.median(sizes, axis=0)
        spread = np.maximum(1.4826 * np.median(np.abs(sizes - middle), axis=0), _LEAST_SPREAD)
        distance = (np.abs(sizes - middle) / spread).max(axis=1)
        usual = ' x '.join(f'{value:.2f}' for value in np.exp(middle))
        for index in np.flatnonzero(distance > _OUTLIER).tolist():
            frame, cuboid = of_class[index]
            measured = ' x '.join(f'{value:.2f}' for value in cuboid.box[3:6])
            text = f'{_place(cuboid, frame.frame_id)} measures {measured} m, usual for the class is {usual} m'
            suspicion = 1 - 0.5 * _OUTLIER / float(distance[index])
            found.setdefault(frame.frame_id, []).append(Suspicion(frame.frame_id, 'size', suspicion, text, cuboid.box))
    return found


def as_json(entries: Sequence[Suspicion]) -> list[dict[str, Any]]:
    """Return suspicions as JSON."""
    return [
        {
            'rank': rank,
            'frame_id': entry.frame_id,
            'kind': entry.kind,
            'suspicion': round(entry.suspicion, 4),
            'text': entry.text,
            'box': list(entry.box),
        }
        for rank, entry in enumerate(entries)
    ]


def _overlaps(frame: LabelFrame) -> list[Suspicion]:
    """Return pairs of boxes in one place; those that `check_frame` finds (same class, nearly equal) are left out."""
    overlap = np.triu(bev_iou(frame.boxes, frame.boxes), k=1)
    volume = iou_3d(frame.boxes, frame.boxes)
    result = []
    for first, second in np.argwhere(overlap > _OVERLAP).tolist():
        one, other = frame.cuboids[first], frame.cuboids[second]
        if one.class_name == other.class_name and volume[first, second] > SAME_OBJECT:
            continue
        iou = float(overlap[first, second])
        text = f"{_place(other, frame.frame_id)} is where '{one.class_name}' is (BEV IoU {iou:.2f})"
        result.append(Suspicion(frame.frame_id, 'duplicate', 0.5 + 0.5 * iou, text, other.box))
    return result


def _place(cuboid: Cuboid, frame_id: str) -> str:
    return f"{cuboid.where or 'frame ' + frame_id}: box '{cuboid.class_name}'"


def _against_models(frame: LabelFrame, seen: Sequence[Cuboid], viewer: str) -> list[Suspicion]:
    overlap = bev_iou(frame.boxes, boxes_of(seen))
    labels, predictions = matched(overlap, _TOUCHES)
    sees = 'see' if viewer == BOTH else 'sees'
    result = []
    for prediction in np.setdiff1d(np.arange(len(seen)), predictions).tolist():
        cuboid = seen[prediction]
        score = cuboid.score or 0.0
        if len(frame.cuboids) and overlap[:, prediction].max() >= _TOUCHES:
            continue  # overlaps a label that another prediction fits better
        text = f'frame {frame.frame_id}: no box where {viewer} {sees} a {_seen(cuboid)}'
        result.append(Suspicion(frame.frame_id, 'missed', score, text, cuboid.box))
    for label, prediction in zip(labels.tolist(), predictions.tolist()):
        drawn, cuboid, iou = frame.cuboids[label], seen[prediction], float(overlap[label, prediction])
        score = cuboid.score or 0.0
        place = _place(drawn, frame.frame_id)
        if drawn.class_name != cuboid.class_name:
            text = f'{place} is a {_seen(cuboid)} for {viewer}'
            result.append(Suspicion(frame.frame_id, 'class', score * iou, text, drawn.box))
        elif iou < _AGREES:
            text = f'{place} overlaps the {_seen(cuboid)} of {viewer} by {iou:.2f} only'
            result.append(Suspicion(frame.frame_id, 'displaced', score * (1 - iou), text, drawn.box))
    return result


def _seen(cuboid: Cuboid) -> str:
    x, y = cuboid.box[:2]
    return f"'{cuboid.class_name}' at ({x:.1f}, {y:.1f}), score {cuboid.score or 0.0:.2f}"
