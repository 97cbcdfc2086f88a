"""The public names of a package, read from its text: nothing is imported to document it."""

import ast
from pathlib import Path
from typing import Any

import griffe


class LazyExports(griffe.Extension):
    """Tells Griffe which names a package exports with `ssal3d.exports.lazy_exports`, which it cannot know by itself."""

    def on_module_members(self, *, node: ast.AST, mod: griffe.Module, **_: Any) -> None:
        """Set what a module exports."""
        if isinstance(node, ast.Module) and (names := exported_names(node)):
            mod.exports = list(names)


def package_exports(folder: Path) -> list[str]:
    """Return the public names of the package in a folder; none if there is no package."""
    source = folder / '__init__.py'
    return exported_names(ast.parse(source.read_text())) if source.exists() else []


def exported_names(module: ast.Module) -> list[str]:
    """Return the names in ``__all__`` and in calls of ``lazy_exports(package, {module: [names]})``."""
    assignments = [statement for statement in module.body if isinstance(statement, ast.Assign)]
    return [name for assignment in assignments for name in (*_direct(assignment), *_lazy(assignment.value))]


def _direct(assignment: ast.Assign) -> list[str]:
    targets = [target.id for target in assignment.targets if isinstance(target, ast.Name)]
    if targets != ['__all__'] or not isinstance(assignment.value, ast.List):
        return []
    return [element.value for element in assignment.value.elts if isinstance(element, ast.Constant)]


def _lazy(value: ast.expr) -> list[str]:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == 'lazy_exports':
        return [name for names in ast.literal_eval(value.args[1]).values() for name in names]
    return []
