"""What a check finds: passed or not, figures, one line; written after every check, so that nothing is lost."""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssal3d.fileio import write_json

Figures = dict[str, float]


@dataclass
class Result:
    """One check.

    Attributes:
        stage: The stage that it belongs to.
        name: What was checked.
        passed: Whether it holds.
        text: Figures or the error, in one line.
        figures: Numbers by name: milliseconds, GiB, largest differences.
        seconds: How long it took.
    """

    stage: str
    name: str
    passed: bool
    text: str
    figures: Figures = field(default_factory=dict)
    seconds: float = 0.0


class NotHeldError(Exception):
    """The check ran, and what it checks does not hold."""


class Record:
    """The results of a stage.

    Args:
        stage: Its name.
        path: JSON file, rewritten after every check.
        device: Device that is checked.
        small: Whether to use the small detector and few repetitions, as in a rehearsal.
    """

    def __init__(self, stage: str, path: Path, device: torch.device, small: bool) -> None:
        self.stage, self.path, self.device, self.small = stage, path, device, small
        self.results: list[Result] = []

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU: only then do its times and memory mean anything."""
        return self.device.type == 'cuda'

    def check(self, name: str, action: Callable[[], Figures | None]) -> None:
        """Run a check; whatever it raises is its failure and stops nothing else.

        Args:
            name: What is checked.
            action: Returns figures; raises `NotHeldError` if it does not hold.
        """
        start = time.monotonic()
        try:
            figures = action() or {}
            result = Result(self.stage, name, True, _line(figures), figures)
        except Exception as error:
            traceback.print_exc(limit=-3)
            said = str(error) if isinstance(error, NotHeldError) else f'{type(error).__name__}: {error}'
            result = Result(self.stage, name, False, ' '.join(said.split())[:300])
        result.seconds = round(time.monotonic() - start, 2)
        self.results.append(result)
        print(f'{"PASS" if result.passed else "FAIL"}  {self.stage}: {name}  {result.text}', flush=True)
        write_json(self.path, {'schema': 1, 'results': [asdict(found) for found in self.results]})

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def milliseconds(self, action: Callable[[], Any], repeats: int) -> float:
        """Return the median time of an action after two that are not counted.

        Args:
            action: What is timed.
            repeats: How often, on a GPU; once in a rehearsal.
        """
        return 1000 * float(np.median(self.times([action], repeats)))

    def times(self, actions: Sequence[Callable[[], Any]], repeats: int) -> NDArray[np.float64]:
        """Time actions in turns after two rounds that are not counted, so that what slows the machine slows all.

        Args:
            actions: What is timed.
            repeats: Rounds on a GPU; one in a rehearsal.

        Returns:
            Seconds of each action in each round, (actions, rounds).
        """
        for action in [*actions, *actions] if self.on_gpu else []:
            action()
        rounds = [[self._seconds(action) for action in actions] for _ in range(repeats if self.on_gpu else 1)]
        return np.array(rounds).T

    def _seconds(self, action: Callable[[], Any]) -> float:
        self.synchronise()
        start = time.perf_counter()
        action()
        self.synchronise()
        return time.perf_counter() - start

    def gibibytes(self) -> float:
        """Return the largest memory since `forget_memory`; 0 on the CPU."""
        return torch.cuda.max_memory_allocated() / 2**30 if self.on_gpu else 0.0

    def forget_memory(self) -> None:
        """Free what is cached and measure memory anew."""
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of two tensors, relative to the largest value where that is above 1.

    Raises:
        NotHeldError: If their shapes differ.
    """
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    if found.shape != expected.shape:
        raise NotHeldError(f'shape {tuple(found.shape)}, expected {tuple(expected.shape)}')
    if not found.numel():
        return 0.0
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1))


def require_near(pairs: dict[str, tuple[Tensor, Tensor]], at_most: float = 0.0) -> Figures:
    """Return the differences of pairs by name.

    Raises:
        NotHeldError: If one is larger than allowed.
    """
    found = {name: difference(*pair) for name, pair in pairs.items()}
    if any(not value <= at_most for value in found.values()):
        raise NotHeldError(f'{_line(found)}; allowed: {at_most:g}')
    return found


def _line(figures: Figures) -> str:
    return ', '.join(f'{name} {value:.4g}' for name, value in figures.items())
