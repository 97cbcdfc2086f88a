"""Predicting a pool with an MMDetection3D model: batched, shared by the ranks, resumable part by part.

The pool is cut into fixed parts of whole batches. A part is one file, made by one rank in one go, so the files do not
depend on the number of ranks, on which of them takes a part, or on interruptions.
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce_dict, get_dist_info
from torch import nn

from ssal3d.data.label_state import pool_digest
from ssal3d.distributed import WORK_LIMIT, barrier, from_rank_0, to_rank_0
from ssal3d.errors import UserError
from ssal3d.models.extraction import (
    COMPUTED_FOR_ALL,
    Extraction,
    check_extraction,
    extracting,
    provided_columns,
)
from ssal3d.models.wrapping import unwrapped
from ssal3d.predictions.part_files import part_name
from ssal3d.predictions.part_prediction import PartPrediction, PassTiming
from ssal3d.predictions.places import Place, at_once, place, write_manifest
from ssal3d.predictions.reader import read_metadata
from ssal3d.predictions.settings_digest import settings_digest
from ssal3d.shared_work import SharedWork
from ssal3d.terminal import track

# Columns that are written by default, those of them that the detector can fill.
USUAL_FIELDS = ('class_logits', 'box_features', 'num_points', 'roi_index', 'lidar2img', 'image_shape')
# What identifies a pass; parts written under other values must not be mixed.
IDENTITY = (
    'classes',
    'fields',
    'extraction',
    'checkpoint_sha256',
    'test_cfg_and_pipeline_sha256',
    'frames_sha256',
    'frames_per_part',
    'batch_size',
)


class PassPlan(NamedTuple):
    """What a pass needs.

    Attributes:
        model: A detector.
        view: The pool's view.
        options: Keyword arguments of `predict_pool` from ``fields`` on.
    """

    model: nn.Module
    view: Any
    options: Mapping[str, Any]


def predict_pool(
    model: nn.Module,
    view: Any,
    out: str | Place,
    *,
    fields: Sequence[str] | None = None,
    extraction: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    batch_size: int = 1,
    num_workers: int = 1,
    frames_per_part: int = 64,
    description: str = 'predicting the pool',
) -> PassTiming:
    """Predict every frame of a view and write the prediction contract.

    Args:
        model: A detector; its training mode and parameters are left as they were.
        view: A dataset view with ``frame_ids``, ``get_data_info(i)`` and a test pipeline.
        out: Folder of the parts, or the URL of a prefix in an object store. Finished parts of the same model, with the
            same test settings, and pool are kept.
        fields: Columns beyond boxes, scores and labels; None for `usual_fields`.
        extraction: How the detector computes them: `ActiveSampler.extraction`.
        metadata: Facts for the files, e.g. ``checkpoint_sha256``.
        batch_size: Frames per forward.
        num_workers: Loader processes.
        frames_per_part: Frames per file, rounded up to whole batches; what a killed pass may lose per rank.
        description: Shown beside the progress bar.

    Raises:
        UserError: If the folder holds predictions of another model, pool or layout or with other test settings, or the
            detector cannot fill a column.
    """
    out = place(out)
    ready = ready_for_pass(
        model,
        view,
        fields=fields,
        extraction=extraction,
        metadata=metadata,
        batch_size=batch_size,
        frames_per_part=frames_per_part,
    )
    rank, processes = get_dist_info()
    with ready as (network, columns, facts):
        missing = missing_parts(out, len(view.frame_ids), facts) if rank == 0 else []
        work = SharedWork(from_rank_0(missing))  # one rank looks, before any writes
        with PartPrediction(network, view, out, columns, facts, num_workers, work.finish) as prediction:
            batches = chain(prediction.predict(work), chain.from_iterable(map(prediction.predict_one, work.overdue())))
            total = len(work.pieces) if processes > 1 else prediction.number_of_batches(work.pieces)
            for _ in track(batches, description, total, rank != 0, work.finished if processes > 1 else None):
                pass
        barrier(WORK_LIMIT)
        digests = to_rank_0(prediction.files.digests)
        if rank == 0:
            finish_pass(out, len(view.frame_ids), facts, dict(ChainMap(*digests)))
    return _over_ranks(prediction.timing)


@contextmanager
def ready_for_pass(
    model: nn.Module,
    view: Any,
    *,
    fields: Sequence[str] | None = None,
    extraction: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    batch_size: int = 1,
    frames_per_part: int = 64,
) -> Iterator[tuple[nn.Module, tuple[str, ...], dict[str, Any]]]:
    """Let a detector extract what a pass writes; every engine begins with this.

    Args:
        model: See `predict_pool`, as the rest.
        view: The pool's view.
        fields: Columns.
        extraction: How they are computed.
        metadata: Facts for the files.
        batch_size: Frames per forward.
        frames_per_part: Frames per file.

    Yields:
        The detector, its columns, and all facts for the files.

    Raises:
        UserError: If the detector cannot fill a column.
    """
    network: Any = unwrapped(model)
    columns = usual_fields(network) if fields is None else tuple(fields)
    facts = {
        'classes': list(view.metainfo['classes']),
        'fields': list(columns),
        'extraction': dict(extraction or {}),
        'test_cfg_and_pipeline_sha256': settings_digest(network, getattr(view, 'pipeline', None)),
        'frames_sha256': pool_digest(view.frame_ids),
        'frames_per_part': -(-frames_per_part // batch_size) * batch_size,
        'batch_size': batch_size,
        **(metadata or {}),
    }
    wanted = Extraction.of(columns, extraction or {})
    check_extraction(type(network), wanted)
    with extracting(network, wanted):
        if hasattr(network, 'prediction_metadata'):
            facts = {**network.prediction_metadata(facts['classes']), **facts}
        yield network, columns, facts


def usual_fields(model: nn.Module) -> tuple[str, ...]:
    """Return the columns of `USUAL_FIELDS` that a detector can fill; stock ones give boxes, scores and labels alone."""
    provided = provided_columns(type(unwrapped(model)))
    return tuple(name for name in USUAL_FIELDS if name in (COMPUTED_FOR_ALL if provided is None else provided))


def missing_parts(out: Place, frames: int, metadata: Mapping[str, Any]) -> list[int]:
    """Return the number of every part that is not there yet, after checking those that are.

    Args:
        out: Folder of the parts.
        frames: Frames of the pool; an empty one has one part without rows.
        metadata: Facts of the pass.

    Raises:
        UserError: If a part is of another pass, or of an earlier version, which did not tell all that identifies one.
    """
    wanted = _part_names(frames, metadata)
    there = {path.name: path for path in out.glob('part-*.parquet')}
    paths = [there[name] for name in wanted if name in there]
    for path, found in zip(paths, at_once(read_metadata, paths)):
        for key in IDENTITY:
            if found.get(key) != metadata.get(key):
                raise UserError(
                    f'{path}: found {key} {found.get(key)!r}, expected {metadata.get(key)!r}; these are predictions of '
                    'another run or version, choose another folder or delete this one'
                )
    return [number for number, name in enumerate(wanted) if name not in there]


def finish_pass(out: Place, frames: int, metadata: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    """Check that all parts of a pass are there, and tell readers so where that needs telling.

    Args:
        out: Folder of the parts.
        frames: Frames of the pool.
        metadata: Facts of the pass.
        digests: SHA-256 of new parts by name, see `ssal3d.predictions.places.write_manifest`.

    Raises:
        UserError: If parts are missing.
    """
    wanted, there = _part_names(frames, metadata), {path.name for path in out.glob('part-*.parquet')}
    if not there.issuperset(wanted):
        raise UserError(
            f'{out}: parts are missing although all processes have written theirs; choose a folder that all machines share'
        )

    write_manifest(out, digests)


def _part_names(frames: int, metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of all parts; a pool without frames has one without rows."""
    return [part_name(number) for number in range(max(-(-frames // metadata['frames_per_part']), 1))]


def _over_ranks(timing: PassTiming) -> PassTiming:
    frames = {'frames': torch.tensor(float(timing.frames))}
    seconds = {name: torch.tensor(getattr(timing, name)) for name in ('load', 'forward', 'write')}
    all_reduce_dict(frames, op='sum')
    all_reduce_dict(seconds, op='mean')
    return PassTiming(int(frames['frames']), *(float(seconds[name]) for name in ('load', 'forward', 'write')))
