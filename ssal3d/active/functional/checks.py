"""Checks of the columns that samplers read: what is wrong is named with its frame, before anything is computed from it.

All rows are looked at in chunks of bounded size, so that a check of a long, memory-mapped column needs no copy of it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.chunks import map_chunks
from ssal3d.errors import UserError
from ssal3d.predictions import PoolPredictions

VALUES = 2**20  # that are looked at together
REMEDY = 'expected finite ones; predict this frame again'


def check_frame_rows(rows: NDArray[np.floating], name: str, predictions: PoolPredictions) -> None:
    """Check that a column with a row per frame, or what was computed from it, is finite.

    Args:
        rows: ``(F, D)`` values.
        name: Name of the column, for the message.
        predictions: What it is a column of, F frames.

    Raises:
        UserError: If a value is NaN or infinite; names the frame.
    """
    row = first_broken(rows)
    if row is not None:
        frame = predictions.frame_ids[row]
        raise UserError(f'{predictions.source}: {name} of frame {frame} hold NaN or infinite values, {REMEDY}')


def check_box_features(
    rows: NDArray[np.floating], frame_of_row: NDArray[np.integer], frame_ids: Sequence[str] | NDArray[np.str_] | None
) -> None:
    """Check that features of boxes are finite.

    Args:
        rows: ``(N, D)`` features, or these scaled to length 1.
        frame_of_row: ``(N,)`` frame of each box.
        frame_ids: Names of the frames; by default their numbers.

    Raises:
        UserError: If a value is NaN or infinite; names the frame.
    """
    row = first_broken(rows)
    if row is not None:
        frame = frame_of_row[row] if frame_ids is None else frame_ids[frame_of_row[row]]
        raise UserError(f'frame {frame}: box_features hold NaN or infinite values, {REMEDY}')


def check_gradients(rows: NDArray[np.floating], frames: NDArray[np.integer], predictions: PoolPredictions) -> None:
    """Check that gradients have a length: their squares must be finite, too.

    Args:
        rows: ``(N, D)`` gradients.
        frames: ``(N,)`` positions of their frames in ``predictions``.
        predictions: Where they come from.

    Raises:
        UserError: If a squared length is NaN or infinite; names the frame.
    """
    row = first_broken(rows, squared=True)
    if row is not None:
        frame = predictions.frame_ids[frames[row]]
        raise UserError(
            f'{predictions.source}: the gradient of frame {frame} holds NaN, infinite or huge values, {REMEDY}'
        )


def check_gradient_layer(predictions: PoolPredictions, layer: str, remedy: str) -> None:
    """Check that gradients are those of a layer; predictions that do not say are believed.

    Raises:
        UserError: If the metadata name another layer; ends with the remedy.
    """
    found = predictions.metadata.get('gradient_layer', layer)
    if found != layer:
        raise UserError(
            f"{predictions.source}: found gradients of the layer '{found}', expected '{layer}'; "
            f'predict the pool again with {remedy}'
        )


def check_width(
    known: NDArray[np.floating],
    rows: NDArray[np.floating],
    found: str,
    labelled: PoolPredictions,
    pool: PoolPredictions,
) -> None:
    """Check that features of labelled frames are as wide as those of the pool.

    Args:
        known: ``(L, D)`` features of labelled frames or boxes.
        rows: ``(N, D)`` features of the pool's.
        found: What is wrong otherwise, with ``{}`` for the width, e.g. ``'found {} features per frame'``.
        labelled: Where ``known`` comes from.
        pool: Where ``rows`` comes from.

    Raises:
        UserError: If there is something known, of another width; a pool without rows has no width.
    """
    if len(known) and len(rows) and known.shape[1] != rows.shape[1]:
        raise UserError(
            f'{labelled.source}: {found.format(known.shape[1])}, expected {rows.shape[1]} as in {pool.source}; '
            'predict both with the same model and settings'
        )


def first_broken(rows: NDArray[np.floating], squared: bool = False) -> int | None:
    """Return the first of ``(N, D)`` rows that is not finite, or has no finite squared length; None if there is none.

    >>> first_broken(np.array([[1.0, 1e200], [np.nan, 0.0]])), first_broken(np.array([[1.0, 1e200]]), squared=True)
    (1, 0)
    """
    is_fine = _has_length if squared else _is_finite
    size = max(1, VALUES // max(1, rows.shape[1]))
    fine = np.concatenate(map_chunks(lambda start, stop: is_fine(rows[start:stop]), len(rows), size))
    broken = np.flatnonzero(~fine)
    return int(broken[0]) if len(broken) else None


def _is_finite(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which rows are finite; of float16 the exponents tell, ten times as fast as NumPy."""
    if rows.dtype == np.float16:
        return ((rows.view(np.uint16) & 0x7C00) != 0x7C00).all(axis=1)
    return np.isfinite(rows).all(axis=1)


def _has_length(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.isfinite(np.einsum('nd,nd->n', rows, rows))
