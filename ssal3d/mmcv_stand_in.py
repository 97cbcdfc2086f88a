"""A stand-in for mmcv's compiled extension, so that CPU machines need no compiler.

The wheel `mmcv-lite` holds all of mmcv's Python code, the wrappers of its operators included, but not the extension
module `mmcv._ext` that they call. Our own CPU kernels (`ssal3d.compat.mmcv_fixes`) take the place of those that
detectors on point clouds call; this module answers for every other one with an error that names it and the remedy.

Only the standard library is imported here: ``import ssal3d`` installs the stand-in, whatever is imported after it.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ssal3d.errors import UserError

EXTENSION = 'mmcv._ext'


class MissingKernel:
    """What stands for an operator that has no kernel here: looking it up is fine, calling it is not.

    Args:
        name: Name of the operator in `mmcv._ext`.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse.

        Raises:
            UserError: Always; it names the operator and how to get it.
        """
        raise UserError(
            f'the operator {self.__name__!r} of mmcv has no kernel in this installation (mmcv-lite); '
            'run `make setup OPS=compiled`, or install mmcv==2.1.0 with operators in place of mmcv-lite'
        )


class StandInExtension(ModuleType):
    """The module `mmcv._ext` of an mmcv without operators; `ssal3d.compat` puts kernels into it."""

    def __getattr__(self, name: str) -> MissingKernel:
        """Return a `MissingKernel` for every operator that nobody put here."""
        if name.startswith('__'):
            raise AttributeError(name)
        return MissingKernel(name)


class Finder:
    """Finds the stand-in; the last of all finders, so a compiled extension comes first."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the stand-in's specification for the name of mmcv's extension, nothing for any other name."""
        return ModuleSpec(name, Finder) if name == EXTENSION else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        """Return the stand-in."""
        return StandInExtension(spec.name, 'Stand-in for the compiled operators of mmcv.')

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Do nothing: kernels come later."""


def install() -> None:
    """Let ``import mmcv._ext`` find the stand-in where mmcv has no compiled operators."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)


def is_used() -> bool:
    """Return whether mmcv's operators are the stand-in's: mmcv is installed without compiled ones."""
    spec = importlib.util.find_spec('mmcv') and importlib.util.find_spec(EXTENSION)
    return spec is not None and spec.loader is Finder
