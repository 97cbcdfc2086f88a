"""Frames whose road plane is missing although pasted objects are to stand on it."""

import logging
from collections.abc import Iterator
from typing import Any

from ssal3d.bank.transforms import PasteObjects
from ssal3d.data.views import FrameView, LabelledView
from ssal3d.log import tell


def tell_missing_planes(dataset: Any) -> None:
    """Log how many frames of a run lack the road plane that pasting reads; warn if there is one.

    Args:
        dataset: Data set of a training stage, with its views as attributes.
    """
    counts = [(_kind(view), *planes_missing(view)) for view in pasting_views(dataset)]
    if not counts:
        return
    told = ', '.join(f'{missing} of {frames} {kind}' for kind, missing, frames in counts)
    if any(missing for _, missing, _ in counts):
        tell(
            f'road planes are missing in {told}: objects pasted there keep their own height and may float or sink; get '
            "the planes (docs/data.md, 'Road planes') and convert again, or set use_ground_plane=False",
            logging.WARNING,
        )
    else:
        tell(f'road planes are missing in {told}', terminal=False)


def pasting_views(dataset: Any) -> Iterator[FrameView]:
    """Yield the views of a data set into whose frames objects are pasted on the road plane."""
    for view in vars(dataset).values():
        if isinstance(view, FrameView):
            steps = list(getattr(view.pipeline, 'transforms', ()))
            if not isinstance(view, LabelledView):
                steps.append(getattr(dataset, 'paste', None))  # of `PoolSemiDataset`
            if any(isinstance(step, PasteObjects) and step.use_ground_plane for step in steps):
                yield view


def planes_missing(view: FrameView) -> tuple[int, int]:
    """Return the number of frames of a view without road plane, and of all its frames."""
    view.full_init()
    frames = len(view)
    return sum(view.dataset.get_data_info(index).get('plane') is None for index in range(frames)), frames


def _kind(view: FrameView) -> str:
    return 'labelled frames' if isinstance(view, LabelledView) else 'frames taken without labels'
