"""Predicting a pool with an MMDetection3D model: batched, sharded over ranks, resumable part by part.

The pool is cut into fixed parts of whole batches. A part is one file, made by one rank in one go, so the files do not
depend on the number of ranks or on interruptions.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_reduce_dict, get_dist_info
from torch import nn
from torch.utils.data import DataLoader

from ssal3d.data.boxes import to_gravity_array
from ssal3d.data.label_state import pool_digest
from ssal3d.distributed import barrier, from_rank_0
from ssal3d.errors import UserError
from ssal3d.models.extraction import (
    COMPUTED_FOR_ALL,
    Extraction,
    check_extraction,
    extracting,
    provided_columns,
)
from ssal3d.models.wrapping import unwrapped
from ssal3d.predictions.part_files import WITHOUT_MODEL, PartFiles, part_name
from ssal3d.predictions.reader import read_metadata
from ssal3d.predictions.schema import REQUIRED, Layout, column
from ssal3d.predictions.writer import write_part
from ssal3d.terminal import track

# Columns that are written by default, those of them that the detector can fill.
USUAL_FIELDS = ('class_logits', 'box_features', 'num_points', 'roi_index', 'lidar2img', 'image_shape')
# What identifies a pass; parts written under other values must not be mixed.
IDENTITY = (
    'classes',
    'fields',
    'extraction',
    'checkpoint_sha256',
    'frames_sha256',
    'frames_per_part',
    'batch_size',
)


@dataclass
class PassTiming:
    """Where the time of a pass over the pool went, in seconds (mean over ranks).

    Attributes:
        frames: Frames predicted in this pass; frames of finished parts are not predicted again.
        load: Waiting for the data loader.
        forward: Inside the model, voxelisation and NMS included.
        write: Fetching results from the device, and waiting for the thread that makes rows and files of them.
    """

    frames: int = 0
    load: float = 0.0
    forward: float = 0.0
    write: float = 0.0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count the time inside as writing."""
        start = time.perf_counter()
        yield
        self.write += time.perf_counter() - start

    @property
    def outside_share(self) -> float:
        """Share of the pass spent outside the model's forward, in [0, 1]."""
        total = self.load + self.forward + self.write
        return (self.load + self.write) / total if total else 0.0

    def __str__(self) -> str:
        rate = self.frames / max(self.load + self.forward + self.write, 1e-9)
        return (
            f'{self.frames} frames, {rate:.2f} frames/s: forward {self.forward:.1f} s, loading {self.load:.1f} s, '
            f'writing {self.write:.1f} s ({self.outside_share:.1%} outside the model)'
        )


def predict_pool(
    model: nn.Module,
    view: Any,
    out: str | Path,
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
        out: Folder of the parts. Finished parts of the same model and pool are kept.
        fields: Columns beyond boxes, scores and labels; None for `usual_fields`.
        extraction: How the detector computes them: `ActiveSampler.extraction`.
        metadata: Facts for the files, e.g. ``checkpoint_sha256``.
        batch_size: Frames per forward.
        num_workers: Loader processes.
        frames_per_part: Frames per file, rounded up to whole batches; what a killed pass may lose per rank.
        description: Shown beside the progress bar.

    Raises:
        UserError: If the folder holds predictions of another model, pool or layout, or the detector cannot fill a
            column.
    """
    out = Path(out)
    network: Any = unwrapped(model)
    fields = usual_fields(network) if fields is None else tuple(fields)
    frames_per_part = -(-frames_per_part // batch_size) * batch_size
    metadata = {
        'classes': list(view.metainfo['classes']),
        'fields': list(fields),
        'extraction': dict(extraction or {}),
        'frames_sha256': pool_digest(view.frame_ids),
        'frames_per_part': frames_per_part,
        'batch_size': batch_size,
        **(metadata or {}),
    }
    wanted = Extraction.of(fields, extraction or {})
    check_extraction(type(network), wanted)
    with extracting(network, wanted):
        if hasattr(network, 'prediction_metadata'):
            metadata = {**network.prediction_metadata(metadata['classes']), **metadata}
        return _predict(network, view, out, fields, metadata, num_workers, description)


def _predict(
    network: nn.Module,
    view: Any,
    out: Path,
    fields: Sequence[str],
    metadata: Mapping[str, Any],
    num_workers: int,
    description: str,
) -> PassTiming:
    """Predict the parts that are not there yet, this rank's share of them."""
    frames_per_part, batch_size = metadata['frames_per_part'], metadata['batch_size']
    rank, world_size = get_dist_info()
    parts = _missing_parts(out, len(view.frame_ids), frames_per_part, metadata) if rank == 0 else []
    own = from_rank_0(parts)[rank::world_size]  # one rank looks, before any writes
    if own == [range(0)]:  # everything is labelled: write a part without rows, which readers accept
        write_part(out / part_name(0), [], fields, metadata)
    timing = PassTiming()
    was_training = network.training
    network.eval()
    try:
        batches = _predicted_batches(network, view, own, batch_size, num_workers, timing)
        total = sum(map(len, own))
        progress = track(batches, description, -(-total // batch_size), quiet=rank != 0)
        with PartFiles(out, view, fields, metadata) as files:
            for positions, results, points in progress:
                with timing.writing():
                    for position, sample, cloud in zip(positions, results, points):
                        files.add(position, _columns(network, sample, view, position, fields), _numpy(cloud))
            with timing.writing():
                files.finish()
    finally:
        network.train(was_training)
    barrier()
    if rank == 0 and _missing_parts(out, len(view.frame_ids), frames_per_part, metadata):
        raise UserError(
            f'{out}: parts are missing although all processes have written theirs; choose a folder that all machines share'
        )
    return _over_ranks(timing)


def usual_fields(model: nn.Module) -> tuple[str, ...]:
    """Return the columns of `USUAL_FIELDS` that a detector can fill; stock ones give boxes, scores and labels alone."""
    provided = provided_columns(type(unwrapped(model)))
    return tuple(name for name in USUAL_FIELDS if name in (COMPUTED_FOR_ALL if provided is None else provided))


def _missing_parts(out: Path, frames: int, size: int, metadata: Mapping[str, Any]) -> list[range]:
    """Return the positions of every part that is not on disk yet, after checking those that are."""
    missing = []
    for number, first in enumerate(range(0, max(frames, 1), size)):  # an empty one without frames
        path = out / part_name(number)
        if not path.exists():
            missing.append(range(first, min(first + size, frames)))
            continue
        found = read_metadata(path)
        for key in IDENTITY:
            if found.get(key) != metadata.get(key):
                raise UserError(
                    f'{path}: found {key} {found.get(key)!r}, expected {metadata.get(key)!r}; these are predictions of '
                    'another run, choose another folder or delete this one'
                )
    return missing


def _predicted_batches(
    network: nn.Module, view: Any, parts: Sequence[range], batch_size: int, num_workers: int, timing: PassTiming
) -> Iterator[tuple[list[int], list, list]]:
    """Yield positions, data samples and point clouds of every batch; no batch crosses a part."""
    batches = [list(part[k : k + batch_size]) for part in parts for k in range(0, len(part), batch_size)]
    loader = DataLoader(view, batch_sampler=batches, num_workers=num_workers, collate_fn=pseudo_collate)
    start = time.perf_counter()
    for positions, batch in zip(batches, loader):
        loaded = time.perf_counter()
        timing.load += loaded - start
        with torch.no_grad():
            results = cast(Any, network).test_step(batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        timing.forward += time.perf_counter() - loaded
        timing.frames += len(positions)
        yield positions, results, batch['inputs']['points']
        start = time.perf_counter()


def _columns(network: Any, sample: Any, view: Any, position: int, fields: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the contract's columns of one predicted frame that come from the model."""
    instances = sample.pred_instances_3d
    values = {
        'bboxes_3d': to_gravity_array(instances.bboxes_3d),
        'scores_3d': _numpy(instances.scores_3d).clip(0, 1),
        'labels_3d': _numpy(instances.labels_3d),
    }
    extras = dict(getattr(sample, 'frame_predictions', {}))
    if 'roi_scores_target' in fields or 'roi_residuals_target' in fields:
        extras |= network.roi_targets(extras['rois'], _annotations(view, position))
    for name in fields:
        if column(name).layout is Layout.BOX and name in instances:
            values[name] = _numpy(instances[name])
        elif name in extras:
            values[name] = _numpy(extras[name])
        elif name not in (*REQUIRED, *WITHOUT_MODEL):
            raise UserError(
                f"frame {view.frame_ids[position]}: the detector gives no '{name}'; it gives "
                f'{", ".join(sorted({*instances.keys(), *extras}))}. Switch it on in the model config, or leave it out of --fields'
            )
    return values


def _annotations(view: Any, position: int) -> Mapping[str, Any]:
    """Return the annotations of a labelled frame; an unlabelled view has none."""
    found = view.get_data_info(position).get('ann_info')
    if found is None:
        raise UserError(
            f'frame {view.frame_ids[position]}: targets were asked for, but it is not labelled; predict with --labelled'
        )
    return found


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _over_ranks(timing: PassTiming) -> PassTiming:
    frames = {'frames': torch.tensor(float(timing.frames))}
    seconds = {name: torch.tensor(getattr(timing, name)) for name in ('load', 'forward', 'write')}
    all_reduce_dict(frames, op='sum')
    all_reduce_dict(seconds, op='mean')
    return PassTiming(int(frames['frames']), *(float(seconds[name]) for name in ('load', 'forward', 'write')))
