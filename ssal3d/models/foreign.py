"""Weights of a detector that was trained elsewhere: which of them belong where, and whether they fit."""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.runner.checkpoint import _load_checkpoint
from torch import Tensor, nn

from ssal3d.errors import UserError

WRAPPERS = ('module.', 'student.', 'model.', 'detector.')  # what distributed training and teachers put before names
COUNTERS = '.num_batches_tracked'


def read_weights(path: str | Path) -> dict[str, Any]:
    """Return the weights in a checkpoint by name; nothing in it is executed.

    Args:
        path: A checkpoint of MMEngine, or a bare state dict.

    Raises:
        UserError: If there is none, or it holds no weights.
    """
    if not Path(path).is_file():
        raise UserError(f'{path}: no such checkpoint; check the path')
    content: Any = _load_checkpoint(str(path), map_location='cpu')
    state = content.get('state_dict', content) if isinstance(content, Mapping) else {}
    named = state.items() if isinstance(state, Mapping) else ()
    weights = OrderedDict((name, value) for name, value in named if isinstance(name, str) and isinstance(value, Tensor))
    if not weights:
        raise UserError(
            f'{path}: found no weights, expected a checkpoint with state_dict; give a checkpoint of a detector'
        )
    weights._metadata = getattr(state, '_metadata', {})  # type: ignore[attr-defined]
    return weights


def match_names(
    foreign: Sequence[str], model_names: Sequence[str], keys: Mapping[str, str | None] | None = None
) -> dict[str, str]:
    """Return the own name of every foreign weight that has a place.

    Args:
        foreign: Names in the checkpoint.
        model_names: Names of the model.
        keys: Beginnings of foreign names and what stands there in the model; None leaves such weights out. The longest
            beginning counts. Other names fit as they are, or without what a wrapper put before them.

    >>> match_names(['module.neck.a', 'head.b', 'aux.c'], ['neck.a', 'bbox_head.b'], {'head': 'bbox_head', 'aux': None})
    {'module.neck.a': 'neck.a', 'head.b': 'bbox_head.b'}
    """
    places = set(model_names)
    matched: dict[str, str] = {}
    for name in foreign:
        beginnings = [key for key in keys or {} if name == key or name.startswith(f'{key.rstrip(".")}.')]
        if beginnings:
            longest = max(beginnings, key=len)
            target = (keys or {})[longest]
            renamed = None if target is None else target.rstrip('.') + name[len(longest.rstrip('.')) :]
        else:
            stripped = [name.removeprefix(wrapper) for wrapper in WRAPPERS if name.startswith(wrapper)]
            renamed = next((candidate for candidate in (name, *stripped) if candidate in places), None)
        if renamed in places and renamed not in matched.values():
            matched[name] = str(renamed)
    return matched


def load_foreign(
    model: nn.Module, path: str | Path, keys: Mapping[str, str | None] | None = None, partial: bool = False
) -> list[tuple[str, str, int]]:
    """Load weights of another run or another code base into a model.

    Args:
        model: The model; what finds no weights keeps its own.
        path: A checkpoint of any project.
        keys: See `match_names`.
        partial: Let weights of the model find no counterpart, e.g. when the checkpoint holds a backbone alone.

    Returns:
        The map for people: part of the checkpoint, part of the model (``'-'``: left out, or its own), number of
        tensors.

    Raises:
        UserError: If nothing fits, a shape differs, or weights are missing without ``partial``.
    """
    foreign, weights = read_weights(path), model.state_dict()
    names = match_names(list(foreign), list(weights), keys)
    if not names:
        raise UserError(
            f'{path}: no weight fits the model of the config; the checkpoint has {_some(foreign)}, the model {_some(weights)}; '
            "name their counterparts, e.g. start_from=dict(keys={'backbone_3d': 'middle_encoder'})"
        )
    missing = [name for name in weights if name not in names.values() and not name.endswith(COUNTERS)]
    if missing and not partial:
        raise UserError(
            f'{path}: {len(missing)} of {len(weights)} weights of the model are not in the checkpoint, e.g. {missing[0]}; name '
            'their counterparts with start_from=dict(keys=...), or let them be random with start_from=dict(partial=True)'
        )
    state = OrderedDict((names[name], foreign[name]) for name in names)
    versions = getattr(foreign, '_metadata', {})  # the layout of sparse convolutions depends on the version
    layouts = {_moved(name, names): entry for name, entry in versions.items()}
    for name, value in state.items():  # without a version old layouts are assumed, also of kernels that fit as they are
        if value.ndim == 5 and value.shape == weights[name].shape:
            module = name.rpartition('.')[0]
            layouts[module] = weights._metadata.get(module, {})  # type: ignore[attr-defined]
    state._metadata = layouts  # type: ignore[attr-defined]
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if '\n' in str(error) else str(error)
        raise UserError(
            f'{path}: {first.rstrip(".")}; give the config the classes, anchors and voxels that the checkpoint was trained '
            'with, or leave the layer out with start_from=dict(keys={...: None}, partial=True)'
        ) from None
    return _key_map(list(foreign), names, missing)


def _moved(module: str, names: Mapping[str, str]) -> str:
    """Return the own name of a foreign module, by the weights below it."""
    for name, model_name in names.items():
        if name.startswith(f'{module}.') and '.' not in (rest := name[len(module) + 1 :]):
            return model_name[: -len(rest) - 1]
    return module


def _key_map(foreign: Sequence[str], names: Mapping[str, str], missing: Sequence[str]) -> list[tuple[str, str, int]]:
    pairs = Counter((_part(name), _part(names[name]) if name in names else '-') for name in foreign)
    pairs.update(('-', _part(name)) for name in missing)
    return [(source, target, count) for (source, target), count in pairs.items()]


def _part(name: str) -> str:
    return (
        next((name[: len(w)] + name[len(w) :].partition('.')[0] for w in WRAPPERS if name.startswith(w)), None)
        or (name.partition('.')[0])
    )


def _some(names: Mapping[str, Any]) -> str:
    parts = list(dict.fromkeys(map(_part, names)))
    return ', '.join(parts[:4]) + (', ...' if len(parts) > 4 else '')
