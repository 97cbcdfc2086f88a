"""Prediction folders with other scores, all else unchanged."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssal3d.errors import UserError
from ssal3d.fileio import atomic_path
from ssal3d.predictions.reader import find_parts, read_metadata
from ssal3d.predictions.schema import METADATA_KEY

Rescore = Callable[[NDArray[np.floating], NDArray[np.integer], Sequence[str]], NDArray[np.floating]]


def rescore_predictions(source: str | Path, target: str | Path, rescore: Rescore, facts: Mapping[str, Any]) -> None:
    """Write a prediction folder with new scores; the folder appears whole or not at all.

    Args:
        source: Folder to read, part by part.
        target: Folder to write; must not exist.
        rescore: Gets ``(N,)`` scores, ``(N,)`` labels and the class names of a part, returns ``(N,)`` scores in [0, 1].
        facts: Added to the metadata of every part.

    Raises:
        UserError: If the source has no parts or was rescored already, or the target exists.
    """
    parts = find_parts(source)
    if not parts:
        raise UserError(f'{source}: no part-*.parquet found; write predictions with tools/predict_pool.py first')
    if Path(target).exists():
        raise UserError(f'{target}: exists already; choose another folder, or delete it')
    for part in parts:
        refuse_rescored(read_metadata(part), part, facts)
    with atomic_path(target) as folder:
        folder.mkdir()
        for part in parts:
            metadata = read_metadata(part)
            table = pq.ParquetFile(part).read().combine_chunks()
            scores, labels = (_list(table, name) for name in ('scores_3d', 'labels_3d'))
            flat = rescore(scores.flatten().to_numpy(), labels.flatten().to_numpy(), metadata['classes'])
            offsets = scores.offsets.to_numpy()
            column = pa.ListArray.from_arrays(offsets - offsets[0], pa.array(np.asarray(flat, dtype=np.float32)))
            table = table.set_column(table.schema.get_field_index('scores_3d'), 'scores_3d', column)
            schema = {METADATA_KEY: json.dumps({**metadata, **facts})}
            pq.write_table(table.replace_schema_metadata(schema), folder / part.name, use_dictionary=['frame_id'])


def refuse_rescored(metadata: Mapping[str, Any], source: Any, facts: Iterable[str] = ('score_calibration',)) -> None:
    """Check that scores are those of the model: a second correction would rest on what the first one made of them.

    Args:
        metadata: Of the predictions.
        source: Their file or folder, for the message.
        facts: Names of what the metadata may not tell yet.

    Raises:
        UserError: If the metadata tell it.
    """
    for name in facts:
        if metadata.get(name) is not None:
            raise UserError(
                f'{source}: found {name}={metadata[name]!r}: these scores are calibrated already; give the folder that '
                'ssal3d predict wrote'
            )


def _list(table: pa.Table, name: str) -> pa.ListArray:
    column = table[name]
    return column.chunk(0) if column.num_chunks else pa.array([], type=column.type)
