"""What people did to the pre-labels: the true cost of a round."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ssal3d.annotation.format import Tolerance
from ssal3d.annotation.model import Cuboid, boxes_of
from ssal3d.annotation.prelabels import matched
from ssal3d.annotation.rotations import wrapped
from ssal3d.ops.boxes import bev_iou

CHANGES = ('moved', 'turned', 'resized', 'relabelled')
LOWEST_IOU = 0.1  # a box that overlaps its pre-label less was drawn anew
FARTHEST = 5.0  # m; the same id farther away is another object: some tools number boxes anew


@dataclass(frozen=True)
class Comparison:
    """A frame's boxes against its pre-labels.

    Attributes:
        partners: For each returned box the position of its pre-label, -1 for an added box.
        changes: For each returned box what was done to its pre-label, of `CHANGES`; empty for accepted and added ones.
        deleted: Positions of the pre-labels that are gone.
    """

    partners: tuple[int, ...]
    changes: tuple[frozenset[str], ...]
    deleted: tuple[int, ...]

    @property
    def counts(self) -> Counter[str]:
        """Boxes by ``accepted``, ``edited``, ``deleted``, ``added``, and edited ones by `CHANGES`."""
        found: Counter[str] = Counter(deleted=len(self.deleted))
        for partner, changes in zip(self.partners, self.changes):
            found['added' if partner < 0 else 'edited' if changes else 'accepted'] += 1
            found.update(changes)
        return found


def compare(prelabels: Sequence[Cuboid], returned: Sequence[Cuboid], tolerance: Tolerance) -> Comparison:
    """Compare a frame's returned boxes with what was exported.

    Boxes belong together if their ids do; the rest is matched by BEV IoU, the largest first, whatever the classes.

    Args:
        prelabels: As exported.
        returned: As they came back, with the same class names.
        tolerance: What the tool's rounding may change.
    """
    partners = _by_id(prelabels, returned)
    free = np.setdiff1d(np.arange(len(prelabels)), partners)
    drawn = np.flatnonzero(partners < 0)
    overlap = bev_iou(boxes_of(returned)[drawn], boxes_of(prelabels)[free])
    rows, columns = matched(overlap, LOWEST_IOU)
    partners[drawn[rows]] = free[columns]
    changes = tuple(
        changes_of(prelabels[partner], cuboid, tolerance) if partner >= 0 else frozenset()
        for partner, cuboid in zip(partners.tolist(), returned)
    )
    gone = np.setdiff1d(np.arange(len(prelabels)), partners)
    return Comparison(tuple(partners.tolist()), changes, tuple(gone.tolist()))


def changes_of(before: Cuboid, after: Cuboid, tolerance: Tolerance) -> frozenset[str]:
    """Return which of `CHANGES` turn one box into another."""
    difference = np.abs(np.subtract(after.box, before.box))
    metres = tolerance.metres + 1e-9  # of float arithmetic
    found = {
        'moved': bool((difference[:3] > metres).any()),
        'turned': abs(wrapped(after.box[6] - before.box[6])) > tolerance.radians + 1e-9,
        'resized': bool((difference[3:6] > metres).any()),
        'relabelled': after.class_name != before.class_name,
    }
    return frozenset(name for name, changed in found.items() if changed)


def cost(comparisons: Iterable[Comparison]) -> Mapping[str, int]:
    """Return the boxes of a round by what people did: accepted, edited, deleted, added, then edited ones by kind."""
    total: Counter[str] = sum((comparison.counts for comparison in comparisons), Counter())
    return {name: total[name] for name in ('accepted', 'edited', 'deleted', 'added', *CHANGES)}


def _by_id(prelabels: Sequence[Cuboid], returned: Sequence[Cuboid]) -> np.ndarray:
    """Return for each returned box the pre-label with its id, -1 for none; of several copies the nearest counts."""
    positions = {cuboid.id: position for position, cuboid in enumerate(prelabels) if cuboid.id}
    partners = np.full(len(returned), -1, dtype=np.int64)
    distances = np.full(len(prelabels), FARTHEST)
    owner: dict[int, int] = {}
    for position, cuboid in enumerate(returned):
        prelabel = positions.get(cuboid.id, -1)
        if prelabel < 0:
            continue
        distance = float(np.linalg.norm(np.subtract(cuboid.box[:3], prelabels[prelabel].box[:3])))
        if distance <= distances[prelabel] and not (prelabel in owner and distance == distances[prelabel]):
            if prelabel in owner:
                partners[owner[prelabel]] = -1
            partners[position], distances[prelabel], owner[prelabel] = prelabel, distance, position
    return partners
