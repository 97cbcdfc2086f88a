"""k-means++ seeding as an endless order: every pick is far from the picks before it, in proportion to D squared.

The draws are those of `sklearn.cluster.kmeans_plusplus` with the same `RandomState` (Arthur and Vassilvitskii 2007,
with its greedy local trials) on float64 rows; given float32, scikit-learn also adds up in float32 and now and then
draws something else. This version yields one pick at a time, goes on until the rows are exhausted, and computes
distances in float32 from cached norms, or once as a Gram matrix where rows are few.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.chunks import map_chunks

GRAM_ROWS = 4096  # at most 64 MB of products
GRAM_GAIN = 8  # products of many rows by many are about that much faster than of many by a handful, both by symmetry


def seeding_order(features: NDArray[np.floating], clusters: int, seed: int = 0) -> Iterator[int]:
    """Yield rows in the order of k-means++ seeding, each once; duplicates of picked rows come last.

    Cost per pick O(T N D) with T = 2 + ln ``clusters`` trials, or O(T N) after O(N^2 D) where that is cheaper.

    Args:
        features: ``(N, D)`` rows of finite values.
        clusters: Expected number of picks; decides the number of trials, as in scikit-learn.
        seed: Seed of the draws.
    """
    rows = len(features)
    if not rows:
        return
    trials = 2 + int(np.log(max(clusters, 1)))
    distances = squared_distances(np.asarray(features, dtype=np.float32), picks=trials * clusters)
    rng = np.random.RandomState(seed)
    weights = np.ones(rows)
    open_rows = np.ones(rows, dtype=bool)
    pick = int(rng.choice(rows, p=weights / weights.sum()))
    closest = distances(np.array([pick]))[0]
    while True:
        yield pick
        open_rows[pick] = False
        closest[pick] = 0
        potential = float(closest.sum())
        if potential <= 0:
            break
        drawn = np.searchsorted(np.cumsum(closest), rng.uniform(size=trials) * potential)
        drawn = np.minimum(drawn, rows - 1)
        shorter = np.minimum(closest, distances(drawn))
        best = int(shorter.sum(axis=1).argmin())
        pick, closest = int(drawn[best]), shorter[best]
        if not open_rows[pick]:  # a draw at the very end of the sum, where rounding decides
            pick = int(closest.argmax())
            closest = np.minimum(closest, distances(np.array([pick]))[0])
    yield from np.flatnonzero(open_rows).tolist()


def squared_distances(
    features: NDArray[np.float32], picks: int
) -> Callable[[NDArray[np.integer]], NDArray[np.float64]]:
    """Return a function that gives the ``(T, N)`` squared Euclidean distances of some rows to all rows.

    Args:
        features: ``(N, D)`` rows.
        picks: For about how many rows it will be called; with few rows and many calls all products are made at once.
    """
    rows = len(features)
    norms = np.concatenate(map_chunks(lambda a, b: _squared_norms(features[a:b]), rows))
    if rows <= min(GRAM_GAIN * picks, GRAM_ROWS):
        gram = _gram(features)

        def products(chosen: NDArray[np.integer]) -> NDArray[np.float32]:
            return gram[chosen]
    else:

        def products(chosen: NDArray[np.integer]) -> NDArray[np.float32]:
            targets = features[chosen].T
            return np.concatenate(map_chunks(lambda a, b: features[a:b] @ targets, rows)).T

    def distances(chosen: NDArray[np.integer]) -> NDArray[np.float64]:
        found = norms[chosen][:, None] + norms[None] - 2.0 * products(chosen)
        found[np.arange(len(chosen)), chosen] = 0
        return np.maximum(found, 0)

    return distances


def _gram(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the ``(N, N)`` inner products of all rows; one half is computed, the other copied."""
    gram = np.empty((len(features), len(features)), dtype=np.float32)

    def fill(start: int, stop: int) -> None:
        products = features[start:stop] @ features[start:].T
        gram[start:stop, start:] = products
        gram[stop:, start:stop] = products[:, stop - start :].T

    map_chunks(fill, len(features))
    return gram


def _squared_norms(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.einsum('nd,nd->n', rows, rows).astype(np.float64)
