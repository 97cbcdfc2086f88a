"""Mistyped keys and types, at any level of a config."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ssal3d.checks.finding import Checked, Finding
from ssal3d.checks.names import read_names
from ssal3d.checks.signatures import (
    ALWAYS,
    TAKEN_AWAY,
    handed_to,
    keys_of,
    kinds_of,
    mentions,
    registered,
    settings_read_by,
    usual_keys,
)
from ssal3d.checks.subject import Subject
from ssal3d.checks.tree import at, join, mappings

# Layers by a short name, whose builders take keys of their own.
LAYERS = ('norm_cfg', 'act_cfg', 'conv_cfg', 'upsample_cfg', 'init_cfg', 'padding_cfg', 'dcn', 'sa_cfg', 'plugins')
# In a query of the loop, beside what the sampler takes.
QUERY = ('sampler', 'query')
SETTINGS = ('train_cfg', 'test_cfg')


def check_options(subject: Subject) -> Checked:
    """Compare the keys of every dictionary with what reads it."""
    found: list[Finding] = []
    count = 0
    for name in read_names():
        value = subject.config.get(name)
        for path, part in mappings(value, name):
            if any(layer in path.split('.') for layer in LAYERS):
                continue
            keys = _known(subject, path, part)
            if keys is None:
                found += _nearly_usual(path, part)
                continue
            count += 1
            if isinstance(keys, Finding):
                found.append(keys)
            else:
                found += [wrong for wrong in _compare(path, part, keys) if not _taken_by_parents(subject, wrong.key)]
    found += [*_settings(subject)]
    return Checked('options', f'the keys of {count} dictionaries', tuple(found))


def _compare(path: str, part: Mapping[str, Any], keys: set[str]) -> Iterator[Finding]:
    for key in part:
        if key not in keys:
            owner = part.get('type')
            whose = f' of {owner if isinstance(owner, str) else getattr(owner, "__name__", owner)}' if owner else ''
            yield Finding(join(path, key), f'a key that nothing reads{whose}', _nearest(key, keys - {*ALWAYS}))


def _nearly_usual(path: str, part: Mapping[str, Any]) -> Iterator[Finding]:
    usual = usual_keys(part, path)
    for key in part:
        close = get_close_matches(str(key), usual, n=1, cutoff=0.8) if key not in usual else ()
        if close:
            yield Finding(join(path, key), 'a key that nothing reads', f"'{close[0]}'?")


def _taken_by_parents(subject: Subject, path: str) -> bool:
    """Whether a class further up takes a key out of the config of its part."""
    *parents, _, key = path.split('.')
    above = (at(subject.config, '.'.join(parents[:count])) for count in range(len(parents), 0, -1))
    kinds = (kind for part in above if isinstance(part, Mapping) and 'type' in part for kind in kinds_of(part['type']))
    return any(isinstance(kind, type) and mentions(kind, key) for kind in kinds)


def _nearest(name: str, known: set[str]) -> str:
    close = get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"'{close[0]}'?" if close else f'one of {", ".join(sorted(known))}'


def _known(subject: Subject, path: str, part: Mapping[str, Any]) -> set[str] | Finding | None:
    """Return the keys that may stand in a dictionary; None if any may; a finding if its type does not exist."""
    if 'type' not in part:
        parent = at(subject.config, path.rpartition('.')[0], {}) if '.' in path else {}
        if path == 'train_cfg.initial':
            return {*QUERY, 'labels'}
        if path.startswith('train_cfg.rounds.') and path.count('.') == 2:
            return {*QUERY, 'pretrain'}
        return handed_to(parent, path) if isinstance(parent, Mapping) else None
    kinds = kinds_of(part['type'])
    if not kinds:
        name = part['type']  # operators of mmcv are looked up elsewhere: only what is nearly a known name is wrong
        close = (
            get_close_matches(name.rpartition('.')[2], registered(), n=1, cutoff=0.85) if isinstance(name, str) else ()
        )
        return Finding(join(path, 'type'), f"'{name}'", f"'{close[0]}'?") if close else None
    keys = [keys_of(kind) for kind in kinds]
    if any(accepted is None for accepted in keys):
        return None
    extra = next((names for place, names in TAKEN_AWAY.items() if place in path), ())
    return set(ALWAYS).union(extra, *(accepted or set() for accepted in keys))


def _settings(subject: Subject) -> Iterator[Finding]:
    """Look for mistyped names in the settings of a detector: those that its code does not read, but nearly does."""
    model = subject.model
    read: set[str] = set()
    for _, part in mappings(model):
        for kind in kinds_of(part.get('type')) if 'type' in part else ():
            if isinstance(kind, type):
                read |= settings_read_by(kind)
    for name in SETTINGS:
        for path, part in mappings(model.get(name), f'{subject.model_key}.{name}'):
            if 'type' in part:
                continue
            for key in part:
                close = get_close_matches(str(key), read, n=1, cutoff=0.8)
                if key not in read and close:
                    yield Finding(join(path, key), 'a key that the detector does not read', f"'{close[0]}'?")
