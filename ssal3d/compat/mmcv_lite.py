"""A stand-in for mmcv's compiled extension, so that CPU machines need no compiler.

The wheel `mmcv-lite` holds all of mmcv's Python code, the wrappers of its operators included, but not the extension
module `mmcv._ext` that they call. Our own CPU kernels (`ssal3d.compat.mmcv_fixes`) take the place of those that
detectors on point clouds call; this module answers for every other one with an error that names it and the remedy.
"""

import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from types import ModuleType
from typing import Any

from ssal3d.compat.fix import Fix
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
            f'the operator {self.__name__!r} of mmcv has no kernel in this installation',
            'run `make setup OPS=compiled`, or install mmcv==2.1.0 with operators instead of mmcv-lite',
        )


class StandInExtension(ModuleType):
    """The module `mmcv._ext` of an mmcv without operators; `ssal3d.compat` puts kernels into it."""

    def __getattr__(self, name: str) -> MissingKernel:
        """Return a `MissingKernel` for every operator that nobody put here."""
        if name.startswith('__'):
            raise AttributeError(name)
        return MissingKernel(name)


def is_stand_in() -> bool:
    """Return whether `mmcv._ext` is our stand-in (only known once the fixes are applied)."""
    return isinstance(sys.modules.get(EXTENSION), StandInExtension)


def install_if_missing() -> None:
    """Put the stand-in in place if mmcv came without its extension; mmcv and MMDetection3D can be imported then."""
    if _extension_is_missing():
        _stand_in()


def _extension_is_missing() -> bool:
    return EXTENSION not in sys.modules and importlib.util.find_spec(EXTENSION) is None


def _stand_in() -> None:
    import mmcv

    extension = StandInExtension(EXTENSION, doc='Stand-in for the compiled operators of mmcv.')
    extension.__spec__ = importlib.machinery.ModuleSpec(EXTENSION, loader=None)
    sys.modules[EXTENSION] = extension
    mmcv._ext = extension


FIXES = (
    Fix(
        name='mmcv-without-operators',
        problem='The only wheels of mmcv for current Python and torch releases come without compiled operators.',
        link='https://github.com/open-mmlab/mmcv/issues/3157',
        needs=('mmcv',),
        is_needed=_extension_is_missing,
        apply=_stand_in,
    ),
)
