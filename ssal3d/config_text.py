"""Config files as text, quickly.

MMEngine formats the text of a config with yapf, which takes seconds, when a run starts and again at every checkpoint.
Our runner therefore holds a `PlainTextConfig`.
"""

import copy
from keyword import iskeyword
from typing import Any

from mmengine.config import Config

WIDTH = 116


class PlainTextConfig(Config):
    """A config whose text comes from `config_text`.

    Args:
        config: The config; it is copied.
    """

    def __init__(self, config: Config) -> None:
        for name, value in vars(config).items():  # Config's own attributes; its __setattr__ writes into the content
            object.__setattr__(self, name, copy.deepcopy(value))

    @property
    def pretty_text(self) -> str:
        """The config as Python source."""
        return config_text(self.to_dict())


def config_text(content: dict[str, Any]) -> str:
    """Return a config as Python source that `mmengine.config.Config.fromfile` reads back.

    Args:
        content: Names and values: dictionaries, lists, tuples and literals. What fits in a line stays in one.

    >>> print(config_text({'model': {'type': 'Net', 'depth': 2}, 'name': 'a'}), end='')
    model = dict(type='Net', depth=2)
    name = 'a'
    """
    return ''.join(f'{name} = {_value(content[name], 0, len(name) + 3)}\n' for name in sorted(content))


def _value(value: Any, indent: int, used: int) -> str:
    """Return the source of a value that starts in column ``indent + used``."""
    line = _in_one_line(value)
    if indent + used + len(line) <= WIDTH or not isinstance(value, dict | list | tuple) or not value:
        return line
    margin, inner = ' ' * indent, indent + 4
    if isinstance(value, dict):
        keywords = _are_identifiers(value)
        opening, closing = ('dict(', ')') if keywords else ('{', '}')
        parts = []
        for key in sorted(value, key=_type_first):
            name = f'{key}=' if keywords else f'{key!r}: '
            parts.append(name + _value(value[key], inner, len(name)))
    else:
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
        parts = [_value(item, inner, 0) for item in value]
    body = ''.join(f'{margin}    {part},\n' for part in parts)
    return f'{opening}\n{body}{margin}{closing}'


def _in_one_line(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=_type_first)
        if _are_identifiers(value):
            return f'dict({", ".join(f"{key}={_in_one_line(value[key])}" for key in keys)})'
        return f'{{{", ".join(f"{key!r}: {_in_one_line(value[key])}" for key in keys)}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_in_one_line, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(_in_one_line, value))}{"," if len(value) == 1 else ""})'
    return repr(value)


def _type_first(key: Any) -> tuple[bool, str]:
    return key != 'type', str(key)


def _are_identifiers(value: dict[Any, Any]) -> bool:
    return all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value)
