"""Reading what a query needs from prediction folders, and saying what was read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssal3d.active.query.settings import QuerySettings
from ssal3d.active.sampler import ActiveSampler
from ssal3d.fileio import digest, file_digest
from ssal3d.predictions import PoolPredictions, read_predictions
from ssal3d.predictions.places import Place, digests_of, place
from ssal3d.predictions.reader import find_parts

FACTS = ('detector', 'checkpoint_sha256', 'score_calibration')


def read_pool(
    folder: str | Path, sampler: ActiveSampler, settings: QuerySettings, with_dontcare: bool = True
) -> PoolPredictions:
    """Read the columns of the pool's predictions that a query looks at.

    Args:
        folder: Folder of the predictions.
        sampler: Its required columns must be there, its optional ones may be; its stored ones stay on disk.
        settings: Of the query; its DontCare rule may need columns.
        with_dontcare: Whether there are DontCare regions; without them the rule is off.

    Raises:
        UserError: If the folder holds no predictions, or lacks a column.
    """
    optional = tuple(name for name in sampler.optional_fields if name not in sampler.labelled_fields)
    projection = settings.projection_fields if with_dontcare else ()
    fields = (*sampler.required_fields, *projection, *optional)
    return read_predictions(folder, fields, optional, stored=sampler.stored_fields)


def read_reference(folder: str | Path, sampler: ActiveSampler) -> PoolPredictions:
    """Read the columns of the second model's predictions that a sampler looks at.

    Raises:
        UserError: If the folder holds no predictions, or lacks a column.
    """
    return read_predictions(folder, sampler.reference_fields)


def read_labelled(folder: str | Path, sampler: ActiveSampler) -> PoolPredictions:
    """Read the columns of the predictions for labelled frames that a sampler looks at.

    Raises:
        UserError: If the folder holds no predictions, or lacks a column.
    """
    return read_predictions(folder, sampler.labelled_fields, sampler.optional_fields)


def describe_inputs(
    paths: Mapping[str, str | Path | None], read: Mapping[str, PoolPredictions | None], root: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Return what ``query.json`` says of its inputs, by role.

    Args:
        paths: Files and folders of predictions by role; those that are None are left out.
        read: What was read from the folders, for the facts about their detector.
        root: Folder that paths are told relative to, where they lie in it.
    """
    described: dict[str, dict[str, Any]] = {}
    for role, path in paths.items():
        if path is None:
            continue
        where, table = place(path), read.get(role)
        shown = where
        if isinstance(where, Path) and root is not None and where.is_relative_to(root):
            shown = where.relative_to(root)
        is_file = isinstance(where, Path) and not where.is_dir()
        content = file_digest(path) if is_file else digest_of_folder(where)
        facts = {} if table is None else {key: table.metadata[key] for key in FACTS if key in table.metadata}
        described[role] = {'path': str(shown), 'sha256': content, **facts}
    return described


def digest_of_folder(folder: str | Place) -> str:
    """Return the SHA-256 of the names and contents of a folder's prediction files."""
    return digest(digests_of(place(folder), find_parts(folder)))
