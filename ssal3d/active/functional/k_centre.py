"""Greedy k-centre: every pick is the row that is farthest from its nearest centre (Sener and Savarese 2018).

Distances to centres only ever shrink, so an old one still bounds the new one from above. Whatever is farthest by such
bounds, a handful of rows, is brought up to date until the farthest row is; the others need not be looked at. A pass in
float32 over all rows gives the first bounds; all decisions are made in float64.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.chunks import map_chunks

SLACK = 1e-4  # of the squared norms: more than float32 products of 100,000 dimensions are wrong
NOISE = 1e-13  # of the squared norms: below it a squared distance in float64 is rounding, the rows are copies
BATCH_VALUES = 2**19  # values of rows that are brought up to date together, 4 MB in float64


def k_centre_order(
    rows: NDArray[np.floating], known: NDArray[np.floating], init: str = 'min'
) -> Iterator[tuple[int, float]]:
    """Yield all rows, always the farthest from its nearest centre next, ties by position; picks become centres.

    Costs one pass over the rows, O(N L D), then at most O(N D) per pick, in practice that of a few dozen rows. Memory
    beyond ``rows``: float64 copies of the centres.

    Args:
        rows: ``(N, D)`` finite float16 or float32 values.
        known: ``(L, D)`` centres to begin with. Without any, the first pick is the row nearest to the mean row.
        init: ``'min'``: distance to the nearest of ``known``; ``'mean'``: root of the mean squared distance to them,
            until a pick is nearer.

    Yields:
        Position of the row, and its distance.

    >>> pool, labelled = np.array([[5.0], [11.0], [9.0]]), np.array([[0.0], [10.0]])
    >>> next(k_centre_order(pool, labelled)), next(k_centre_order(pool, labelled, 'mean'))[0]
    ((0, 5.0), 1)
    """
    if not len(rows):
        return
    search = _Farthest(rows)
    if not len(known):
        first, distance = nearest_to_mean(rows)
        yield first, distance
        search.begin(*_exact(rows[first : first + 1]))
        search.close(first)
    elif init == 'mean':
        search.begin(*_as_one(known, mean_of_squares=True))
    else:
        search.begin(*_exact(known))
    while search.left:
        row, distance = search.pick()
        yield row, distance
        search.close(row)
        search.add(row)


def nearest_to_mean(rows: NDArray[np.floating]) -> tuple[int, float]:
    """Return the position of the row nearest to the mean row, the first of equals, and its distance.

    Args:
        rows: ``(N, D)`` finite values, N > 0.

    >>> nearest_to_mean(np.array([[0.0], [4.0], [5.0]]))
    (1, 1.0)
    """
    vector, square = _as_one(rows, mean_of_squares=False)

    def squared(start: int, stop: int) -> NDArray[np.float64]:
        exact, norms = _exact(rows[start:stop])
        return norms + square - 2 * (exact @ vector[0])

    # rounded like the distances of `nearest`, so that the last bits of a sum do not decide ties
    distances = np.maximum(np.concatenate(map_chunks(squared, len(rows))), 0).astype(np.float32)
    row = int(distances.argmin())
    return row, float(np.sqrt(np.float64(distances[row])))


class _Farthest:
    """Which open row is farthest from its nearest centre.

    A centre is a vector c and a number q such that the squared distance of x is ``|x|^2 - 2 x c + q``.

    Attributes:
        left: Open rows.
    """

    def __init__(self, rows: NDArray[np.floating]) -> None:
        self.left = len(rows)
        self._rows = rows
        self._bounds = np.full(len(rows), np.inf, dtype=np.float32)
        self._seen = np.zeros(len(rows), dtype=np.int64)  # centres that the bound takes into account; 0: none exactly
        self._count = 0
        self._vectors = np.empty((0, rows.shape[1]))
        self._squares = np.empty(0)

    def begin(self, vectors: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
        """Set the first centres and bound the distances of all rows."""
        self._vectors, self._squares, self._count = vectors, squares, len(vectors)
        self._bounds[:] = upper_bounds(self._rows, vectors, squares)

    def add(self, row: int) -> None:
        """Make a row a centre."""
        if self._count == len(self._vectors):
            self._vectors = _grown(self._vectors)
            self._squares = _grown(self._squares)
        vectors, squares = _exact(self._rows[row : row + 1])
        self._vectors[self._count], self._squares[self._count] = vectors[0], squares[0]
        self._count += 1

    def close(self, row: int) -> None:
        """Take a row out of the search."""
        self._bounds[row] = -1
        self.left -= 1

    def pick(self) -> tuple[int, float]:
        """Return the farthest row and its distance."""
        bounds, size = self._bounds, 8
        most = max(8, BATCH_VALUES // max(self._rows.shape[1], 1))
        while True:
            top = int(bounds.argmax())  # the first of equals
            if self._seen[top] == self._count:
                return top, float(np.sqrt(np.float64(bounds[top])))
            size = min(2 * size, most, len(bounds))
            highest = np.argpartition(bounds, -size)[-size:]
            highest = np.union1d(highest[(self._seen[highest] < self._count) & (bounds[highest] >= 0)], top)
            unknown = self._seen[highest] == 0
            for part in (highest[unknown], highest[~unknown]):  # the former need all centres, the latter the last few
                if len(part):
                    self._update(part)

    def _update(self, part: NDArray[np.int64]) -> None:
        first = int(self._seen[part].min())
        found = nearest(self._rows[part], self._vectors[first : self._count], self._squares[first : self._count])
        self._bounds[part] = np.minimum(self._bounds[part], found) if first else found
        self._seen[part] = self._count


def nearest(
    rows: NDArray[np.floating], vectors: NDArray[np.float64], squares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the ``(T,)`` squared distances of rows to their nearest centre, exactly 0 for copies of it.

    Rounded to float32, so that the last bits of a sum do not decide ties.
    """
    exact, norms = _exact(rows)
    sizes = norms[:, None] + squares
    distances = sizes - 2 * (exact @ vectors.T)
    return np.where(distances <= NOISE * sizes, 0, distances).min(axis=1).astype(np.float32)


def upper_bounds(
    rows: NDArray[np.floating], vectors: NDArray[np.float64], squares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return ``(N,)`` numbers, each at least the squared distance to the nearest centre and not much more."""
    targets = vectors.astype(np.float32).T

    def bound(start: int, stop: int) -> NDArray[np.float32]:
        part = rows[start:stop].astype(np.float32)
        products = part @ targets
        np.square(part, out=part)
        sizes = part.sum(axis=1)[:, None] + squares  # summed pairwise, which is exact enough
        return (np.maximum(sizes - 2 * products, 0) + SLACK * sizes).min(axis=1).astype(np.float32)

    return np.concatenate(map_chunks(bound, len(rows)))


def _exact(rows: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rows as centres: in float64, and their squared norms."""
    exact = rows.astype(np.float64)
    return exact, np.einsum('nd,nd->n', exact, exact)


def _as_one(rows: NDArray[np.floating], mean_of_squares: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean row as a centre, or what gives the mean squared distance to all rows."""

    def sums(start: int, stop: int) -> tuple[NDArray[np.float64], float]:
        part = rows[start:stop].astype(np.float32)
        return part.sum(axis=0, dtype=np.float64), float(_exact(part)[1].sum()) if mean_of_squares else 0.0

    parts = map_chunks(sums, len(rows))
    mean = np.sum([total for total, _ in parts], axis=0) / len(rows)
    square = sum(total for _, total in parts) / len(rows) if mean_of_squares else float(mean @ mean)
    return mean[None], np.array([square])


def _grown(values: NDArray[np.float64]) -> NDArray[np.float64]:
    larger = np.empty((2 * len(values) + 32, *values.shape[1:]))
    larger[: len(values)] = values
    return larger
