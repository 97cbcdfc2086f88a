"""NumPy files, read without trusting them: arrays of plain numbers and texts, never objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError, one_line


def load_array(path: str | Path, remedy: str, mmap_mode: Literal['r'] | None = None) -> NDArray:
    """Return the array of a ``.npy`` file; nothing in the file is executed.

    Args:
        path: A ``.npy`` file.
        remedy: What to do if it cannot be read.
        mmap_mode: ``'r'`` to map the file instead of reading it.

    Raises:
        FileNotFoundError: If there is no such file.
        UserError: If it is damaged, is no array, or holds Python objects.
    """
    try:
        array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged header can raise nearly anything
        raise UserError(f'{path}: not readable as a NumPy file of numbers ({one_line(error)}); {remedy}') from None
    if not isinstance(array, np.ndarray):
        raise UserError(f'{path}: found an archive of arrays, expected one array; {remedy}')
    return np.asarray(array)


def load_arrays(path: str | Path, names: Sequence[str], remedy: str) -> list[NDArray]:
    """Return arrays of an ``.npz`` archive; nothing in the file is executed.

    Args:
        path: The file.
        names: Their names.
        remedy: What to do if it cannot be read.

    Raises:
        FileNotFoundError: If there is no such file.
        UserError: If it is damaged, lacks an array, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [archive[name] for name in names]
    except FileNotFoundError:
        raise
    except Exception as error:  # as above
        raise UserError(f'{path}: not readable as an archive of arrays ({one_line(error)}); {remedy}') from None
