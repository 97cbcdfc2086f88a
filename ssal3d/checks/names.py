"""Names at the top of a config that nothing reads: mistyped ones, and those that were copied before they changed."""

import inspect
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ssal3d.checks.finding import Checked, Finding, Severity
from ssal3d.checks.subject import DATA, PIPELINES, Subject
from ssal3d.checks.tree import join, shown
from ssal3d.configs import load_file
from ssal3d.derived_values import DERIVED
from ssal3d.resolving import CLASS_TABLES, REFERENCE

# What an experiment reads beside the arguments of MMEngine's runner.
OF_EXPERIMENTS = (
    *(
        'stages',
        'tta_model',
        'tta_pipeline',
        'activation_checkpointing',
        'compile',
        'model_wrapper_cfg',
        'sync_bn',
        'runner_type',
    ),
    *('active_sampler', 'query', 'custom_imports'),
    *('pool_dataloader', *PIPELINES, *DATA),
)

NOTHING = ('a name that nothing reads', 'a key of the config; remove it')  # found, expected
# Names that MMDetection3D's configs give to what they put into other places.
HELPERS = ('train_pipeline', 'eval_pipeline')


def read_names() -> tuple[str, ...]:
    """Return the top-level names that have an effect."""
    from mmengine.runner import Runner

    parameters = [name for name in inspect.signature(Runner.__init__).parameters if name not in ('self', 'cfg')]
    return tuple(dict.fromkeys((*parameters, *OF_EXPERIMENTS)))


def check_names(subject: Subject) -> Checked:
    """Look for mistyped names, and for changed ones whose copies keep their old value."""
    read = (*read_names(), *_referred_to(subject.earlier))
    content = _without_scopes(subject.config)
    loose = {name: value for name, value in content.items() if name not in read}
    used = {name: value for name, value in content.items() if name in read}
    # MMDetection3D's own configs have names without effect: no reason to refuse a training.
    severity: Severity = 'error' if subject.is_experiment else 'warning'
    unused = [Finding(name, *NOTHING, severity) for name in loose if name in subject.unused]
    findings = [*_mistyped(loose, read, severity), *_without_effect(subject, loose, used), *unused]
    unique = {finding.key: finding for finding in reversed(findings)}  # of two, the one that says more
    return Checked('names', f'{len(used)} names that are read, {len(loose)} helpers', tuple(unique.values()))


def _referred_to(files: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    """Yield the names that references of the files (``'${name}'``) read, or what is derived from them."""
    references = {name.partition('.')[0] for content in files for name in REFERENCE.findall(repr(content))}
    for name in references:
        yield from inspect.signature(DERIVED[name]).parameters if name in DERIVED else (name,)
    yield from CLASS_TABLES
    yield 'class_names'


def _mistyped(loose: Mapping[str, Any], read: tuple[str, ...], severity: Severity) -> Iterator[Finding]:
    for name in loose:
        close = get_close_matches(name, read, n=1, cutoff=0.82)
        if close and name not in HELPERS:
            yield Finding(name, NOTHING[0], f"'{close[0]}'?", severity)


def _without_effect(subject: Subject, loose: Mapping[str, Any], used: Mapping[str, Any]) -> Iterator[Finding]:
    """Find names that were changed after their value had been copied."""
    values = subject.earlier[-1] if subject.earlier else subject.config
    for name, value in loose.items():
        if name not in values:
            yield Finding(name, *NOTHING)
            continue
        for before in subject.earlier:
            if name not in before or before[name] == value or _is_plain(value):
                continue
            place = next(_places(before[name], used), None)
            if place is not None and not _occurs(value, used):
                expected = f'no change: {place} keeps the old {_short(before[name])}; change that'
                yield Finding(name, _short(value), expected)
                break


def _is_plain(value: Any) -> bool:
    """Whether a value is found everywhere by chance."""
    return value is None or isinstance(value, bool | int | float)


def _occurs(value: Any, where: Any) -> bool:
    return next(_places(value, where), None) is not None


def _places(value: Any, where: Any, path: str = '') -> Iterator[str]:
    """Yield the dotted keys at which a value stands."""
    if _equal(where, value):
        yield path
    elif isinstance(where, Mapping):
        for key, child in where.items():
            yield from _places(value, child, join(path, key))
    elif isinstance(where, list | tuple):
        for index, child in enumerate(where):
            yield from _places(value, child, join(path, index))
    elif isinstance(value, str) and len(value) > 3 and isinstance(where, str) and where.startswith(value):
        yield path  # e.g. the folder of an annotation file


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and bool(one == other) if not _is_plain(one) else one is other or one == other


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def earlier_values(path: str | Path) -> tuple[Mapping[str, Any], ...]:
    """Return the values of the files that a config inherits from, then those of the file itself."""
    from mmengine.config import Config

    bases: list[Mapping[str, Any]] = []
    for name in Config._get_base_files(str(path)):
        base = Config._get_cfg_path(name, str(path))[0]
        bases += earlier_values(base)
    return (*bases, _without_scopes(load_file(path).to_dict()))


def _without_scopes(value: Any) -> Any:
    """Return a value without the names of packages that MMEngine writes into what it inherits from them."""
    if isinstance(value, Mapping):
        return {key: _without_scopes(child) for key, child in value.items() if key != '_scope_'}
    return type(value)(map(_without_scopes, value)) if type(value) in (list, tuple) else value
