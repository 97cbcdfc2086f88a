"""Boxes drawn in tools whose cuboids have no front: which side is the length?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ssal3d.annotation.comparison import Comparison
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.provenance import Export
from ssal3d.annotation.rotations import front_to_x
from ssal3d.errors import unknown_name

FRONTS = ('auto', '+x', '+y')
# Classes that are longer than wide where few pre-labels say so. In lower case.
ELONGATED = frozenset(
    {'car', 'van', 'truck', 'bus', 'tram', 'train', 'trailer', 'vehicle', 'pickup', 'tractor'}
    | {'cyclist', 'bicycle', 'motorcycle', 'motorcyclist', 'bicyclerider', 'scooterrider', 'rider'}
)
_LONGER = 1.2  # median length over width from which a class counts as elongated
_ENOUGH = 3  # pre-labels that this takes
_ACROSS = 1.05  # one side over the other from which a box has a longer side


def elongated_classes(export: Export) -> dict[str, bool]:
    """Return whether each class is longer than wide: by its pre-labels, or by its name where there are few.

    A class of which neither tells is left out.
    """
    ratios: dict[str, list[float]] = {}
    for frame in export.frames.values():
        for cuboid in frame.prelabels:
            if cuboid.box[4] > 0:
                ratios.setdefault(cuboid.class_name, []).append(cuboid.box[3] / cuboid.box[4])
    by_name = {name: True for name in export.classes if name.lower() in ELONGATED}
    by_size = {name: float(np.median(found)) > _LONGER for name, found in ratios.items() if len(found) >= _ENOUGH}
    return by_name | by_size


def turned_fronts(
    frame: LabelFrame, comparison: Comparison, prelabels: Sequence[Cuboid], elongated: Mapping[str, bool], front: str
) -> tuple[LabelFrame, int, list[str]]:
    """Turn boxes that a person drew with the length along the local y axis.

    Pre-labels are left alone: their length lies along +x, whatever was done to them.

    Args:
        frame: With our class names.
        comparison: Says which boxes were drawn.
        prelabels: Of the frame.
        elongated: What `elongated_classes` returns.
        front: ``'+x'`` turns none, ``'+y'`` all, ``'auto'`` those of elongated classes that are wider than long.

    Returns:
        The frame, the number of boxes that were turned, and the class of each box that ``'auto'`` left wider than long
        because nothing tells whether its class is.

    Raises:
        UserError: If ``front`` is another word.
    """
    if front not in FRONTS:
        raise unknown_name('front', front, list(FRONTS))
    cuboids, turned, open_classes = [], 0, []
    for cuboid, partner in zip(frame.cuboids, comparison.partners):
        if partner < 0 or _was_redrawn(cuboid, prelabels[partner]):
            is_across = front == 'auto' and _longer_side(cuboid) < 0
            if front == '+y' or (is_across and elongated.get(cuboid.class_name, False)):
                cuboid, turned = replace(cuboid, box=front_to_x(cuboid.box)), turned + 1
            elif is_across and cuboid.class_name not in elongated:
                open_classes.append(cuboid.class_name)
        cuboids.append(cuboid)
    return replace(frame, cuboids=tuple(cuboids)), turned, open_classes


def _was_redrawn(cuboid: Cuboid, prelabel: Cuboid) -> bool:
    """Return whether a box that belongs to a pre-label by its place only was drawn anew, with the length across."""
    return cuboid.id != prelabel.id and _longer_side(cuboid) * _longer_side(prelabel) < 0


def _longer_side(cuboid: Cuboid) -> int:
    """Return 1 for a box that is longer than wide, -1 for one that is wider than long, 0 for one in between."""
    dx, dy = cuboid.box[3:5]
    return int(dx > _ACROSS * dy) - int(dy > _ACROSS * dx)
