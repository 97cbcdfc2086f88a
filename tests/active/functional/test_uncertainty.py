import math

import numpy as np
import pytest

from ssal3d.active.functional.uncertainty import binary_entropy, frame_mean, softmax_entropy


@pytest.mark.parametrize(('p', 'bits'), [(0.5, 1), (0.6, 0.97095), (0.7, 0.88129), (0.8, 0.72193), (0.9, 0.469)])
def test_binary_entropy_of_the_specification(p, bits):
    assert binary_entropy(p) == pytest.approx(bits, abs=5e-6)
    assert binary_entropy(1 - p) == pytest.approx(bits, abs=5e-6)


def test_certain_scores_are_finite_and_least_uncertain():
    values = binary_entropy(np.array([0, 1, 1 - 1e-5, 1e-5], dtype=np.float32))
    assert np.isfinite(values).all()
    assert values[0] == pytest.approx(values[1])
    assert values[0] == pytest.approx(-1e-6 * math.log2(1e-6), rel=0.1)
    assert (values[2:] > values[:2].max()).all()


def test_softmax_entropy_of_the_specification():
    assert softmax_entropy([[0, 0, 0]])[0] == pytest.approx(math.log(3))
    assert softmax_entropy([[2, 0, 0]])[0] == pytest.approx(0.6656, abs=5e-5)
    logits = np.random.default_rng(0).normal(0, 3, (20, 4))
    np.testing.assert_allclose(softmax_entropy(logits + 700), softmax_entropy(logits), atol=1e-9)
    assert softmax_entropy([[1000, -1000]])[0] == 0
    assert softmax_entropy(np.zeros((0, 3))).shape == (0,)


def test_frame_mean_ranks_empty_frames_last():
    offsets = np.array([0, 0, 2, 2, 3, 3])
    assert frame_mean(np.array([0.25, 0.75, 1.0]), offsets).tolist() == [-np.inf, 0.5, -np.inf, 1.0, -np.inf]
    assert frame_mean(np.zeros(0), np.array([0, 0])).tolist() == [-np.inf]
    assert frame_mean(np.zeros(0), np.array([0])).tolist() == []


def test_frame_mean_does_not_depend_on_the_order_of_the_boxes():
    values = np.random.default_rng(1).random(999)
    means = [frame_mean(part, np.array([0, 999]))[0] for part in (values, values[::-1], np.sort(values))]
    assert means[0] == means[1] == means[2]
