"""Objects as columns: what the tables of labels, detections and evaluations share."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Self


class Columns:
    """Base of frozen dataclasses whose fields are arrays with a row for each object; an index takes rows of all fields.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Scored(Columns):
    ...     boxes: NDArray
    ...     scores: NDArray
    >>> both = Scored(np.zeros((2, 7)), np.array([0.9, 0.2]))
    >>> len(both[both.scores > 0.5]), len(Scored.concatenated([both, both]))
    (1, 4)
    """

    def __len__(self) -> int:
        return len(self._columns()[0])

    def __getitem__(self, rows: slice | NDArray) -> 'Self':
        return type(self)(*(column[rows] for column in self._columns()))

    @classmethod
    def concatenated(cls, parts: 'Sequence[Self]') -> 'Self':
        """Return the rows of one or more tables, one table behind the other."""
        return cls(*map(np.concatenate, zip(*(part._columns() for part in parts), strict=True)))

    def _columns(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type] # of a dataclass
