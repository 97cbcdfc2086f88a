"""Clusters around their most central members, from a matrix of distances alone (PPAL's selection, arXiv 2211.11612)."""

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.floating]


def k_centres(distances: Distances, count: int, first: int) -> NDArray[np.int64]:
    """Choose points one after another, each the farthest from those chosen before; ties by position.

    Args:
        distances: ``(M, M)`` distances >= 0.
        count: How many to choose, at most M.
        first: The first choice.

    Returns:
        ``(count,)`` distinct positions in the order of choice. O(M count).

    >>> points = np.array([0.0, 1.0, 9.0, 10.0])
    >>> k_centres(np.abs(points[:, None] - points), 3, first=0).tolist()
    [0, 3, 1]
    """
    count = min(count, len(distances))
    chosen = np.zeros(count, dtype=np.int64)
    nearest = np.full(len(distances), np.inf)
    following = first
    for step in range(count):
        chosen[step] = following
        np.minimum(nearest, distances[following], out=nearest)
        nearest[following] = -1  # points without any distance to it may still be chosen
        following = int(nearest.argmax())
    return chosen


def k_medoids(distances: Distances, medoids: NDArray[np.int64], iterations: int = 100) -> NDArray[np.int64]:
    """Move each medoid to the most central member of its cluster until none moves.

    A medoid always stays in its own cluster, so that no cluster gets empty where several medoids are equally near.
    The sum of the distances to the nearest medoids never grows.

    Args:
        distances: ``(M, M)`` symmetric distances >= 0 with a zero diagonal.
        medoids: ``(K,)`` distinct positions to start from.
        iterations: Stop after so many rounds at the latest.

    Returns:
        ``(K,)`` distinct positions. A round costs O(M K) and the sum of the squared cluster sizes.

    >>> points = np.array([0.0, 1.0, 2.0, 8.0, 9.0, 10.0])
    >>> k_medoids(np.abs(points[:, None] - points), np.array([0, 1])).tolist()
    [1, 4]
    """
    for _ in range(iterations):
        moved = central_members(distances, nearest_medoid(distances, medoids), medoids)
        if (moved == medoids).all():
            break
        medoids = moved
    return medoids


def nearest_medoid(distances: Distances, medoids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of M points which of the ``(K,)`` medoids is nearest, the first of equally near ones."""
    cluster = distances[medoids].argmin(axis=0)
    cluster[medoids] = np.arange(len(medoids))
    return cluster


def central_members(distances: Distances, cluster: NDArray[np.int64], medoids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the member of each cluster with the least total distance to the others, the first of equal ones.

    Args:
        distances: ``(M, M)`` distances.
        cluster: ``(M,)`` cluster of each point.
        medoids: ``(K,)`` positions to keep for clusters without members.
    """
    moved = medoids.copy()
    by_cluster = np.argsort(cluster, kind='stable')
    ends = np.cumsum(np.bincount(cluster, minlength=len(medoids)))
    for number, members in enumerate(np.split(by_cluster, ends[:-1])):
        if len(members):
            totals = distances[members[:, None], members].sum(axis=0, dtype=np.float64)
            moved[number] = members[totals.argmin()]
    return moved
