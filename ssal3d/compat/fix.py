"""What a fix is, and helpers to put one in place."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fix:
    """One defect of an upstream package, or something slow in it, and what we do about it.

    Attributes:
        name: Short name, shown by ``python -m ssal3d.env``.
        problem: What is wrong, in one sentence.
        link: An issue or the line of source that shows it.
        needs: Packages without which there is nothing to mend.
        is_needed: Whether the installed version still has it; only asked when the packages are there.
        apply: Mends it for this process.
    """

    name: str
    problem: str
    link: str
    needs: tuple[str, ...]
    is_needed: Callable[[], bool]
    apply: Callable[[], None]


def installed(module: str) -> bool:
    """Return whether a module can be found, without importing it (its parent packages are imported)."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def replace_everywhere(original: Any, replacement: Any) -> None:
    """Let every module-level name that refers to ``original`` refer to ``replacement``, in all loaded modules.

    ``from package import name`` copies a reference, so replacing the attribute of the defining module alone would
    depend on who imported first. Modules loaded later copy the replacement.
    """
    for module in list(sys.modules.values()):
        names = getattr(module, '__dict__', None)
        if isinstance(names, dict):
            for name in [name for name, value in list(names.items()) if value is original]:
                names[name] = replacement
