from itertools import pairwise

import numpy as np
import pytest

from ssal3d.active.functional import category_similarity
from ssal3d.active.functional.category_similarity import category_distances, directed, strongest
from ssal3d.errors import UserError
from ssal3d.predictions.synthetic import synthetic_pool


def unit(feature):
    length = np.sqrt((feature.astype(float) ** 2).sum())
    return feature / length if length else feature


def one_way(own, others, threshold):
    """The definition, box by box; a box is (score, class, feature)."""
    others = [box for box in others if box[0] > threshold]
    if not others:
        return 0.0
    weighted = weights = 0.0
    for score, label, feature in own:
        if score > threshold:
            alike = [1 - unit(feature) @ unit(other) for _, other_label, other in others if other_label == label]
            weighted += score * min(alike, default=2.0)
            weights += score
    return weighted / (weights + 1e-5)


def brute_force(features, scores, labels, offsets, threshold, count):
    frames = []
    for start, stop in pairwise(offsets):
        order = sorted(range(start, stop), key=lambda k: (-scores[k], k))[:count]
        frames.append([(float(scores[k]), labels[k], features[k].astype(float)) for k in order])
    return np.array(
        [[0 if a is b else (one_way(a, b, threshold) + one_way(b, a, threshold)) / 2 for b in frames] for a in frames]
    )


def arguments(pool):
    return pool['box_features'], pool.scores, pool.labels, pool.offsets


def test_example_of_the_specification():
    features, scores, labels = np.array([[1.0, 0], [0, 1], [1, 0]]), np.array([0.8, 0.4, 0.9]), np.array([0, 1, 0])
    there_and_back = directed(features.astype(np.float32), scores.astype(np.float32), labels, np.array([0, 0, 1]), 2)
    assert there_and_back[0, 1] == pytest.approx(2 / 3, abs=1e-5)
    assert there_and_back[1, 0] == 0
    distances = category_distances(features, scores, labels, np.array([0, 2, 3]))
    assert distances[0, 1] == pytest.approx(1 / 3, abs=1e-5)


@pytest.mark.parametrize('block', [1, 40, 10**6])
@pytest.mark.parametrize(('threshold', 'count'), [(0.1, 100), (0.6, 3), (0.0, 1)])
def test_brute_force(monkeypatch, block, threshold, count):
    monkeypatch.setattr(category_similarity, 'BLOCK', block)
    pool = synthetic_pool(30, seed=3, fields=('box_features',), boxes_per_frame=4)
    pool['box_features'][::9] = 0
    found = category_distances(*arguments(pool), threshold, count)
    np.testing.assert_allclose(found, brute_force(*arguments(pool), threshold, count), atol=2e-6)


def test_it_is_a_symmetric_distance_between_0_and_2():
    pool = synthetic_pool(40, seed=4, fields=('box_features',), boxes_per_frame=6)
    features, *rest = arguments(pool)
    signed = features.astype(np.float32) - features.mean(dtype=np.float32)  # cosines of both signs
    distances = category_distances(signed, *rest)
    assert (distances == distances.T).all()
    assert (distances.diagonal() == 0).all()
    assert distances.min() == 0
    assert 1 < distances.max() <= 2


def test_equal_frames_are_equal_wherever_they_stand():
    """The released code also gives distance 0 to unlike boxes of the same rank; only equal boxes should get it."""
    one = synthetic_pool(1, seed=5, fields=('box_features',), width=256)
    frames, boxes = 150, len(one.scores)
    features = np.tile(one['box_features'], (frames, 1))
    offsets = np.arange(frames + 1) * boxes
    assert not category_distances(features, np.tile(one.scores, frames), np.tile(one.labels, frames), offsets).any()
    orthogonal = category_distances(np.eye(2), np.array([0.5, 0.5]), np.array([0, 0]), np.array([0, 1, 2]))
    assert orthogonal[0, 1] == pytest.approx(1, abs=1e-4)


def test_nothing_in_common_and_nothing_at_all():
    features, labels = np.ones((3, 2)), np.array([0, 1, 1])
    distances = category_distances(features, np.array([0.5, 0.5, 0.1]), labels, np.array([0, 1, 1, 2, 3]))
    assert distances[0, 2] == pytest.approx(2, abs=1e-4)
    assert not distances[[1, 3]].any()  # no box, and none above the threshold
    assert category_distances(features[:0], np.zeros(0), labels[:0], np.array([0])).shape == (0, 0)
    assert category_distances(features[:0], np.zeros(0), labels[:0], np.array([0, 0])).tolist() == [[0]]


def test_strongest_boxes_of_each_frame():
    scores, offsets = np.array([0.2, 0.9, 0.9, 0.5, 0.1, 0.3]), np.array([0, 4, 4, 6])
    assert strongest(scores, offsets, 2).tolist() == [1, 2, 4, 5]
    assert strongest(scores, offsets, 1).tolist() == [1, 5]
    assert strongest(scores, offsets, 4).tolist() == list(range(6))


def test_broken_features_are_named():
    with pytest.raises(UserError, match='frame 000007: box_features hold NaN'):
        category_distances(
            np.array([[1.0], [np.inf]]), np.ones(2), np.zeros(2, int), np.array([0, 1, 2]), frame_ids=['3', '000007']
        )
