"""Labels that deserve a second look, the most suspicious first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.checks import check_frame, odd_sizes
from ssal3d.annotation.model import Cuboid, LabelFrame, boxes_of
from ssal3d.annotation.prelabels import matched
from ssal3d.ops.boxes import bev_iou
from ssal3d.terminal import track

KINDS = {
    'missed': 'both models see an object where nobody drew a box',
    'displaced': 'both models see the object somewhat elsewhere, in another size or direction',
    'class': 'both models see another class',
    'points': 'the box holds no point',
    'size': 'the size is unusual for the class or impossible',
    'duplicate': 'one object has two boxes',
    'wrong': 'the box cannot be right: class, range or tilt',
}
_TOUCHES = 0.1  # BEV IoU from which a label and a prediction show the same object
_AGREES = 0.55  # BEV IoU below which they disagree about where it is
# How suspicious a finding without models is, between 0 (fine) and 1 (certainly wrong).
_SUSPICION = {'points': 0.6, 'odd_size': 0.7, 'duplicate': 1.0, 'class': 1.0, 'size': 1.0, 'range': 1.0, 'tilt': 0.9}
_KIND = {'points': 'points', 'odd_size': 'size', 'size': 'size', 'duplicate': 'duplicate'}


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
) -> list[Suspicion]:
    """Rank labels by how likely they are wrong.

    Args:
        frames: Labelled frames.
        classes: Class names that may occur.
        points: Gives a frame's scan by its id, to count points.
        seen: What both models agree on by frame id (`ssal3d.annotation.prelabels.prelabels`), for missed, displaced and
            mislabelled objects.

    Returns:
        The most suspicious first.
    """
    found: list[Suspicion] = []
    odd = odd_sizes(frames)
    for frame in track(frames, 'checking the labels'):
        scan = points(frame.frame_id) if points else None
        for finding in (*check_frame(frame, classes, scan), *odd.get(frame.frame_id, ())):
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
            found.extend(_against_models(frame, seen.get(frame.frame_id, ())))
    return sorted(found, key=lambda entry: (-entry.suspicion, entry.frame_id, entry.text))


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


def _against_models(frame: LabelFrame, seen: Sequence[Cuboid]) -> list[Suspicion]:
    overlap = bev_iou(frame.boxes, boxes_of(seen))
    labels, predictions = matched(overlap, _TOUCHES)
    result = []
    for prediction in np.setdiff1d(np.arange(len(seen)), predictions).tolist():
        cuboid = seen[prediction]
        score = cuboid.score or 0.0
        if len(frame.cuboids) and overlap[:, prediction].max() >= _TOUCHES:
            continue  # overlaps a label that another prediction fits better
        text = f'frame {frame.frame_id}: no box where both models see a {_seen(cuboid)}'
        result.append(Suspicion(frame.frame_id, 'missed', score, text, cuboid.box))
    for label, prediction in zip(labels.tolist(), predictions.tolist()):
        drawn, cuboid, iou = frame.cuboids[label], seen[prediction], float(overlap[label, prediction])
        score = cuboid.score or 0.0
        place = f"{drawn.where or 'frame ' + frame.frame_id}: box '{drawn.class_name}'"
        if drawn.class_name != cuboid.class_name:
            text = f'{place} is a {_seen(cuboid)} for both models'
            result.append(Suspicion(frame.frame_id, 'class', score * iou, text, drawn.box))
        elif iou < _AGREES:
            text = f'{place} overlaps the {_seen(cuboid)} of both models by {iou:.2f} only'
            result.append(Suspicion(frame.frame_id, 'displaced', score * (1 - iou), text, drawn.box))
    return result


def _seen(cuboid: Cuboid) -> str:
    x, y = cuboid.box[:2]
    return f"'{cuboid.class_name}' at ({x:.1f}, {y:.1f}), score {cuboid.score or 0.0:.2f}"
