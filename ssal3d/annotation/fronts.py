"""Boxes drawn in tools whose cuboids have no front: which side is the length?"""

from dataclasses import replace

import numpy as np

from ssal3d.annotation.comparison import Comparison
from ssal3d.annotation.model import LabelFrame
from ssal3d.annotation.provenance import Export
from ssal3d.annotation.rotations import front_to_x
from ssal3d.errors import unknown_name

FRONTS = ('auto', '+x', '+y')
# Classes that are longer than wide whatever the pre-labels say. In lower case.
ELONGATED = frozenset(
    {'car', 'van', 'truck', 'bus', 'tram', 'train', 'trailer', 'vehicle', 'pickup', 'tractor'}
    | {'cyclist', 'bicycle', 'motorcycle', 'motorcyclist', 'bicyclerider', 'scooterrider', 'rider'}
)
_LONGER = 1.2  # median length over width from which a class counts as elongated
_ENOUGH = 3  # pre-labels that this takes
_ACROSS = 1.05  # width over length from which a drawn box is taken for one with its front along +y


def turned_fronts(frame: LabelFrame, comparison: Comparison, export: Export, front: str) -> tuple[LabelFrame, int]:
    """Turn boxes that a person drew with the length along the local y axis.

    Pre-labels are left alone: their length lies along +x, whatever was done to them.

    Args:
        frame: With our class names.
        comparison: Says which boxes were drawn.
        export: Its pre-labels say which classes are longer than wide.
        front: ``'+x'`` turns none, ``'+y'`` all, ``'auto'`` those of elongated classes that are wider than long.

    Returns:
        The frame and the number of boxes that were turned.

    Raises:
        UserError: If ``front`` is another word.
    """
    if front not in FRONTS:
        raise unknown_name('front', front, list(FRONTS))
    cuboids, turned = [], 0
    for cuboid, partner in zip(frame.cuboids, comparison.partners):
        dx, dy = cuboid.box[3:5]
        across = dy > _ACROSS * dx and is_elongated(cuboid.class_name, export)
        if partner < 0 and (front == '+y' or (front == 'auto' and across)):
            cuboid, turned = replace(cuboid, box=front_to_x(cuboid.box)), turned + 1
        cuboids.append(cuboid)
    return replace(frame, cuboids=tuple(cuboids)), turned


def is_elongated(class_name: str, export: Export) -> bool:
    """Return whether a class is longer than wide: by its pre-labels, or by its name where there are few."""
    sizes = [
        cuboid.box[3] / cuboid.box[4]
        for frame in export.frames.values()
        for cuboid in frame.prelabels
        if cuboid.class_name == class_name and cuboid.box[4] > 0
    ]
    if len(sizes) >= _ENOUGH:
        return float(np.median(sizes)) > _LONGER
    return class_name.lower() in ELONGATED
