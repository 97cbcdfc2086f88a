"""Predicting parts of a pool with a model: what every engine does with the parts that it is given."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.data import DataLoader

from ssal3d.data.boxes import to_gravity_array
from ssal3d.errors import UserError
from ssal3d.predictions.part_files import WITHOUT_MODEL, PartFiles
from ssal3d.predictions.places import Place
from ssal3d.predictions.schema import REQUIRED, Layout, column


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

    def add(self, frames: int, load: float, forward: float, write: float) -> None:
        """Count what a piece of the pass took."""
        self.frames += frames
        self.load, self.forward, self.write = self.load + load, self.forward + forward, self.write + write

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


class PartPrediction:
    """A model that is held ready to predict parts of a pool and to write them.

    Args:
        network: A detector that extracts the columns (`ssal3d.models.extraction.extracting`).
        view: The pool's view.
        out: Folder of the parts.
        fields: Columns beyond boxes, scores and labels.
        metadata: Facts for the files, among them ``frames_per_part`` and ``batch_size``.
        num_workers: Loader processes.
        written: Called with the number of every part that is written, by another thread.

    Attributes:
        timing: Where the time went.
        files: What writes the parts.
    """

    def __init__(
        self,
        network: nn.Module,
        view: Any,
        out: Place,
        fields: Sequence[str],
        metadata: Mapping[str, Any],
        num_workers: int,
        written: Callable[[int], object],
    ) -> None:
        self.network, self.view, self.fields = network, view, fields
        self.metadata, self.num_workers = metadata, num_workers
        self.timing = PassTiming()
        self.files = PartFiles(out, view, fields, metadata, written)

    def __enter__(self) -> 'PartPrediction':
        self._was_training = self.network.training
        self.network.eval()
        self.files.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        try:
            self.files.__exit__(*failure)
        finally:
            self.network.train(self._was_training)

    def predict(self, numbers: Iterable[int]) -> Iterator[None]:
        """Predict parts and yield after every batch; at the end, they are written.

        Args:
            numbers: Numbers of the parts; the next one is taken when the loader can begin with it.
        """
        if not self.view.frame_ids:  # everything is labelled: a part without rows, which readers accept
            for number in numbers:
                self.files.write(number)
            return
        for positions, results, points in self._predicted_batches(map(self._batches, numbers)):
            with self.timing.writing():
                for position, sample, cloud in zip(positions, results, points):
                    columns = _columns(self.network, sample, self.view, position, self.fields)
                    self.files.add(position, columns, _numpy(cloud))
            yield
        with self.timing.writing():
            self.files.finish()

    def predict_one(self, number: int) -> Iterator[None]:
        """Predict a part, see `predict`."""
        return self.predict([number])

    def number_of_batches(self, numbers: Iterable[int]) -> int:
        """Return the number of batches of some parts."""
        return sum(len(self._batches(number)) for number in numbers)

    def _batches(self, number: int) -> list[list[int]]:
        """Return the positions of a part's frames by batch; no batch crosses a part."""
        frames, size, batch = len(self.view.frame_ids), self.metadata['frames_per_part'], self.metadata['batch_size']
        part = range(number * size, min((number + 1) * size, frames))
        return [list(part[k : k + batch]) for k in range(0, len(part), batch)]

    def _predicted_batches(self, parts: Iterable[list[list[int]]]) -> Iterator[tuple[list[int], list, list]]:
        """Yield positions, data samples and point clouds of every batch."""
        loading: deque[list[int]] = deque()

        def batches() -> Iterator[list[int]]:
            for part in parts:
                for batch in part:
                    loading.append(batch)
                    yield batch

        loader = DataLoader(
            self.view, batch_sampler=cast(Any, batches()), num_workers=self.num_workers, collate_fn=pseudo_collate
        )
        start = time.perf_counter()
        for batch in loader:
            loaded = time.perf_counter()
            self.timing.load += loaded - start
            with torch.no_grad():
                results = cast(Any, self.network).test_step(batch)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.timing.forward += time.perf_counter() - loaded
            positions = loading.popleft()
            self.timing.frames += len(positions)
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
