"""k-means++ seeding draws what scikit-learn draws, lazily and to the end."""

from itertools import islice

import numpy as np
import pytest
from sklearn.cluster import kmeans_plusplus

from ssal3d.active.functional import seeding
from ssal3d.active.functional.seeding import seeding_order


@pytest.mark.parametrize('rows', [12, 200, 900])
@pytest.mark.parametrize('clusters', [5, 12])
@pytest.mark.parametrize('seed', [0, 3])
def test_same_draws_as_scikit_learn(rows, clusters, seed):
    features = np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)
    expected = kmeans_plusplus(features, clusters, random_state=seed)[1].tolist()
    assert list(islice(seeding_order(features, clusters, seed), clusters)) == expected


@pytest.mark.parametrize('gain', [0, 8])
def test_products_of_all_rows_at_once_give_the_same_order(gain, monkeypatch):
    monkeypatch.setattr(seeding, 'GRAM_GAIN', gain)
    features = np.random.default_rng(0).normal(size=(600, 300)).astype(np.float32)
    expected = kmeans_plusplus(features, 60, random_state=0)[1].tolist()
    assert list(islice(seeding_order(features, 60), 60)) == expected


def test_every_row_comes_once_and_copies_come_last():
    features = np.repeat(np.eye(4, dtype=np.float32), 3, axis=0)
    order = list(seeding_order(features, clusters=2))
    assert sorted(order) == list(range(12))
    assert sorted(row // 3 for row in order[:4]) == [0, 1, 2, 3]


def test_no_rows_no_order():
    assert list(seeding_order(np.zeros((0, 4), dtype=np.float32), clusters=3)) == []
