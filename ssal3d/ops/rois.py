"""Boxes of several frames as the rows that RoI heads take."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad


def stack_rois(boxes: Sequence[Tensor]) -> Tensor:
    """Return ``(R, 8)`` RoIs of a batch: the frame's number, then the box; frames may have none.

    MMDetection3D's `bbox3d2roi` gives frames without boxes no column for the number.

    Args:
        boxes: ``(N, 7)`` boxes of each frame.
    """
    return torch.cat([pad(frame_rois, (1, 0), value=frame) for frame, frame_rois in enumerate(boxes)])
