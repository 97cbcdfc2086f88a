"""Temperature scaling and isotonic regression of scores, fitted on labelled frames."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import AnnotatedBoxes
from ssal3d.evaluation.calibration import d_ece
from ssal3d.evaluation.score_calibration import METHODS, Curve, ScoreCalibration, fit_calibration, fit_on_frames
from ssal3d.predictions import PoolPredictions

CLASSES = ('Car', 'Cyclist')


def overconfident(seed, count=4000, temperature=2.5):
    """Scores whose logits are so many times as large as they should be."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 1.2, count)
    right = random.random(count) < 1 / (1 + np.exp(-logit))
    return 1 / (1 + np.exp(-temperature * logit)), right


def both(seed, **options):
    scores, right = overconfident(seed, **options)
    return scores, np.zeros(len(scores), dtype=int), right


def test_the_temperature_is_found_and_is_that_of_least_likelihood_loss():
    scores, labels, right = both(0)
    curve = fit_calibration('temperature', scores, labels, right, CLASSES).curves['Car']
    logit = np.log(scores / (1 - scores))

    def loss(temperature):
        probability = 1 / (1 + np.exp(-logit / temperature))
        return -np.log(np.where(right, probability, 1 - probability)).mean()

    assert curve.temperature == pytest.approx(minimize_scalar(loss, bounds=(0.1, 20), method='bounded').x, rel=1e-3)
    assert curve.temperature == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize('method', METHODS)
def test_calibration_helps_on_detections_it_has_not_seen(method):
    calibration = fit_calibration(method, *both(1), CLASSES)
    scores, labels, right = both(2)
    before = d_ece(right, scores[:, None], 20)
    after = d_ece(right, calibration(scores, labels, CLASSES)[:, None], 20)
    assert before > 0.1
    assert after < 0.03


@pytest.mark.parametrize('method', METHODS)
def test_the_order_of_scores_is_kept_and_they_stay_in_range(method):
    scores, labels, right = both(3)
    calibrated = fit_calibration(method, scores, labels, right, CLASSES)(scores, labels, CLASSES)
    assert (np.diff(calibrated[np.argsort(scores)]) >= -1e-12).all()
    assert calibrated.min() >= 0
    assert calibrated.max() <= 1
    edges = fit_calibration(method, scores, labels, right, CLASSES).curves['Car'](np.array([0.0, 1.0]))
    assert np.isfinite(edges).all()


def test_isotonic_regression_by_hand():
    # Pooling adjacent violators: 0.2 and 0.4 are pooled to one half, between the points it is linear.
    scores, right = np.array([0.1, 0.2, 0.4, 0.8]), np.array([False, True, False, True])
    calibration = fit_calibration('isotonic', scores, np.zeros(4, int), right, ['Car'], fewest=4)
    assert calibration.curves['Car'](np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9])).tolist() == [
        0, 0, 0.5, 0.5, 0.5, 0.75, 1,
    ]  # fmt: skip


def test_a_rare_class_takes_the_curve_of_all_and_says_so():
    scores, labels, right = both(4)
    labels[:10] = 1
    calibration = fit_calibration('temperature', scores, labels, right, CLASSES)
    everything = fit_calibration('temperature', scores, np.zeros(len(scores), int), right, ['all']).curves['all']
    assert calibration.curves['Cyclist'] == everything
    assert calibration.curves['Car'] != everything
    assert calibration.facts['Cyclist'] == {'detections': 10, 'right': int(right[:10].sum()), 'alone': False}
    assert len(calibration.warnings) == 1
    assert calibration.warnings[0].startswith('score calibration: Cyclist has 10 detections')
    assert 'takes the curve of all classes' in calibration.warnings[0]


def test_with_next_to_nothing_scores_stay_as_they_are():
    scores, labels = np.array([0.3, 0.9]), np.array([0, 1])
    for right in ([True, True], [True, False]):
        calibration = fit_calibration('isotonic', scores, labels, np.array(right), CLASSES)
        assert calibration(scores, labels, CLASSES).tolist() == scores.tolist()
        assert all('keeps its scores' in line for line in calibration.warnings)
        assert len(calibration.warnings) == 2


def test_scores_that_mislead_are_not_turned_round():
    scores, labels, right = both(5)
    calibration = fit_calibration('temperature', 1 - scores, labels, right, CLASSES)
    assert calibration(scores, labels, CLASSES).tolist() == scores.tolist()


def test_files_hold_everything(tmp_path):
    scores, labels, right = both(6)
    labels[2000:] = 1
    for method in METHODS:
        calibration = fit_calibration(method, scores, labels, right, CLASSES)
        calibration.write(tmp_path / 'calibration.json')
        again = ScoreCalibration.read(tmp_path / 'calibration.json')
        assert again == calibration
        other = ('Vehicle', 'Cyclist')  # Car and Vehicle are one class
        np.testing.assert_array_equal(again(scores, labels, other), calibration(scores, labels, CLASSES))


def test_mistakes_are_user_errors(tmp_path):
    scores, labels, right = both(7, count=100)
    with pytest.raises(UserError, match=r"'isotnic'.*did you mean 'isotonic'"):
        fit_calibration('isotnic', scores, labels, right, CLASSES)
    calibration = fit_calibration('isotonic', scores, labels, right, ['Car'])
    with pytest.raises(UserError, match="no class 'Bus', only Car"):
        calibration(scores, labels, ['Bus'])
    bad = ScoreCalibration('isotonic', {'Car': Curve((0.5, 0.2), (0.1, 0.2))}, {})
    bad.write(tmp_path / 'bad.json')
    with pytest.raises(UserError, match=r"bad\.json: class 'Car': expected ascending x"):
        ScoreCalibration.read(tmp_path / 'bad.json')


def test_boxes_of_labelled_frames_decide_what_is_right():
    scores, right = overconfident(8, count=300)
    cars = np.array([[10.0, 0, 0, 4, 2, 1.5, 0]] * 300)
    found = cars + np.where(right, 0, 5)[:, None] * np.eye(7)[0]
    pool = PoolPredictions(
        *(np.array([f'{k:03d}' for k in range(300)]), np.arange(301), found.astype(np.float32)),
        *(scores.astype(np.float32), np.zeros(300, np.int16), CLASSES),
    )
    truth = AnnotatedBoxes(cars, np.zeros(300, np.int64), np.arange(301), empty=0, dontcare=0)
    by_boxes = fit_on_frames('temperature', pool, truth).curves['Car'].temperature
    assert by_boxes == pytest.approx(
        fit_calibration('temperature', *both(8, count=300), CLASSES).curves['Car'].temperature
    )
