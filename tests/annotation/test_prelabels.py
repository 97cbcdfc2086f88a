from itertools import permutations

import numpy as np
import pytest

from ssal3d.annotation.prelabels import matched, prelabels
from ssal3d.errors import UserError
from tests.helpers.active_pools import make_pool

CAR = [10.0, 0, -1, 4, 2, 1.5, 0]


def box(x, score, label='Car', width=2.0):
    return {'label': label, 'score': score, 'box': [x, 0, -1, 4, width, 1.5, 0.1]}


def test_one_model_gives_what_passes_its_threshold_numbered_by_score():
    pool = make_pool({'a': [box(0, 0.6), box(20, 0.9), box(40, 0.3)], 'b': [], 'c': [box(0, 0.5)]})
    found = prelabels(['c', 'a', 'b'], pool, thresholds=0.5)
    assert {name: [(cuboid.id, round(cuboid.score, 3)) for cuboid in cuboids] for name, cuboids in found.items()} == {
        'c': [('1', 0.5)],
        'a': [('2', 0.9), ('3', 0.6)],
        'b': [],
    }
    assert found['a'][0].box == pytest.approx([20, 0, -1, 4, 2, 1.5, 0.1])


def test_two_models_must_agree_in_place_and_class():
    query = make_pool({'a': [box(0, 0.6), box(20, 0.9), box(40, 0.8), box(60, 0.7)]})
    other = make_pool({'a': [box(0.2, 0.9), box(20, 0.9, 'Pedestrian'), box(43.9, 0.8), box(60.1, 0.2)]})
    found = prelabels(['a'], query, other, 0.5)['a']
    assert [cuboid.box[0] for cuboid in found] == pytest.approx([0.2])  # of the surer model; 60 is below, on average
    assert found[0].score == pytest.approx(0.75)
    assert [round(cuboid.box[0]) for cuboid in prelabels(['a'], query, other, 0.4)['a']] == [0, 60]
    assert [round(cuboid.box[0]) for cuboid in prelabels(['a'], query, other, 0.4, iou=0.01)['a']] == [40, 0, 60]


def test_one_box_of_the_other_model_confirms_one_box_only():
    query = make_pool({'a': [box(0, 0.6), box(0.5, 0.9)]})
    other = make_pool({'a': [box(0.1, 0.7)]})
    found = prelabels(['a'], query, other, 0.0)['a']
    assert [cuboid.box[0] for cuboid in found] == pytest.approx([0.1])


def test_thresholds_by_class():
    pool = make_pool({'a': [box(0, 0.4), box(20, 0.4, 'Pedestrian'), box(40, 0.4, 'Cyclist')]})
    found = prelabels(['a'], pool, thresholds={'Pedestrian': 0.3, 'default': 0.6})['a']
    assert [cuboid.class_name for cuboid in found] == ['Pedestrian']
    assert [cuboid.class_name for cuboid in prelabels(['a'], pool, thresholds={'Car': 0.1})['a']] == ['Car']
    with pytest.raises(UserError, match=r"'Pedestrain': .*did you mean 'Pedestrian'\?"):
        prelabels(['a'], pool, thresholds={'Pedestrain': 0.3})


def test_models_of_other_classes_and_missing_frames_are_named():
    pool = make_pool({'a': [box(0, 0.4)]})
    with pytest.raises(UserError, match='expected Car, Pedestrian, Cyclist'):
        prelabels(['a'], pool, make_pool({'a': [box(0, 0.4)]}, classes=('Car', 'Van')))
    with pytest.raises(UserError, match='no predictions of frame b; predict the pool again'):
        prelabels(['b'], pool)


@pytest.mark.parametrize('seed', range(8))
def test_matching_is_the_greedy_one(seed):
    """Against a brute force: of all assignments, that whose sorted overlaps are the largest, one after the other."""
    overlap = np.random.default_rng(seed).random((4, 4)).round(3)
    best = max(
        permutations(range(4)), key=lambda columns: sorted((overlap[r, c] for r, c in enumerate(columns)), reverse=True)
    )
    rows, columns = matched(overlap, 0.0)
    assert list(zip(rows.tolist(), columns.tolist())) == list(enumerate(best))
    rows, columns = matched(overlap, 0.9)
    assert all(overlap[r, c] >= 0.9 for r, c in zip(rows, columns))


def test_nothing_to_match():
    for shape in ((0, 0), (0, 3), (3, 0)):
        rows, columns = matched(np.zeros(shape), 0.1)
        assert (len(rows), len(columns)) == (0, 0)
    assert len(matched(np.zeros((2, 2)), 0.0)[0]) == 0  # boxes that do not touch never match
