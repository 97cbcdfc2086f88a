"""Names that the files of a config set and never use."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_IN_TEXT = re.compile(r'(?:\$\{|_base_\.)(\w+)')  # '${name}' and '{{_base_.name}}'


def unused_names(path: str | Path) -> frozenset[str]:
    """Return the names that a config which has a base sets at the top, and that none of its files uses.

    A use is one in Python, ``_base_.name``, or a reference in a text such as ``'${name}'``. Files without a base are
    left alone: those that MMEngine dumps hold what was used once.
    """
    settings: set[str] = set()
    used: set[str] = set()
    for file in _files(path):
        tree = ast.parse(file.read_text(encoding='utf-8'))
        used.update(_uses(tree))
        names = set(_set_at_the_top(tree))
        if '_base_' in names:
            settings |= names
    return frozenset(settings - used)


def _files(path: str | Path) -> Iterator[Path]:
    from mmengine.config import Config

    for name in Config._get_base_files(str(path)):
        yield from _files(Config._get_cfg_path(name, str(path))[0])
    yield Path(path)


def _uses(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _IN_TEXT.findall(node.value)


def _set_at_the_top(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        for target in statement.targets if isinstance(statement, ast.Assign) else ():
            if isinstance(target, ast.Name):
                yield target.id
