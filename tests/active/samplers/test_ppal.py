import math
from dataclasses import replace

import numpy as np
import pytest

from ssal3d.active import QuerySettings, select
from ssal3d.active.functional.uncertainty import binary_entropy
from ssal3d.active.samplers import ppal
from ssal3d.active.samplers.ppal import PPALSampler, calibrated_uncertainty, difficulty_weights
from ssal3d.errors import UserError
from ssal3d.predictions.synthetic import synthetic_pool
from tests.helpers.active_pools import CLASSES, at, box, make_pool, unlabelled

LEARNT = {'Car': 0.9, 'Pedestrian': 0.5, 'Cyclist': 0.1}


def query(pool, budget, seed=0, **options):
    return select(PPALSampler(**options), pool, unlabelled(pool), QuerySettings(budget, cost_score=0), seed=seed)


def learnt(pool, **quality):
    return replace(pool, metadata={**pool.metadata, 'class_quality': quality or LEARNT})


def test_weights_of_the_specification():
    weights = difficulty_weights(np.array([0, 0.25, 0.5, 0.75, 1]))
    assert weights == pytest.approx([1.2, 1.18345, 1.16051, 1.12292, 1.0], abs=5e-6)
    assert difficulty_weights(np.array([0, 1]), alpha=0.01, beta=0.5) == pytest.approx([1.5, 1])


def test_uncertainty_of_a_frame_is_a_sum():
    scores, labels, offsets = np.array([0.5, 0.05, 0.8, 0.1]), np.array([0, 0, 1, 1]), np.array([0, 0, 3, 4])
    found = calibrated_uncertainty(scores, labels, offsets, np.array([1.2, 1.0]))
    nats = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in (0.5, 0.8, 0.1)]
    assert found == pytest.approx([-math.inf, 1.2 * nats[0] + nats[1], nats[2]])


def test_equal_quality_ranks_as_the_sum_of_entropies():
    pool = synthetic_pool(50, seed=1)
    sums = [binary_entropy(pool.scores[pool.boxes_of(frame)]).sum() for frame in range(50)]
    for quality in (0, 0.4):
        weights = difficulty_weights(np.full(3, quality))
        found = calibrated_uncertainty(pool.scores, pool.labels, pool.offsets, weights, score_thr=0)
        assert np.argsort(found).tolist() == np.argsort(sums).tolist()


def test_badly_learnt_classes_come_first():
    frames = {'a': [box('Car', 0.5)], 'b': [box('Pedestrian', 0.5)], 'c': [box('Cyclist', 0.5)]}
    utilities = [frame.utility for frame in query(make_pool(frames, class_quality=LEARNT), 9).frames]
    assert query(make_pool(frames, class_quality=LEARNT), 9).frame_ids == ('c', 'b', 'a')
    assert utilities == pytest.approx([difficulty_weights(np.array([q]))[0] * math.log(2) for q in (0.1, 0.5, 0.9)])
    vehicles = make_pool(frames, class_quality={'Vehicle': 0.0, 'Pedestrian': 0.5, 'Cyclist': 1.0})
    assert query(vehicles, 9).frame_ids == ('a', 'b', 'c')


def test_quality_is_checked_and_missed():
    pool = make_pool({'a': [box()], 'b': [box()]})
    assert any('no class_quality' in warning for warning in query(pool, 1).warnings)
    assert not any('no class_quality' in warning for warning in query(learnt(pool), 1).warnings)
    for quality, message in (
        ({**LEARNT, 'Car': 1.2}, "class 'Car': found 1.2"),
        ({'Car': 0.5}, "class 'Pedestrian' is missing"),
        ({**LEARNT, 'Tram': 0.5}, "unknown class in class_quality of test pool 'Tram'"),
        (0.5, 'one number by class name'),
    ):
        with pytest.raises(UserError, match=message):
            query(replace(pool, metadata={'class_quality': quality}), 1)
    assert query(learnt(pool, **{**LEARNT, 'Car': 1 + 1e-7}), 1).frames  # a float32 average


def test_one_frame_of_each_kind_is_bought():
    """Three kinds of frames: four of each; a round of three picks one of each, though one kind is the least certain."""
    kinds = {'x': [1.0, 0.0], 'y': [0.0, 1.0], 'z': [-1.0, 0.0]}
    doubts = {'x': 0.5, 'y': 0.45, 'z': 0.4}
    frames = {
        f'{kind}{number}': [box('Car', doubts[kind] - 0.001 * number, feature=kinds[kind])]
        for kind in kinds
        for number in range(4)
    }
    for seed in range(5):
        found = query(make_pool(frames, class_quality=LEARNT), 3, seed=seed)
        assert [frame_id[0] for frame_id in found.frame_ids] == ['x', 'y', 'z']  # the most uncertain first


def test_rounds_pick_among_the_most_uncertain_and_go_on_until_all_are_bought():
    pool = learnt(synthetic_pool(60, seed=2, fields=('box_features',)))
    boxes = int(np.diff(pool.offsets).mean() * 5)
    first = query(pool, boxes)
    utilities = calibrated_uncertainty(
        pool.scores, pool.labels, pool.offsets, difficulty_weights(np.array(list(LEARNT.values())))
    )
    candidates = pool.frame_ids[np.argsort(-utilities)[:20]]  # delta times five frames
    assert set(first.frame_ids) <= set(candidates.tolist())
    assert list(first.frame_ids) != candidates[: len(first.frames)].tolist()  # diverse ones, not the top
    assert [frame.utility for frame in first.frames] == sorted((f.utility for f in first.frames), reverse=True)
    assert first == query(pool, boxes)
    assert first.frame_ids != query(pool, boxes, iterations=0).frame_ids  # centres alone
    assert len({query(pool, boxes, seed=seed).frame_ids for seed in range(8)}) > 1


def test_frames_that_cannot_be_compared_come_last():
    frames = {
        'a': [],
        'b': [box('Car', 0.05)],
        'c': [box('Car', 0.95, feature=[1, 0])],
        'd': [box('Car', 0.1)],  # counts for the uncertainty, but is not above the threshold
        'e': [],
        'f': [box('Cyclist', 0.999, feature=[0, 1])],
    }
    assert query(make_pool(frames, class_quality=LEARNT), 9).frame_ids == ('c', 'f', 'd', 'b', 'a', 'e')


def test_many_frames_are_compared_in_smaller_rounds(monkeypatch):
    monkeypatch.setattr(ppal, 'MAX_CANDIDATES', 16)
    sizes = []
    measure = ppal.category_distances
    monkeypatch.setattr(ppal, 'category_distances', lambda *args: sizes.append(len(args[3]) - 1) or measure(*args))
    pool = learnt(synthetic_pool(60, seed=2, fields=('box_features',)))
    found = query(pool, 10**6)
    assert sorted(found.frame_ids) == pool.frame_ids.tolist()
    assert max(sizes) == 16
    assert any('rounds of 4 from 16 candidates' in warning for warning in found.warnings)


def test_a_score_that_is_no_number_is_named():
    pool = make_pool({'a': [box()], 'b': [box(score=math.nan, box=at(3))]}, CLASSES)
    with pytest.raises(UserError, match='frame b is not a number'):
        query(pool, 2)


@pytest.mark.parametrize(
    'options', [{'alpha': 0}, {'beta': -1}, {'delta': 0.5}, {'score_thr': 2}, {'max_boxes': 0}, {'iterations': -1}]
)
def test_options_are_checked(options):
    with pytest.raises(UserError, match=next(iter(options))):
        PPALSampler(**options)
