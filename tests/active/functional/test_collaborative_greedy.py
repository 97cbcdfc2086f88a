import numpy as np
import pytest

from ssal3d.active.functional.collaborative_greedy import (
    ClassCounters,
    Limits,
    _by_utility,
    count_precision,
    inverse_frequency_caps,
    manual_caps,
)


def test_manual_caps_of_the_shipped_configs():
    assert manual_caps(np.array([0.3, 1.1, 1.6]), 150).tolist() == [16, 56, 81]
    assert manual_caps(np.array([0.1, 0.2, 2.7]), 5000) == pytest.approx([167.667, 334.333, 4501], abs=1e-3)
    assert manual_caps(np.ones(3), 6).tolist() == [3, 3, 3]
    assert manual_caps(np.ones(1), 6).tolist() == [7]
    assert manual_caps(np.full(4, 1.0), 20).tolist() == [6] * 4


def test_manual_weights_are_scaled_to_the_number_of_classes():
    assert manual_caps(np.array([3.0, 11.0, 16.0]), 150) == pytest.approx([16, 56, 81])
    barely_off = np.array([0.3, 1.1, 1.6 + 5e-7])  # within the tolerance: taken as it is
    assert manual_caps(barely_off, 150)[0] == 16


def test_equation_6_check_values():
    assert inverse_frequency_caps(np.array([100, 50, 50]), 150).tolist() == [30, 60, 60]
    assert inverse_frequency_caps(np.array([160, 28, 12]), 150, minimum=0) == pytest.approx(
        [7.48, 42.76, 99.76], abs=0.005
    )


def test_equation_6_has_a_floor_and_counts_an_absent_class_as_one():
    assert inverse_frequency_caps(np.array([160, 28, 12]), 300)[0] == pytest.approx(14.96, abs=0.005)
    assert inverse_frequency_caps(np.array([16000, 28, 12]), 300)[0] == 10  # 0.1 * 300 / 3
    assert inverse_frequency_caps(np.array([16000, 28, 12]), 3)[0] == 1
    assert inverse_frequency_caps(np.array([16000, 28, 12]), 300, minimum=25)[0] == 25
    caps = inverse_frequency_caps(np.array([10, 0]), 11)
    assert caps.tolist() == inverse_frequency_caps(np.array([10, 1]), 11).tolist() == [1, 10]


def test_caps_do_not_depend_on_the_order_of_the_classes():
    rng = np.random.default_rng(0)
    for _ in range(200):
        counts = rng.integers(0, 300, 4)
        order = rng.permutation(4)
        expected = inverse_frequency_caps(counts, 150)[order]
        np.testing.assert_array_equal(inverse_frequency_caps(counts[order], 150), expected)


def counted(predicted, annotated, least=0.0):
    """The precision where ``predicted`` boxes ``(F, C)`` all have the same score."""
    predicted, annotated = np.array(predicted), np.array(annotated)
    cells = np.repeat(np.arange(predicted.size), predicted.ravel())
    frames, labels = np.divmod(cells, predicted.shape[1])
    scores = np.full(len(cells), 0.5, np.float32)
    return count_precision(scores, labels, frames, annotated, np.full(predicted.shape[1], 0.3), least)


def test_precision_of_counts_by_frame_and_class():
    found = counted([[3, 0, 20], [0, 6, 0], [9, 6, 0]], [[1, 4, 20], [5, 9, 0], [9, 0, 2]])
    assert found.of_class == pytest.approx([10 / 12, 6 / 12, 1])
    assert found.boxes.tolist() == [12, 12, 20]
    assert found.s_obj.tolist() == [0.3] * 3


def test_precision_of_few_boxes_tells_nothing():
    found = counted([[9, 10]], [[9, 0]])
    assert np.isnan(found.of_class[0])
    assert found.of_class[1] == 0
    assert np.isnan(counted(np.zeros((0, 2), int), np.zeros((0, 2), int)).of_class).all()


def test_equal_scores_are_not_parted():
    found = counted([[12]], [[6]], least=0.9)
    assert (found.of_class.tolist(), found.boxes.tolist(), found.s_obj.tolist()) == ([0.5], [12], [0.3])


def share_above(above, scores, frames, annotated):
    """Share of the boxes of a class above a score that have a counterpart in their frame, and their number."""
    predicted = np.bincount(frames[scores > np.float32(above)], minlength=len(annotated))
    return np.minimum(predicted, annotated).sum() / max(predicted.sum(), 1), predicted.sum()


@pytest.mark.parametrize('least', [0.0, 0.3, 0.5, 0.8, 1.0])
def test_the_lowest_score_at_which_counts_are_precise(least):
    """Against every score that occurs, tried one after another."""
    rng = np.random.default_rng(3)
    raised = 0
    for _ in range(60):
        frames, labels = rng.integers(0, 8, 120), rng.integers(0, 2, 120)
        scores = rng.choice([0.2, 0.35, 0.5, 0.65, 0.8, 0.95], 120).astype(np.float32)
        annotated = rng.integers(0, 7, (8, 2))
        found = count_precision(scores, labels, frames, annotated, np.array([0.3, 0.5]), least)
        for label, lowest in ((0, 0.3), (1, 0.5)):
            boxes = (scores[labels == label], frames[labels == label], annotated[:, label])
            tried = [(above, *share_above(above, *boxes)) for above in (lowest, *np.unique(scores[scores > lowest]))]
            good = [entry for entry in tried if entry[1] >= least and entry[2] >= 10]
            share, count = share_above(found.s_obj[label], *boxes)
            assert (found.of_class[label], found.boxes[label]) == (pytest.approx(share), count)
            if good:
                assert count == good[0][2]  # scores between two that occur count the same boxes
            else:
                assert found.s_obj[label] == lowest
                assert share < least
            raised += found.s_obj[label] > lowest
    assert bool(raised) is (least > 0)


def limits(**options):
    """Limits of two classes, which are full at 3 and 100 boxes."""
    return Limits(0.5, np.full(2, 0.4), np.array([3.0, 100.0]), np.full(2, 0.1), **options)


def test_limits_are_relaxed_one_after_the_other():
    ladder = list(limits().levels())
    assert [step.any_class for step in ladder] == [False] * 11 + [True] * 12
    assert [step.t_sim for step in ladder] == [0.5] * 12 + [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1, np.inf]
    np.testing.assert_allclose([step.s_obj[0] for step in ladder[:11]], 0.4 / np.linspace(1, 2, 11), rtol=1e-6)
    assert [step.s_obj[0] for step in ladder[11:]] == [ladder[10].s_obj[0]] * 12
    assert len(list(limits(relax=('s_obj',)).levels())) == 11
    assert [step.any_class for step in limits(relax=('classes',)).levels()] == [False, True]


@pytest.mark.parametrize(
    ('counts', 'expected'), [(None, [2, 5]), (np.array([True, False]), [2, 0]), (np.array([False, True]), [0, 5])]
)
def test_only_the_classes_that_count_fill_their_counters(counts, expected):
    counters = ClassCounters(limits(counts=counts))
    counters.offer(7, np.array([2, 5]))
    assert counters.counted(bought={8}).tolist() == [0, 0]
    assert counters.counted(bought={7}).tolist() == expected


def test_a_class_is_full_at_its_limit_and_this_is_told_once():
    counters = ClassCounters(limits(), revealed=lambda frame: {1: np.array([3, 0])}.get(frame))
    told = []
    for frame, objects in ((0, [2, 0]), (1, [0, 9]), (2, [1, 0])):
        counters.offer(frame, np.array(objects))
        told.append(counters.settle())
    assert told == [False, True, False]
    assert counters.full.tolist() == [True, False]
    assert counters.counted(bought=()).tolist() == [6, 0]  # what is revealed counts, not what was predicted


def test_equal_utilities_keep_the_order_of_the_pool():
    utility = np.repeat([0.2, 0.8], 100)[np.random.default_rng(0).permutation(200)]
    found = _by_utility(utility, np.ones(200, bool))
    assert found.tolist() == [*np.flatnonzero(utility == 0.8), *np.flatnonzero(utility == 0.2)]
    assert _by_utility(utility, utility > 0.5).tolist() == np.flatnonzero(utility == 0.8).tolist()
