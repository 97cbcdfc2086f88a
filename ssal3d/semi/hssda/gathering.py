"""The teacher's predictions of all processes, brought to the first one as a few large arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssal3d.distributed import to_rank_0
from ssal3d.semi.hssda.levels import FramePrediction, ScoredBoxes


def gathered(local: Sequence[FramePrediction]) -> list[FramePrediction]:
    """Return the predictions of every process, in the first one; nothing in the others.

    Args:
        local: Predictions of this process.
    """
    return [found for columns in to_rank_0(packed(local)) for found in unpacked(columns)]


def packed(predictions: Sequence[FramePrediction]) -> dict[str, Any]:
    """Return predictions as one array per column: to pickle thousands of small tensors takes seconds.

    Args:
        predictions: F frames.

    Returns:
        ``frame_ids``; ``counts`` (2 F,), boxes on the original and the other view of each frame in turn; the columns of
        `ScoredBoxes` over all of them.
    """
    views = [view for found in predictions for view in (found.original, found.other)]
    columns = {
        name: torch.cat([getattr(view, name) for view in views]).numpy() if views else None
        for name in ScoredBoxes._fields
    }
    counts = np.array([len(view.boxes) for view in views], np.int64)
    return {'frame_ids': [found.frame_id for found in predictions], 'counts': counts, **columns}


def unpacked(columns: Mapping[str, Any]) -> list[FramePrediction]:
    """Return the predictions of which `packed` made columns.

    Args:
        columns: What `packed` returned.
    """
    frame_ids, counts = columns['frame_ids'], columns['counts'].tolist()
    if not frame_ids:
        return []
    parts = [_split(columns[name], counts) for name in ScoredBoxes._fields]
    views = [ScoredBoxes(*view) for view in zip(*parts)]
    return [FramePrediction(*found) for found in zip(frame_ids, views[::2], views[1::2])]


def _split(column: NDArray, counts: list[int]) -> Sequence[torch.Tensor]:
    return torch.from_numpy(column).split(counts)
