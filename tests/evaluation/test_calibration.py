"""D-ECE and reliability diagrams: the worked example, netcal's values, and the rules one by one."""

import numpy as np
import pytest

from ssal3d.evaluation.calibration import FIG7_EDGES, bin_numbers, d_ece, detections_that_count, reliability, scaled

# The worked example: three confident detections, three doubtful ones and a weak one.
SCORES = np.array([0.95, 0.92, 0.85, 0.35, 0.33, 0.31, 0.15])
MATCHED = np.array([1, 1, 0, 1, 0, 0, 0], dtype=bool)

# D-ECE of `detections(seed)` by netcal 1.4.0, the implementation of D-ECE's authors, recorded with
#   pip install netcal==1.4.0 pytest
#   python -c "
#   from netcal.metrics import ECE
#   from test_calibration import BINNINGS, detections
#   for seed in (0, 1):
#       features, matched = detections(seed)
#       for width, bins, least in BINNINGS:
#           ece = ECE(bins, detection=True, sample_threshold=least)
#           print((seed, width, bins, least), float(ece.measure(features[:, :width], matched)))"
# in the folder tests/evaluation, with PYTHONPATH naming the repository.
BINNINGS = ((1, 20, 1), (1, 20, 8), (1, 10, 1), (3, 8, 8), (3, 8, 1), (5, 5, 8), (5, 5, 1))
NETCAL = {
    (0, 1, 20, 1): 0.123926567940425,
    (0, 1, 20, 8): 0.123926567940425,
    (0, 1, 10, 1): 0.11952098185665858,
    (0, 3, 8, 8): 0.15444026313507353,
    (0, 3, 8, 1): 0.15444026313507353,
    (0, 5, 5, 8): 0.130189195430503,
    (0, 5, 5, 1): 0.19402518626579185,
    (1, 1, 20, 1): 0.11727325655819934,
    (1, 1, 20, 8): 0.11727325655819934,
    (1, 1, 10, 1): 0.11668562643084401,
    (1, 3, 8, 8): 0.15477877852517277,
    (1, 3, 8, 1): 0.15477877852517277,
    (1, 5, 5, 8): 0.13216381430033552,
    (1, 5, 5, 1): 0.19516615893183734,
}


def detections(seed, count=20_000):
    """Confident detections are overconfident, doubtful ones underconfident; position and size matter as well."""
    random = np.random.default_rng(seed)
    features = np.column_stack((random.beta(1, 1.3, count), random.random((count, 2)), random.beta(2, 3, (count, 2))))
    right = 0.25 + 0.5 * features[:, 0] + 0.4 * (features[:, 1] - 0.5) + 0.3 * (features[:, 3] - 0.5)
    return features, random.random(count) < right


@pytest.mark.parametrize(
    ('bins', 'min_samples', 'expected'), [(10, 1, 1.14 / 7), (20, 1, 2.42 / 7), (10, 8, 0), (20, 8, 0)]
)
@pytest.mark.parametrize('kind', [np.float64, np.float32])
def test_the_worked_example(bins, min_samples, expected, kind):
    assert d_ece(MATCHED, SCORES[:, None].astype(kind), bins, min_samples) == pytest.approx(expected, abs=1e-7)


def test_perfectly_calibrated_scores_have_no_error():
    half = np.full((20, 1), 0.5)
    assert d_ece(np.arange(20) < 10, half, 20) == 0
    assert d_ece(np.ones(20, bool), np.ones((20, 1)), 20) == 0


def test_certain_and_wrong_is_an_error_of_one():
    assert d_ece(np.zeros(20, bool), np.ones((20, 1)), 20) == 1
    assert d_ece(np.ones(20, bool), np.zeros((20, 1)), 20) == 1


@pytest.mark.parametrize('width', [1, 3, 5])
def test_the_order_of_detections_does_not_matter(width):
    features, matched = detections(3)
    order = np.random.default_rng(0).permutation(len(matched))
    a, b = d_ece(matched, features[:, :width], 6, 2), d_ece(matched[order], features[order, :width], 6, 2)
    assert a == pytest.approx(b, abs=1e-12)


def test_an_edge_belongs_to_the_bin_above_and_one_to_the_last():
    edges = np.linspace(0, 1, 21).tolist()
    assert bin_numbers(np.array(edges), edges).tolist() == [*range(20), 19]
    assert bin_numbers(np.array(edges, dtype=np.float32), edges).tolist() == [*range(20), 19]
    assert bin_numbers(np.array([0.2999, 0.3, 0.4999, 0.5, 0.7999, 0.8]), FIG7_EDGES).tolist() == [0, 1, 1, 2, 2, 3]


def test_bins_with_few_detections_add_nothing_but_count():
    features = np.concatenate((np.full(30, 0.55), np.full(5, 0.95)))[:, None]
    matched = np.arange(35) < 15
    assert d_ece(matched, features, 10, 8) == pytest.approx(30 / 35 * 0.05)


def test_nothing_is_measured_where_no_bin_has_enough_detections():
    features = np.linspace(0.05, 0.95, 10)[:, None]
    assert d_ece(np.ones(10, bool), features, 10, min_samples=8) == 0  # as published
    assert detections_that_count(features, 10, 8) == detections_that_count(features[:0], 10, 1) == 0
    assert detections_that_count(features, 1, 8) == detections_that_count(features, 10, 1) == 10


def test_position_separates_what_confidence_alone_averages_out():
    # Right on the left and wrong on the right, with a confidence of one half everywhere.
    left = np.arange(40) < 20
    features = np.column_stack((np.full(40, 0.5), np.where(left, 0.2, 0.9)))
    assert d_ece(left, features[:, :1], 8) == 0
    assert d_ece(left, features, 8) == 0.5


@pytest.mark.parametrize(
    ('seed', 'width', 'bins', 'least'), [(seed, *binning) for seed in (0, 1) for binning in BINNINGS]
)
def test_netcal_agrees(seed, width, bins, least):
    features, matched = detections(seed)
    ours = d_ece(matched, features[:, :width], bins, least)
    assert ours == pytest.approx(NETCAL[seed, width, bins, least], abs=1e-12)
    assert ours > 0.01


def test_netcal_agrees_here_if_it_is_installed():
    metrics = pytest.importorskip('netcal.metrics')
    for seed in range(5):
        features, matched = detections(seed, 500)
        for width, bins, least in BINNINGS:
            theirs = metrics.ECE(bins, detection=True, sample_threshold=least).measure(features[:, :width], matched)
            assert d_ece(matched, features[:, :width], bins, least) == pytest.approx(float(theirs), abs=1e-12)


def test_the_ranges_of_fig_7():
    ranges = reliability(SCORES, MATCHED, FIG7_EDGES)
    assert [entry['count'] for entry in ranges] == [1, 3, 0, 3]
    assert [entry['precision'] for entry in ranges] == [0, pytest.approx(1 / 3), None, pytest.approx(2 / 3)]
    assert [(entry['low'], entry['high']) for entry in ranges] == [(0, 0.3), (0.3, 0.5), (0.5, 0.8), (0.8, 1)]


def test_a_reliability_diagram_holds_every_detection_and_its_error_is_d_ece():
    features, matched = detections(2)
    diagram = reliability(features[:, 0], matched, np.linspace(0, 1, 21).tolist())
    filled = [entry for entry in diagram if entry['count']]
    assert sum(entry['count'] for entry in diagram) == len(matched)
    error = sum(entry['count'] * abs(entry['precision'] - entry['confidence']) for entry in filled) / len(matched)
    assert error == pytest.approx(d_ece(matched, features[:, :1], 20, 1), abs=1e-12)


def test_nothing_predicted_has_no_error_to_speak_of():
    assert np.isnan(d_ece(np.zeros(0, bool), np.zeros((0, 3)), 8))
    assert {entry['count'] for entry in reliability(np.zeros(0), np.zeros(0, bool), FIG7_EDGES)} == {0}


def test_scaling_is_to_zero_and_one_with_clipping():
    assert scaled(np.array([-5.0, 0, 5, 10, 20]), 0, 10).tolist() == [0, 0, 0.5, 1, 1]
    assert scaled(np.array([3.0]), 3, 3).tolist() == [0]


def test_bins_with_fewer_than_eight_detections_add_no_error_by_default():
    for count, expected in ((7, 0.0), (8, 0.5)):
        wrong = np.zeros(count, dtype=bool)
        assert d_ece(wrong, np.full((count, 1), 0.5), bins=10) == expected
