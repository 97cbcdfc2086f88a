"""What a budget will probably buy, for methods that think in frames or in boxes of a class."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.query.settings import QuerySettings
from ssal3d.active.query.units import BoxUnit
from ssal3d.class_names import class_index
from ssal3d.data.label_state import LabelState


class Estimates(NamedTuple):
    """What a budget will probably buy.

    Attributes:
        frames: Number of frames.
        boxes: Number of boxes; the budget itself where it is counted in boxes.
    """

    frames: int
    boxes: int


def estimate(
    settings: QuerySettings, labelled: NDArray[np.integer], predicted: NDArray[np.integer], classes: Sequence[str]
) -> Estimates:
    """Return what the budget will buy if the pool's frames are like the labelled ones.

    Args:
        settings: Budget and unit.
        labelled: ``(L, C)`` annotated boxes of the labelled frames; frames of the pool stand in while there are none.
        predicted: ``(F, C)`` predicted boxes of the pool's frames.
        classes: Names of the C classes.
    """
    known = labelled if labelled.any() else predicted
    cost, boxes = float(settings.pricing.prices(known, classes).sum()), int(known.sum())
    frames = math.ceil(settings.budget * len(known) / cost) if cost else len(known)
    if isinstance(settings.pricing, BoxUnit):
        return Estimates(frames, int(settings.budget))
    return Estimates(frames, round(settings.budget * boxes / cost) if cost else boxes)


def labelled_table(
    labels: LabelState, classes: Sequence[str], frame_ids: Sequence[str] | None = None
) -> NDArray[np.int64]:
    """Return the ``(L, C)`` annotated boxes of labelled frames.

    Args:
        labels: What is labelled, with counts by frame.
        classes: Class names that give the order.
        frame_ids: Frames of it that give the order of the rows; by default all in its own order.

    Raises:
        UserError: If the label state counts a class that the predictions do not have.
    """
    if frame_ids is None:
        frames = labels.frames
    else:
        by_id = {frame.frame_id: frame for frame in labels.frames}
        frames = tuple(by_id[frame_id] for frame_id in frame_ids)
    place = {name: class_index(name, classes, 'the label state') for name in labels.classes}
    table = np.zeros((len(frames), len(classes)), dtype=np.int64)
    for row, frame in enumerate(frames):
        for name, count in frame.boxes.items():
            table[row, place[name]] += count
    return table
