"""Batch normalisation of networks with random weights."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def input_statistics(model: nn.Module) -> Iterator[None]:
    """Let batch normalisations take the statistics of the next batch as their running ones.

    With those of a new network, features of random weights fade to nothing in evaluation, and all scores tie.

    Args:
        model: Its modes and momenta are restored at the end.
    """
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    before = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    yield
    for norm, (momentum, training) in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.train(training)
