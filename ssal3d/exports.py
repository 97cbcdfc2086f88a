"""Public names of a package that are imported when they are first used, where that takes long (PEP 562)."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_exports(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    The package repeats the imports under ``if TYPE_CHECKING``, for type checkers and editors. A name must not be that
    of a module of the package: it would stand for the module as soon as that is imported.

    Args:
        package: Its ``__name__``.
        names: Public names by module of the package.
    """
    modules = {name: module for module, exported in names.items() for name in exported}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(import_module(f'{package}.{modules[name]}'), name)

    return get, lambda: sorted(modules), sorted(modules)
