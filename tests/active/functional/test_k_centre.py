"""Greedy k-centre equals the plain algorithm, which looks at every distance."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from ssal3d.active.functional import chunks, k_centre
from ssal3d.active.functional.k_centre import k_centre_order


def plain_greedy(rows, known, init='min'):
    """Yield picks and distances from differences in float64."""
    rows, known = rows.astype(np.float64), known.astype(np.float64)

    def squares(centre):
        return ((rows - centre) ** 2).sum(axis=1)

    if not len(known):
        start = squares(rows.mean(axis=0))
        first = int(start.argmin())
        yield first, np.sqrt(start[first])
        closest, done = squares(rows[first]), {first}
    else:
        all_known = np.stack([squares(centre) for centre in known])
        closest, done = all_known.min(axis=0) if init == 'min' else all_known.mean(axis=0), set()
    while len(done) < len(rows):
        open_rows = [row for row in range(len(rows)) if row not in done]
        pick = max(open_rows, key=lambda row: closest[row])  # the first of equals
        yield pick, np.sqrt(closest[pick])
        closest = np.minimum(closest, squares(rows[pick]))
        done.add(pick)


def make(kind, count=300):
    rng = np.random.default_rng(0)
    if kind == 'wide':
        return np.abs(rng.normal(size=(count, 700))).astype(np.float16)
    if kind == 'clusters far from the origin':
        centres = rng.normal(size=(6, 20))
        return (1000 + centres[rng.integers(6, size=count)] + 0.05 * rng.normal(size=(count, 20))).astype(np.float32)
    if kind == 'grid of equal distances and copies':
        return rng.integers(0, 4, size=(count, 3)).astype(np.float16)
    rows = rng.normal(size=(count, 5)).astype(np.float32)
    rows[::50] *= 1000
    return rows


KINDS = ['wide', 'clusters far from the origin', 'grid of equal distances and copies', 'outliers']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('known', [0, 1, 7])
@pytest.mark.parametrize('init', ['min', 'mean'])
def test_same_picks_as_the_plain_algorithm(kind, known, init, monkeypatch):
    monkeypatch.setattr(k_centre, 'BATCH_VALUES', 5000)
    rows = make(kind)
    centres, pool = rows[:known], rows[known:]
    found, expected = list(k_centre_order(pool, centres, init)), list(plain_greedy(pool, centres, init))
    assert [row for row, _ in found] == [row for row, _ in expected]
    scale = np.abs(rows.astype(float)).max()
    assert [distance for _, distance in found] == pytest.approx(
        [distance for _, distance in expected], abs=1e-6 * scale
    )


@pytest.mark.parametrize('kind', KINDS)
def test_covering_radius_never_grows(kind):
    rows = make(kind)
    radii = [distance for _, distance in k_centre_order(rows[3:], rows[:3])]
    assert radii == sorted(radii, reverse=True)


def test_copies_come_last_at_distance_zero_in_order_of_position():
    rng = np.random.default_rng(0)
    different = rng.normal(size=(20, 900)).astype(np.float32) / 3
    rows = np.concatenate((different[:15], different[::-1]))
    order = list(k_centre_order(rows, different[:2]))
    assert {row for row, distance in order if distance > 0} == set(range(2, 20))
    assert [row for row, _ in order[18:]] == sorted({0, 1, *range(20, 35)})
    assert {distance for _, distance in order[18:]} == {0}


def test_number_of_threads_does_not_matter(monkeypatch):
    rows = make('wide', 600)
    with threadpool_limits(1):
        many = list(k_centre_order(rows[50:], rows[:50]))
        monkeypatch.setattr(chunks.os, 'sched_getaffinity', lambda process: {0})
        assert list(k_centre_order(rows[50:], rows[:50])) == many


@pytest.mark.parametrize('count', [0, 1])
def test_few_rows(count):
    rows = np.ones((count, 2), dtype=np.float16)
    for known in (rows[:0], np.zeros((2, 2), np.float16)):
        assert [row for row, _ in k_centre_order(rows, known)] == list(range(count))
