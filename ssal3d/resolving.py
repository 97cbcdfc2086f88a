"""The resolving of a config: what its settings imply is filled in, after children and the command line changed them.

MMEngine evaluates a base before a child changes it, so ``pipeline = [dict(point_cloud_range=point_cloud_range)]`` keeps
the base's range whatever the child says. A config says ``'${point_cloud_range}'`` instead, and gets the final value
here: that of the key of this name, or one of `ssal3d.derived_values`. A value that stands in place of a reference is
left alone.
"""

import copy
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from ssal3d.derived_values import DERIVED, check_anchors
from ssal3d.errors import UserError, unknown_name
from ssal3d.typed import check_fields

REFERENCE = re.compile(r'\$\{([A-Za-z_]\w*(?:\.\w+)*)\}')
CLASS_TABLES = ('anchors', 'nms_radius', 'paste_groups')  # the first that a config has lists the classes that it knows


def resolve(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a config with what follows from its settings.

    1. ``class_names`` may be one name. Tables by class (dictionaries of known classes) lose the other classes, and so
      do
       lists of classes in ``stages``.
    2. A stage's ``schedule`` changes keys of the experiment's ``schedule`` for that stage, which gets a
      ``param_scheduler``
       of its own.
    3. References become values.

    Args:
        content: The config as read.

    Raises:
        UserError: If a reference leads nowhere or in a circle, or a class lacks a setting.

    >>> resolve({'class_names': 'Car', 'head': {'num_classes': '${num_classes}'}, 'file': '${class_names.0}.txt'})
    {'class_names': ['Car'], 'head': {'num_classes': 1}, 'file': 'Car.txt'}
    """
    _check_types(content)
    result = _choose_classes(copy.deepcopy(dict(content)))
    _give_schedules(result)
    return _References(result).fill(result, '')


class _Settings(TypedDict):
    """Settings that others follow from; a reference may stand for any of them."""

    class_names: str | Sequence[str]
    point_cloud_range: str | Sequence[float | str]
    voxel_size: str | Sequence[float | str]
    schedule: Mapping[str, Any]
    stages: Mapping[str, Any]
    train_cfg: Mapping[str, Any] | None
    paste_groups: str | Mapping[str, Any]


class _Loop(TypedDict):
    """What decides in ``train_cfg`` which stages run."""

    initial: Mapping[str, Any]
    rounds: Sequence[Mapping[str, Any]]
    final: str | Sequence[str | Sequence[str]]


class _Round(TypedDict):
    """What decides in a round which stages run."""

    pretrain: str | Sequence[str | Sequence[str]]


def _check_types(content: Mapping[str, Any]) -> None:
    check_fields(_Settings, content, 'config')
    loop = content.get('train_cfg') or {}
    check_fields(_Loop, loop, 'train_cfg')
    for number, entry in enumerate(loop.get('rounds', ())):
        check_fields(_Round, entry, f'train_cfg.rounds.{number}')


def _choose_classes(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content with tables of the chosen classes."""
    if 'class_names' not in content:
        return content
    given = content['class_names']
    names = [given] if isinstance(given, str) else list(given)
    if len(set(names)) != len(names) or not names:
        raise UserError(f'class_names: found {given!r}, expected different names')
    content['class_names'] = names
    tables = [content[key] for key in CLASS_TABLES if isinstance(content.get(key), Mapping)]
    if isinstance(content.get('anchors'), Mapping):
        check_anchors(content['anchors'])
    legal = {*names, *(tables[0] if tables else ())}
    used = set(_used_stages(content))
    result = {
        key: value if key == 'class_names' else _of_classes(value, names, legal, key, used)
        for key, value in content.items()
    }
    missing = [name for name in names if name not in result.get('paste_groups', names)]
    if missing:
        raise UserError(
            f"paste_groups: class '{missing[0]}' is missing; add paste_groups=dict({missing[0]}=10), or 0 to paste none"
        )
    return result


def _of_classes(value: Any, names: Sequence[str], legal: set[str], place: str, used: set[str]) -> Any:
    if isinstance(value, Mapping):
        is_table = bool(value) and legal.issuperset(value)
        kept = {key: entry for key, entry in value.items() if not is_table or key in names}
        if not kept and is_table and _stage_of(place) in used:
            raise UserError(
                f'{place}: found {", ".join(value)}, expected one of {", ".join(names)}; give values for these classes, '
                'with _delete_=True to drop the others'
            )
        return {key: _of_classes(entry, names, legal, f'{place}.{key}', used) for key, entry in kept.items()}
    if isinstance(value, list | tuple):
        if value and _stage_of(place) is not None and all(isinstance(entry, str) for entry in value):
            return [entry for entry in value if entry in names or entry not in legal]
        return type(value)(_of_classes(entry, names, legal, f'{place}.{n}', used) for n, entry in enumerate(value))
    return value


def _stage_of(place: str) -> str | None:
    room, _, rest = place.partition('.')
    return rest.split('.')[0] if room == 'stages' and rest else None


def _used_stages(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the stages that the experiment runs."""
    loop = content.get('train_cfg') or {}
    for entry in (*(entry.get('pretrain', ()) for entry in loop.get('rounds', ())), loop.get('final', ())):
        for name in (entry,) if isinstance(entry, str) else entry:
            yield from (name,) if isinstance(name, str) else name


def _give_schedules(content: dict[str, Any]) -> None:
    """Give every stage with a ``schedule`` of its own the ``param_scheduler`` that follows from it."""
    general = content.get('schedule', {})
    _check_schedule('schedule', general, content.get('param_scheduler'))
    for name, stage in content.get('stages', {}).items():
        schedule = stage.pop('schedule', None) if isinstance(stage, dict) else None
        if not schedule:
            continue
        if not isinstance(schedule, Mapping):
            raise UserError(f'stages.{name}.schedule: found {schedule!r}, expected a dictionary, e.g. dict(lr=0.01)')
        template = stage.get('param_scheduler', content.get('param_scheduler'))
        if not _schedule_keys(template):
            raise UserError(
                f'stages.{name}.schedule: found {schedule!r}, but param_scheduler refers to no ${{schedule...}}; change '
                f'stages.{name}.param_scheduler instead'
            )
        _check_schedule(f'stages.{name}.schedule', schedule, template)
        scope = {**content, 'schedule': {**general, **schedule}}
        stage['param_scheduler'] = _References(scope).fill(template, f'stages.{name}.param_scheduler')


def _check_schedule(place: str, schedule: Mapping[str, Any], template: Any) -> None:
    keys = _schedule_keys(template)
    for key in schedule:
        if keys and key not in keys:
            raise unknown_name(f'key of {place}', key, sorted(keys))


def _schedule_keys(template: Any) -> set[str]:
    names = (name.split('.') for name in REFERENCE.findall(repr(template)))
    return {parts[1] for parts in names if parts[0] == 'schedule' and len(parts) > 1}


class _References:
    """The values that references stand for.

    Args:
        content: The whole config.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self.open: list[str] = []  # names that are being looked up, to notice circles

    def fill(self, value: Any, place: str) -> Any:
        """Return a value in which references are replaced; ``place`` is its dotted key, for messages."""
        if isinstance(value, Mapping):
            return {key: self.fill(entry, f'{place}.{key}' if place else str(key)) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.fill(entry, f'{place}.{number}') for number, entry in enumerate(value))
        if not isinstance(value, str):
            return value
        if whole := REFERENCE.fullmatch(value):
            return copy.deepcopy(self.value(whole[1], place))
        return REFERENCE.sub(lambda found: self.text(found[1], place), value)

    def text(self, name: str, place: str) -> str:
        """Return a value to put into a text."""
        value = self.value(name, place)
        if not isinstance(value, str | int | float):
            raise UserError(f'{place}: ${{{name}}} is {value!r}, expected a text or number to put into a text')
        return str(value)

    def value(self, name: str, place: str) -> Any:
        """Return the value of a name."""
        if name in self.open:
            circle = ' -> '.join((*self.open, name))
            raise UserError(f'{place}: references go in a circle, {circle}; give one of them a value')
        self.open.append(name)
        try:
            return self.derived(name, place) if name in DERIVED else self.fill(self.look_up(name, place), name)
        finally:
            self.open.pop()

    def derived(self, name: str, place: str) -> Any:
        """Return a value that follows from settings."""
        if name in self.content:
            needs = ' and '.join(inspect.signature(DERIVED[name]).parameters)
            raise UserError(f'{name}: found {self.content[name]!r}, but it follows from {needs}; change those instead')
        arguments = {}
        for need in inspect.signature(DERIVED[name]).parameters:
            if need not in self.content:
                raise UserError(f'{place}: ${{{name}}} follows from {need}, which the config lacks; set {need}')
            arguments[need] = self.value(need, place)
        return DERIVED[name](**arguments)

    def look_up(self, name: str, place: str) -> Any:
        """Return what stands at a dotted key."""
        value: Any = self.content
        for part in name.split('.'):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif isinstance(value, list | tuple) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            elif not isinstance(value, Mapping | list | tuple):
                raise UserError(f'{place}: ${{{name}}} leads nowhere: {value!r} has no {part}; give it a value')
            else:
                names = [*self.content, *DERIVED] if value is self.content else list(value)
                raise UserError(f'{place}: {unknown_name("reference", part, [str(key) for key in names])}')
        return value
