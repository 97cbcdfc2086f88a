import numpy as np
import pytest

from ssal3d.active.functional.k_medoids import central_members, k_centres, k_medoids, nearest_medoid


def distances_between(points):
    return np.sqrt(((points[:, None] - points) ** 2).sum(-1)).round(6).astype(np.float32)


def cloud(seed, count=60):
    rng = np.random.default_rng(seed)
    return distances_between(rng.integers(0, 9, (count, 2)).astype(float))  # integers: many ties and equal points


def total(distances, medoids):
    return distances[medoids].min(axis=0).sum(dtype=np.float64)


@pytest.mark.parametrize('seed', range(5))
def test_centres_are_each_the_farthest_from_those_before(seed):
    distances = cloud(seed)
    expected = [7]
    while len(expected) < 20:
        nearest = {k: min(distances[k, c] for c in expected) for k in range(60) if k not in expected}
        expected.append(max(nearest, key=lambda k: (nearest[k], -k)))
    assert k_centres(distances, 20, first=7).tolist() == expected


@pytest.mark.parametrize('seed', range(5))
def test_medoids_are_distinct_and_the_total_distance_never_grows(seed):
    distances = cloud(seed)
    start = k_centres(distances, 12, first=seed)
    totals = []
    for iterations in range(10):
        medoids = k_medoids(distances, start, iterations)
        assert len(set(medoids.tolist())) == 12
        totals.append(total(distances, medoids))
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < totals[0]
    assert (k_medoids(distances, medoids) == k_medoids(distances, start)).all()


@pytest.mark.parametrize('seed', range(5))
def test_a_round_of_brute_force(seed):
    distances = cloud(seed).astype(float)
    medoids = k_centres(distances, 8, first=0)
    clusters = [[] for _ in medoids]
    for point in range(60):
        here = np.flatnonzero(medoids == point)
        clusters[here[0] if len(here) else int(np.argmin([distances[point, m] for m in medoids]))].append(point)
    cost = [{p: sum(distances[p, q] for q in members) for p in members} for members in clusters]
    assert k_medoids(distances, medoids, 1).tolist() == [min(of, key=lambda p: (round(of[p], 6), p)) for of in cost]


def test_separate_groups_are_found():
    points = np.concatenate(
        [centre + np.random.default_rng(1).normal(0, 0.1, (9, 2)) for centre in ([0, 0], [9, 0], [0, 9])]
    )
    medoids = k_medoids(distances_between(points), np.array([0, 1, 2]) * 9)
    assert sorted((medoids // 9).tolist()) == [0, 1, 2]


def test_equal_points_and_empty_clusters_do_not_fail():
    zeros = np.zeros((5, 5), dtype=np.float32)
    start = k_centres(zeros, 5, first=2)
    assert start.tolist() == [2, 0, 1, 3, 4]
    assert k_medoids(zeros, start).tolist() == start.tolist()
    assert k_centres(zeros, 9, first=0).tolist() == [0, 1, 2, 3, 4]
    assert nearest_medoid(zeros, np.array([3, 1])).tolist() == [0, 1, 0, 0, 0]
    assert central_members(zeros, np.array([0, 0, 0, 0, 0]), np.array([3, 1])).tolist() == [0, 1]
    assert k_centres(np.zeros((0, 0)), 3, first=0).tolist() == []
