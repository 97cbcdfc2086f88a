"""Labels that cannot belong to their scans, and what is probably wrong with them.

Nothing here knows a data set: a converter hands over a sample of labelled scans and, beside the mistakes that every
labelling tool can make, those that its own format invites.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.label_fit import LabelledScan, compare, object_points

Array = NDArray[np.floating]
Candidates = Mapping[str, Callable[[LabelledScan], Array]]

LONGEST = 50.0  # metres; longer than any road vehicle, and than a tram
FEWEST_BOXES = 8  # fewer prove nothing
_LEAST_HELD = 0.5  # share of the boxes that must hold a point of an object
_CLEARLY = 0.7  # share that a likelier reading of the labels must reach
_WORSE, _BETTER = 0.87, 0.95  # shares of the best reading's points: the labels as read, and another reading
_FRAMES = 8  # neighbouring frames that must agree
_AGREEING = 0.7
_AXES = ('length', 'width', 'height')


@dataclass(frozen=True)
class Fit:
    """How the boxes of a sample fit their scans.

    Attributes:
        boxes: Number of boxes.
        held: Share of them that hold a point of an object, not only road; NaN without boxes.
        fault: What cannot be right, with the likely cause; None if nothing is wrong.
    """

    boxes: int
    held: float
    fault: str | None


def check_fit(scans: Sequence[LabelledScan], candidates: Candidates) -> Fit:
    """Check that labels fit their scans, and find the reading of the labels under which they would.

    Measured on 318 boxes of 50 official KITTI frames and 181 of a drive: right labels hold 98 % of what the best
    candidate holds, and none of ten mistakes leaves them more than 81 %.

    Args:
        scans: Labelled frames in the order of recording, those without boxes included.
        candidates: Likely mistakes by name; each returns the boxes of a scan as they would be without the mistake.

    Returns:
        The fit; `Fit.fault` names the candidate that explains the points best.
    """
    per_scan = [object_points(scan.points, scan.boxes) for scan in scans]
    counts = _joined(per_scan)
    held = _share_held(counts)
    if len(counts) < FEWEST_BOXES:
        return Fit(len(counts), held, None)
    corrected = {
        name: _joined([object_points(scan.points, change(scan)) for scan in scans])
        for name, change in candidates.items()
    }
    shifted = _neighbours(scans, per_scan)
    if held < _LEAST_HELD:
        likely = {name: (_share_held(found), found.sum()) for name, found in corrected.items()}
        likely |= {name: (share, 0) for name, (share, _) in shifted.items()}
        best = max(likely, key=lambda name: likely[name])
        cause = best if likely[best][0] >= _CLEARLY else 'calibration or labels of other data'
        fault = f'{100 * (1 - held):.0f} % of {len(counts)} boxes hold no point of an object; likely cause: {cause}'
        return Fit(len(counts), held, fault)
    return Fit(len(counts), held, _better_reading(counts, corrected) or _better_neighbour(shifted))


def check_numbers(sizes: Array, angles: Array) -> str | None:
    """Return what is wrong with the unit of sizes or angles; None if nothing is.

    Args:
        sizes: ``(N, 3)`` as read, metres expected.
        angles: ``(N,)`` as read, radians expected.
    """
    turns = np.abs(angles) > 2 * np.pi + 0.01
    if turns.mean() > 0.01 if len(turns) else False:
        return (
            f'{turns.sum()} of {len(turns)} angles are beyond a full turn (the greatest is {np.abs(angles).max():g}); '
            'likely cause: degrees instead of radians'
        )
    huge = sizes.max(axis=1, initial=0) > LONGEST
    if huge.mean() > 0.2 if len(huge) else False:
        unit = 'centimetres' if np.median(sizes) < 1000 else 'millimetres'
        return f'{huge.sum()} of {len(huge)} boxes are longer than {LONGEST:.0f} m; likely cause: sizes in {unit}'
    return None


def usual_mistakes(on_bottom: bool) -> dict[str, Callable[[LabelledScan], Array]]:
    """Return the mistakes of labels in any format as candidates for `check_fit`.

    Args:
        on_bottom: Whether the labels give the centre of the bottom face, so that another height moves the centre.
    """

    def sizes(order: Sequence[int]) -> Callable[[LabelledScan], Array]:
        return lambda scan: _with_sizes(scan.boxes, order, on_bottom)

    mistakes = {}
    for order in permutations(range(3)):
        if order != (0, 1, 2):
            inverse = [_AXES[order.index(axis)] for axis in range(3)]
            also = ', or boxes turned by 90 degrees' if order == (1, 0, 2) else ''
            mistakes[f'sizes in another order ({", ".join(inverse)} taken for {", ".join(_AXES)}){also}'] = sizes(order)
    mistakes |= {
        'angles that turn the other way': lambda scan: _with_angle(scan.boxes, -scan.boxes[:, 6]),
        'angles that turn the other way and start 90 degrees aside': lambda scan: _with_angle(
            scan.boxes, np.pi / 2 - scan.boxes[:, 6]
        ),
        'the centre of the box taken for that of its bottom': lambda scan: _lifted(scan.boxes, -0.5),
        'the centre of the bottom taken for that of the box': lambda scan: _lifted(scan.boxes, 0.5),
    }
    return mistakes


def wrong_units() -> dict[str, Callable[[LabelledScan], Array]]:
    """Return units that labels may have instead of metres and radians, as candidates for `check_fit`."""

    def scaled(columns: slice, factor: float) -> Callable[[LabelledScan], Array]:
        def change(scan: LabelledScan) -> Array:
            rows = scan.raw.copy()
            rows[:, columns] *= factor
            return scan.read(rows)

        return change

    return {
        'degrees instead of radians': scaled(slice(6, 7), np.pi / 180),
        'labels in centimetres': scaled(slice(0, 6), 1e-2),
        'labels in millimetres': scaled(slice(0, 6), 1e-3),
        'sizes in centimetres': scaled(slice(3, 6), 1e-2),
        'places in centimetres': scaled(slice(0, 3), 1e-2),
    }


def wrong_axes() -> dict[str, Callable[[LabelledScan], Array]]:
    """Return frames that labels may stand in instead of the LiDAR frame (x forward, y left, z up)."""
    return {
        'labels in the camera frame (see --label-frame)': _from_camera,
        'labels whose x axis points to the right and y axis forward': lambda scan: _turned(scan.raw, 1, -1),
        'labels whose y axis points to the right': lambda scan: _mirrored(scan.raw),
    }


def in_runs(total: int, count: int, run: int = 3) -> list[int]:
    """Return positions of about ``count`` of ``total`` frames: short runs of neighbours, evenly spread.

    >>> in_runs(100, 9)
    [0, 1, 2, 48, 49, 50, 97, 98, 99]
    """
    if total <= count:
        return list(range(total))
    starts = np.linspace(0, total - run, max(1, count // run)).astype(int)
    return sorted({int(start) + step for start in starts for step in range(run)})


def _better_reading(counts: NDArray[np.integer], corrected: Mapping[str, NDArray[np.integer]]) -> str | None:
    shares = compare(np.stack([counts, *corrected.values()]))
    if np.isnan(shares[0]) or not corrected:
        return None
    best = int(shares[1:].argmax())
    if shares[0] > _WORSE or shares[best + 1] < _BETTER:
        return None
    return (
        f'the boxes hold only {100 * shares[0]:.0f} % of the points that they would hold otherwise; likely cause: '
        f'{list(corrected)[best]}'
    )


def _neighbours(
    scans: Sequence[LabelledScan], points_in_boxes: Sequence[NDArray[np.integer]]
) -> dict[str, tuple[float, float]]:
    """Return, for the label files of the next and the previous frame, the share that holds points and the votes."""
    result = {}
    for step, name in ((1, 'label files that belong to the frame before'), (-1, 'label files that belong to the next')):
        pairs = [(i, i + step) for i in range(len(scans)) if 0 <= i + step < len(scans)]
        counts = [object_points(scans[i].points, scans[other].boxes) for i, other in pairs]
        sums = [(theirs.sum(), points_in_boxes[i].sum()) for theirs, (i, _) in zip(counts, pairs, strict=True)]
        telling = [theirs > 1.05 * ours for theirs, ours in sums if theirs or ours]
        votes = float(np.mean(telling)) if len(telling) >= _FRAMES else 0.0
        result[name] = _share_held(_joined(counts)) if pairs else 0.0, votes
    return result


def _better_neighbour(shifted: Mapping[str, tuple[float, float]]) -> str | None:
    name = max(shifted, key=lambda name: shifted[name][1])
    votes = shifted[name][1]
    if votes < _AGREEING:
        return None
    return (
        f'{100 * votes:.0f} % of the scans fit the labels of another frame better than their own; likely cause: {name}'
    )


def _share_held(counts: NDArray[np.integer]) -> float:
    return float((counts > 0).mean()) if len(counts) else float('nan')


def _joined(counts: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *counts])


def _from_camera(scan: LabelledScan) -> Array:
    """Read ``x y z length width height rotation_y`` with x right, y down, z forward and the centre of the bottom."""
    right, down, ahead, length, width, height, turn = scan.raw.T
    return np.column_stack((ahead, -right, -down + height / 2, length, width, height, -turn - np.pi / 2))


def _turned(raw: Array, ahead: int, left: int) -> Array:
    x, y, z, length, width, height, yaw = raw.T
    return np.column_stack((ahead * y, left * x, z, length, width, height, yaw - np.pi / 2))


def _mirrored(raw: Array) -> Array:
    x, y, z, length, width, height, yaw = raw.T
    return np.column_stack((x, -y, z, length, width, height, -yaw))


def _with_sizes(boxes: Array, order: Sequence[int], on_bottom: bool) -> Array:
    changed = boxes.copy()
    changed[:, 3:6] = boxes[:, 3:6][:, list(order)]
    if on_bottom:
        changed[:, 2] += (changed[:, 5] - boxes[:, 5]) / 2
    return changed


def _with_angle(boxes: Array, angle: Array) -> Array:
    return np.column_stack((boxes[:, :6], angle))


def _lifted(boxes: Array, heights: float) -> Array:
    changed = boxes.copy()
    changed[:, 2] += heights * boxes[:, 5]
    return changed
