"""Frames whose boxes spread evenly over point densities: third stage of CRB (arXiv 2301.09249).

Per class, a kernel density estimate of the point densities of all selected boxes should resemble a uniform
distribution. The estimate of a set of frames is the sum of the frames' own kernel sums, so each frame is evaluated on
the grid once, and a greedy step only adds. Sums are kept as logarithms: far from all boxes a Gaussian underflows, and
the divergence would be infinite for every candidate.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.chunks import map_chunks

GRID_POINTS = 400
MARGIN = 50  # the grid reaches so far beyond [0, highest density], in points per m^3
LEAST_VOLUME = 1e-3  # m^3; boxes without a volume would be infinitely dense


class UniformPrior(NamedTuple):
    """A uniform distribution over a part of a grid.

    Attributes:
        grid: ``(G,)`` densities in points per m^3, ascending.
        support: The grid points with a probability above 0.
    """

    grid: NDArray[np.float64]
    support: slice

    @property
    def points(self) -> int:
        """Number of grid points of the support."""
        return self.support.stop - self.support.start


class _Kernels(NamedTuple):
    """Kernel sums of the n open candidates that hold a class, as logarithms.

    Attributes:
        rows: ``(n,)`` rows of the candidates, ascending.
        sums: ``(n, S)`` at the S grid points of the prior's support.
        totals: ``(n,)`` over the whole grid.
    """

    rows: NDArray[np.int64]
    sums: NDArray[np.float64]
    totals: NDArray[np.float64]


def point_densities(boxes: NDArray[np.floating], points: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the points per m^3 of boxes.

    Args:
        boxes: ``(K, 7)`` boxes; columns 3 to 5 are their sizes in m.
        points: ``(K,)`` LiDAR points in each.

    >>> point_densities(np.array([[0, 0, 0, 4, 2, 1.5, 0]]), np.array([60])).tolist()
    [5.0]
    """
    return points / np.maximum(np.prod(boxes[:, 3:6], axis=1, dtype=np.float64), LEAST_VOLUME)


def uniform_prior(densities: NDArray[np.floating], alpha: float = 0.95) -> UniformPrior:
    """Return the distribution that a class should have.

    It is uniform between the ``1 - alpha`` and the ``alpha`` quantile of all predictions. Where no grid point lies
    between them, as with a single box, the grid point next to their middle carries everything.

    Args:
        densities: ``(n,)`` densities of all predicted boxes of the class, n > 0.
        alpha: In [0.5, 1].
    """
    ordered = np.sort(densities)
    n = len(ordered)
    place = int(alpha * n)
    # both counted as by the released code: the low end from the last value, where place 0 is the first
    low, high = sorted((int(ordered[-place]), int(ordered[min(place, n - 1)])))
    grid = np.linspace(-MARGIN, int(ordered[-1]) + MARGIN, GRID_POINTS)
    start, stop = np.searchsorted(grid, low), np.searchsorted(grid, high, side='right')
    if start == stop:
        start = np.abs(grid - (low + high) / 2).argmin()
        stop = start + 1
    return UniformPrior(grid, slice(int(start), int(stop)))


class DensityBalance:
    """Greedy selection of frames; it remembers what was selected.

    Args:
        densities: ``(K,)`` points per m^3 of all predicted boxes of the pool.
        labels: ``(K,)`` their classes.
        offsets: ``(F + 1,)`` position of each frame's first box.
        bandwidth: Of the Gaussian kernel, in points per m^3.
        alpha: See `uniform_prior`.
    """

    def __init__(
        self,
        densities: NDArray[np.float64],
        labels: NDArray[np.integer],
        offsets: NDArray[np.int64],
        bandwidth: float = 5,
        alpha: float = 0.95,
    ) -> None:
        self._densities, self._labels, self._offsets = densities, labels, offsets
        self._bandwidth = bandwidth
        present = np.unique(labels).tolist()  # a class that nowhere is predicted says nothing
        self._priors = {label: uniform_prior(densities[labels == label], alpha) for label in present}
        self._sums = {label: np.full(prior.points, -np.inf) for label, prior in self._priors.items()}
        self._totals = dict.fromkeys(present, -np.inf)

    def greedy(self, frames: NDArray[np.integer], start: int | None = None) -> Iterator[tuple[int, float]]:
        """Yield candidates and their utilities, every time the one that makes the selection most balanced.

        The utility is the mean of 1 - d over the pool's classes, in [0, 1], where d = 2/pi atan(pi/2 KL) measures the
        divergence of the density estimate of the selection with the candidate from the uniform prior; classes that
        the candidate does not hold have d = 1. Cost per candidate O(n C G).

        Args:
            frames: ``(n,)`` candidates; the first of equal ones wins.
            start: Position in ``frames`` of the first pick; by default the best one.
        """
        kernels = {label: self._kernels(label, frames) for label in self._priors}
        is_open = np.ones(len(frames), dtype=bool)
        while is_open.any():
            balance = self._balance(kernels, len(frames))
            balance[~is_open] = -1
            pick = int(balance.argmax()) if start is None else start
            start = None
            is_open[pick] = False
            for label, held in kernels.items():
                kernels[label] = self._select(label, held, pick)
            yield int(frames[pick]), float(balance[pick])

    def _kernels(self, label: int, frames: NDArray[np.integer]) -> _Kernels:
        """Evaluate the boxes of one class on its grid, frame by frame."""
        grid, support = self._priors[label]

        def evaluate(first: int, last: int) -> _Kernels:
            own = [self._own(int(frame), label) for frame in frames[first:last]]
            counts = np.array([len(values) for values in own])
            rows = np.flatnonzero(counts)
            if not len(rows):
                return _Kernels(rows, np.zeros((0, support.stop - support.start)), np.zeros(0))
            starts = np.concatenate(([0], np.cumsum(counts[rows])[:-1]))
            exponents = -0.5 * ((np.concatenate(own)[:, None] - grid) / self._bandwidth) ** 2
            sums = _log_sums(exponents, starts)
            return _Kernels(rows + first, sums[:, support], np.logaddexp.reduce(sums, axis=1))

        parts = map_chunks(evaluate, len(frames))
        rows, sums, totals = (np.concatenate(values) for values in zip(*parts))
        return _Kernels(rows, sums, totals)

    def _own(self, frame: int, label: int) -> NDArray[np.float64]:
        boxes = slice(self._offsets[frame], self._offsets[frame + 1])
        return self._densities[boxes][self._labels[boxes] == label]

    def _balance(self, kernels: dict[int, _Kernels], rows: int) -> NDArray[np.float64]:
        """Return the ``(n,)`` utilities, rounded so that the order of the classes does not decide ties."""
        balance = np.zeros(rows)
        for label, held in kernels.items():
            means = _mean_log_sums(self._sums[label], held.sums)
            totals = np.logaddexp(self._totals[label], held.totals)
            divergence = np.maximum(totals - means - np.log(self._priors[label].points), 0)
            balance[held.rows] += 2 / np.pi * np.arctan2(1, np.pi / 2 * divergence)  # 1 - d, precise near 0
        return (balance / max(len(kernels), 1)).round(12)

    def _select(self, label: int, held: _Kernels, pick: int) -> _Kernels:
        """Add a candidate to the selection; return the others."""
        found = np.flatnonzero(held.rows == pick)
        if not len(found):
            return held
        self._sums[label] = np.logaddexp(self._sums[label], held.sums[found[0]])
        self._totals[label] = np.logaddexp(self._totals[label], held.totals[found[0]])
        others = held.rows != pick
        return _Kernels(held.rows[others], held.sums[others], held.totals[others])


def _mean_log_sums(log_sums: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of ``log(exp a + exp b)`` of ``(S,)`` and each of ``(n, S)`` finite logarithms, S <= 1,000.

    That is the mean of ``max(a, b)`` plus the logarithm of a product of S factors in [1, 2]: one for all points.
    """
    factors = np.abs(others - log_sums)
    np.exp(np.negative(factors, out=factors), out=factors)
    factors += 1
    highest = np.maximum(log_sums, others).mean(axis=1)
    return highest + np.log(np.multiply.reduce(factors, axis=1)) / len(log_sums)


def _log_sums(exponents: NDArray[np.float64], starts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return ``log sum exp`` of groups of consecutive rows; overwrites its input."""
    highest = np.maximum.reduceat(exponents, starts, axis=0)
    sizes = np.diff(np.append(starts, len(exponents)))
    exponents -= np.repeat(highest, sizes, axis=0)
    return highest + np.log(np.add.reduceat(np.exp(exponents, out=exponents), starts, axis=0))
