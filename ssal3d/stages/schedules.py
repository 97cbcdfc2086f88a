"""Schedules of a config, fitted to the length of a stage."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

_PLACES = ('begin', 'end', 'milestones')  # epochs of a run
_LENGTHS = ('T_max', 'total_steps', 'step_size')  # numbers of epochs
_ENDS = ('end', 'T_max', 'total_steps')  # what tells the length that a schedule was written for


def stretch(param_scheduler: Sequence[Mapping[str, Any]], epochs: int) -> list[dict[str, Any]]:
    """Return MMEngine ``param_scheduler`` configs that fill a run of another length.

    The length that they were written for is the last epoch that one of them names (``end``, ``T_max``,
    ``total_steps``). Parts keep their share of the run, but none gets shorter than an epoch, or half of a run of one
    epoch: a rise needs an iteration. Schedules by iteration, and all if none names a last epoch, stay as they are.

    Args:
        param_scheduler: Configs by epoch, which is MMEngine's default.
        epochs: Length of the run.

    >>> fall = dict(type='CosineAnnealingLR', eta_min=1e-7, begin=32, end=80, T_max=48)
    >>> stretch([fall], 40)
    [{'type': 'CosineAnnealingLR', 'eta_min': 1e-07, 'begin': 16, 'end': 40, 'T_max': 24}]
    """
    result = [copy.deepcopy(dict(entry)) for entry in param_scheduler]
    by_epoch = [entry for entry in result if entry.get('by_epoch', True)]
    ends = [entry[key] for entry in by_epoch for key in _ENDS if key in entry]
    if not ends or max(ends) == epochs:
        return result
    ratio = epochs / max(ends)
    for entry in by_epoch:
        begin, end = entry.get('begin', 0), entry.get('end')
        fills = end is not None and entry.get('T_max') == end - begin
        for key in (*_PLACES, *_LENGTHS):
            if key in entry:
                entry[key] = _stretched(key, entry[key], ratio, epochs)
        if fills:
            entry['T_max'] = _plain(entry['end'] - entry.get('begin', 0))
    return result


def scale_learning_rate(config: Any, factor: float) -> None:
    """Multiply the learning rates of a run, those of its schedule included, which MMEngine's ``auto_scale_lr`` leaves.

    Args:
        config: Config with ``optim_wrapper`` and ``param_scheduler``; changed in place.
        factor: Above 0.
    """
    entries = [entry for entry in config.get('param_scheduler') or [] if str(entry.get('type', '')).endswith('LR')]
    for entry in (config.optim_wrapper.optimizer, *entries):
        for key in ('lr', 'eta_min', 'eta_max'):
            if key in entry:
                entry[key] *= factor


def _stretched(key: str, value: Any, ratio: float, epochs: int) -> Any:
    if key == 'milestones':
        return [max(1, round(epoch * ratio)) for epoch in value]
    if key == 'step_size':
        return max(1, round(value * ratio))
    if key in _PLACES and 0 < value * ratio < epochs:
        least = min(1, epochs / 2)
        return _plain(min(max(value * ratio, least), epochs - least))
    return _plain(value * ratio)


def _plain(value: float) -> float:
    """Return whole numbers as integers."""
    value = round(value, 9)  # 0.4 of 10 epochs are 4
    return int(value) if value == int(value) else value
