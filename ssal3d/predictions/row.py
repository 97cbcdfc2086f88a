"""One frame of predictions, checked before it is written."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from ssal3d.errors import UserError, unknown_name
from ssal3d.predictions.schema import REQUIRED, Column, Layout, column


def checked_row(
    frame: str,
    values: Mapping[str, Any],
    fields: Sequence[str],
    classes: Sequence[str],
    widths: MutableMapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
    """Return the columns of a frame as arrays.

    Args:
        frame: Its id, for messages.
        values: Values by column.
        fields: Columns beyond boxes, scores and labels.
        classes: Class names that the labels index.
        widths: Values per row of the columns whose width the detector decides, of earlier frames; filled in.

    Raises:
        UserError: If a column is missing, not declared or has another shape, or a value is out of range.
    """
    names = list(dict.fromkeys((*REQUIRED, *fields)))
    for name in values:
        if name not in names:
            raise UserError(
                f'frame {frame}: {unknown_name("column", name, names)}; declare it in the fields of the writer'
            )
    missing = [name for name in names if name not in values]
    if missing:
        raise UserError(f"frame {frame}: column '{missing[0]}' is missing; expected {', '.join(names)}")
    boxes = _array(frame, values['bboxes_3d'], column('bboxes_3d')).reshape(-1, 7)
    widths = {} if widths is None else widths
    row = {name: _shaped(frame, values[name], column(name), len(boxes), widths) for name in names}
    _check_classes(frame, row, len(classes))
    _check_boxes(frame, row['bboxes_3d'])
    _check_values(frame, row['scores_3d'], 'scores_3d', 1.0, 'in [0, 1]')
    _check_values(frame, row['labels_3d'], 'labels_3d', len(classes) - 1, f'in 0..{len(classes) - 1}')
    return row


def _array(frame: str, value: Any, spec: Column) -> np.ndarray:
    try:
        array = np.asarray(value)
        number = np.issubdtype(array.dtype, np.number) or array.dtype == bool or not array.size
    except ValueError:
        array, number = np.empty(0), False
    if not number:
        raise UserError(f'frame {frame}: {spec.name} are not numbers in rows of one length; expected {spec.meaning}')
    if spec.name == 'bboxes_3d' and array.size and (array.ndim != 2 or array.shape[1] != 7):
        raise UserError(f'frame {frame}: bboxes_3d have the shape {array.shape}, expected (N, 7): {spec.meaning}')
    return array


def _shaped(frame: str, value: Any, spec: Column, boxes: int, widths: MutableMapping[str, int]) -> np.ndarray:
    """Return a column of a frame after comparing its shape with the boxes and with earlier frames."""
    array = _array(frame, value, spec)
    _check_fits(frame, array, spec)
    if spec.layout is Layout.RAGGED:
        return array
    if spec.layout is Layout.BOX:
        if (len(array) if array.ndim else -1) != boxes:
            raise UserError(
                f'frame {frame}: {spec.name} have the shape {array.shape}, expected a row for each of {boxes} boxes'
            )
        if not boxes:
            return array
        width = array.size // boxes
    else:
        width = array.size
    expected = spec.width or widths.setdefault(spec.name, width)
    if width != expected:
        raise UserError(f'frame {frame}: {spec.name} have {width} values a row, expected {expected}: {spec.meaning}')
    return array


def _check_fits(frame: str, array: np.ndarray, spec: Column) -> None:
    """Check that finite numbers stay finite in the type that is written."""
    if not array.size or not np.issubdtype(spec.dtype, np.floating):
        return
    greatest = np.abs(array[np.isfinite(array)]).max(initial=0)
    limit = float(np.finfo(np.dtype(spec.dtype)).max)
    if greatest > limit:
        raise UserError(
            f'frame {frame}: {spec.name} have the value {greatest:g}, expected at most {limit:g} '
            f'({np.dtype(spec.dtype)}); scale them'
        )


def _check_classes(frame: str, row: Mapping[str, np.ndarray], classes: int) -> None:
    logits = row.get('class_logits')
    width = logits.size // len(logits) if logits is not None and len(logits) else classes
    if width != classes:
        raise UserError(
            f'frame {frame}: class_logits have {width} values a box, expected one for each of {classes} classes; leave '
            'out that of the background'
        )


def _check_boxes(frame: str, boxes: np.ndarray) -> None:
    rows = boxes.reshape(-1, 7).astype(np.float64)
    for wrong, expected in (
        (~np.isfinite(rows).all(axis=1), 'finite numbers'),
        ((rows[:, 3:6] <= 0).any(axis=1), 'sizes above 0'),
    ):
        if wrong.any():
            found = rows[np.flatnonzero(wrong)[0]].tolist()
            raise UserError(f'frame {frame}: bboxes_3d has the box {found}, expected {expected}')


def _check_values(frame: str, values: np.ndarray, name: str, highest: float, expected: str) -> None:
    flat = values.reshape(-1)
    whole = name != 'labels_3d' or not flat.size or (flat == np.floor(flat)).all()
    with np.errstate(invalid='ignore'):
        wrong = ~((flat >= 0) & (flat <= highest))
    if wrong.any() or not whole:
        found = flat[np.flatnonzero(wrong)[0]] if wrong.any() else flat[flat != np.floor(flat)][0]
        raise UserError(f'frame {frame}: {name} has {found.item()}, expected {expected}')
