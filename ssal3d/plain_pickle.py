"""Pickles of plain data, read without trusting the file.

The usual way to read a pickle runs any code that the file names. Here only containers, numbers, strings and NumPy
arrays can come out; everything else is refused before it is looked up.
"""

import pickle
from typing import IO, Any

import numpy as np
from numpy.core import multiarray, numeric  # private names: exactly those that pickles of arrays call

from ssal3d.errors import UserError

_BUILTINS = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(module, kind.__name__): kind for kind in _BUILTINS for module in ('builtins', '__builtin__')},
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
}
for _core in ('numpy.core', 'numpy._core'):  # NumPy 1 and 2 spell the same functions differently
    for _module, _function in ((multiarray, '_reconstruct'), (multiarray, 'scalar'), (numeric, '_frombuffer')):
        _ALLOWED[f'{_core}.{_module.__name__.rpartition(".")[2]}', _function] = getattr(_module, _function)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('_codecs', 'encode'):
            return _encode
        if (module, name) not in _ALLOWED:
            raise UserError(
                f"found the object '{module}.{name}', expected only lists, dictionaries, numbers, strings and NumPy "
                'arrays; the file may be hostile, do not open it with other tools; convert the data again'
            )
        return _ALLOWED[module, name]


def load_plain(file: IO[bytes]) -> Any:
    """Return what a pickle holds.

    Raises:
        UserError: If it names anything but plain data; damaged pickles raise nearly anything.
    """
    return _Unpickler(file).load()


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``codecs.encode``, with which NumPy arrays in old pickles restore their bytes."""
    if not isinstance(text, str) or encoding != 'latin1':
        raise UserError(f"found text in the encoding '{encoding}', expected 'latin1'; convert the data again")
    return text.encode('latin1')
