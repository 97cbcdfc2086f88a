"""Randomness as a function of (seed, epoch, index), whatever the workers, ranks and interruptions."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mmdet3d.registry import DATASETS
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ssal3d.errors import UserError

MAX_ATTEMPTS = 100


def generator(*key: int) -> np.random.Generator:
    """Return a generator that depends on the key only, e.g. (seed, epoch, index)."""
    return np.random.default_rng(np.random.SeedSequence(key))


@contextmanager
def seeded_globals(*key: int) -> Iterator[None]:
    """Seed the global generators of random, NumPy and torch by a key, those of the GPU included; then restore them."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # never in a process of the loader
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(words.tobytes())
    np.random.seed(words)  # noqa: NPY002
    try:
        with torch.random.fork_rng(gpus):
            seed = int(words[0]) << 32 | int(words[1])
            # Without GPUs in use, `manual_seed` would format a stack trace beside the seed that it keeps for them.
            (torch.manual_seed if gpus else torch.default_generator.manual_seed)(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@DATASETS.register_module()
class SeededRepeatDataset(Dataset):
    """Repeats a view within an epoch; sample i of epoch e is the same in every run with the same seed.

    A frame that has no box left after augmentation is replaced by another one, drawn by the same rule.

    Args:
        dataset: A view, or its config.
        repeat: How often an epoch goes through the view.
        seed: Seed of all randomness.
        length: Samples of an epoch, instead of ``repeat``; the next epoch continues where this one ends, in an order of
            the frames that the seed decides.
    """

    def __init__(self, dataset: Any, repeat: int = 1, seed: int = 0, length: int | None = None) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.repeat = repeat
        self.seed = seed
        self.length = length
        # Shared memory, so that persistent workers see the epoch without being restarted.
        self._epoch = torch.full((1,), -1, dtype=torch.int64).share_memory_()

    @property
    def metainfo(self) -> dict[str, Any]:
        """Metainfo of the view."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return self.frames * self.repeat if self.length is None else self.length

    @property
    def frames(self) -> int:
        """Number of frames that an epoch goes through."""
        return len(self.dataset)

    def position(self, index: int) -> int:
        """Return which frame sample ``index`` of the epoch is."""
        if self.length is None:
            return index % self.frames
        return int(self._order[(int(self._epoch) * self.length + index) % self.frames])

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """The order of the frames that an epoch after the other walks through."""
        return generator(self.seed, self.frames).permutation(self.frames)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the samples that follow."""
        self._epoch[0] = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        epoch = int(self._epoch)
        if epoch < 0:
            raise UserError("the data set does not know the epoch; add dict(type='EpochSeedHook') to custom_hooks")
        for attempt in range(MAX_ATTEMPTS):
            key = (self.seed, epoch, index, attempt)
            with seeded_globals(*key):
                sample = self.load(index, attempt, generator(*key))
            if sample is not None and len(sample['data_samples'].gt_instances_3d.labels_3d):
                return sample
        raise UserError(
            f'no training sample with a box found in {MAX_ATTEMPTS} draws; check point_cloud_range and the labels'
        )

    def load(self, index: int, attempt: int, rng: np.random.Generator) -> dict[str, Any] | None:
        """Return sample ``index``, or a substitute drawn by ``rng`` at later attempts; None if it has nothing."""
        position = self.position(index) if attempt == 0 else int(rng.integers(len(self.dataset)))
        return self.dataset[position]


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Tells the data set its epoch and reseeds the training process at every epoch.

    Epoch boundaries are the resume points of mmengine, which restores no generator; with this hook a resumed run draws
    the same numbers (dropout, RoI sampling) as an uninterrupted one.
    """

    priority = 'LOWEST'  # whatever other hooks draw, e.g. for a refresh that a resumed run skips, has no effect

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the data set its epoch."""
        dataset = runner.train_dataloader.dataset
        while not hasattr(dataset, 'set_epoch') and hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        if hasattr(dataset, 'set_epoch'):
            dataset.set_epoch(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Reseed random, NumPy and torch before the first step of an epoch.

        Not earlier: a loader draws a number when it starts its workers, which persistent ones do once in a process.
        """
        if batch_idx:
            return
        words = np.random.SeedSequence((runner.seed or 0, runner.epoch, runner.rank)).generate_state(2)
        random.seed(int(words[0]))
        np.random.seed(int(words[0]))  # noqa: NPY002
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))
