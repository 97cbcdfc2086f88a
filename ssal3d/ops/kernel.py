"""The decorator of every compiled function of the package: numba, cached on disk by what the function is made of."""

import hashlib
import pickle
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, Literal

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher


def kernel(
    function: Callable | None = None,
    *,
    inline: Literal['never', 'always'] = 'never',
    error_model: Literal['python', 'numpy'] = 'python',
) -> Any:
    """Compile a function on first use, without Python's lock, and keep the machine code beside the source.

    numba takes the machine code from its cache as long as the *file* of the function is unchanged, and looks neither at
    the kernels that the function calls from other files nor at imported constants: after an update it would go on with
    the old ones, in silence. Here the cache's key covers all of them.

    Args:
        function: The function to compile.
        inline: ``'always'`` puts the function's body where it is called.
        error_model: What a division by zero does: ``'python'`` raises, ``'numpy'`` returns infinity or NaN, which lets
            loops with divisions work on several values at a time.
    """
    if function is None:
        return lambda function: kernel(function, inline=inline, error_model=error_model)
    compiled: Any = njit(nogil=True, inline=inline, error_model=error_model)(function)
    compiled._cache = _KernelCache(function)
    return compiled


class _KernelCache(FunctionCache):
    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return (*super()._index_key(sig, codegen), digest(self._py_func))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except (AttributeError, ImportError, EOFError, pickle.UnpicklingError):  # of a class that has another name now
            self.flush()
            return None


def digest(function: FunctionType) -> str:
    """Return a SHA-256 digest of the code of a function, of all kernels that it calls, and of the constants they read.

    Linear in the size of these functions; it is computed when a kernel is first called.
    """
    sha = hashlib.sha256()
    for part in _parts(function, set()):
        sha.update(part.encode())
    return sha.hexdigest()


def _parts(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    """Yield texts that tell a function, and those it calls, from every other version of them."""
    if function in seen:
        return
    seen.add(function)
    yield f'{function.__module__}.{function.__qualname__}'
    names: list[str] = []
    for code in _code_objects(function.__code__):
        constants = [constant for constant in code.co_consts if not isinstance(constant, CodeType)]
        yield f'{code.co_code!r} {constants!r} {code.co_names!r} {code.co_varnames!r}'
        names += code.co_names
    values = [function.__globals__[name] for name in names if name in function.__globals__]
    values += [getattr(module, name, None) for module in values if isinstance(module, ModuleType) for name in names]
    for value in values:
        if isinstance(value, Dispatcher):
            yield repr(value.targetoptions)
            yield from _parts(value.py_func, seen)
        elif isinstance(value, np.ndarray):
            yield f'{value.dtype} {value.shape} {value.tobytes()!r}'
        elif isinstance(value, bool | int | float | str | tuple):
            yield repr(value)


def _code_objects(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_objects(constant)
