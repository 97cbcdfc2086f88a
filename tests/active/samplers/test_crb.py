from dataclasses import replace

import numpy as np
import pytest

from ssal3d.active import QuerySettings, select
from ssal3d.active.functional.label_entropy import label_entropy
from ssal3d.active.samplers.crb import PROTOTYPES, CRBSampler, cluster_prototypes
from ssal3d.errors import UserError
from ssal3d.predictions.synthetic import annotated_boxes, synthetic_pool
from tests.helpers.active_pools import Oracle, unlabelled


def crb_pool(frames, **options):
    return synthetic_pool(frames, fields=CRBSampler.required_fields, **options)


def query(pool, budget, seed=0, **options):
    """Ask for frames when two boxes per frame are expected: ``budget / 2`` frames."""
    labels = unlabelled(pool).buy(0, [('labelled', {'Car': 2})])
    return select(CRBSampler(**options), pool, labels, QuerySettings(budget), seed=seed, annotate=one_box)


def one_box(frame_id):
    return {'Car': 1}


def positions(found, pool):
    return [pool.index()[frame_id] for frame_id in found.frame_ids]


def by_entropy(pool):
    cell = pool.frame_of_box * len(pool.classes) + pool.labels
    counts = np.bincount(cell, minlength=len(pool) * len(pool.classes)).reshape(len(pool), -1)
    return np.argsort(-label_entropy(counts), kind='stable')


@pytest.mark.parametrize('prototype', PROTOTYPES)
def test_selection_lies_in_the_prototypes_and_those_in_the_most_diverse_frames(prototype):
    pool = crb_pool(120)  # 10 boxes of 2 per frame: n = 5, stage 1 keeps 25, stage 2 keeps 15
    order = positions(query(pool, 10, prototype=prototype), pool)
    stage_1 = by_entropy(pool)[:25]
    assert len(order) == 10
    assert set(order) <= set(stage_1.tolist())
    if prototype != 'kmeans++':
        rows = cluster_prototypes(pool['gradient'][np.sort(stage_1)], 15, prototype)
        assert set(order) <= set(np.sort(stage_1)[rows].tolist())


def test_prototypes_are_those_of_scikit_learn_and_the_first_one_is_bought_first():
    from sklearn.cluster import kmeans_plusplus

    pool = crb_pool(120)
    kept = np.sort(by_entropy(pool)[:50])
    prototypes = kept[kmeans_plusplus(pool['gradient'][kept], 30, random_state=3)[1]]
    order = positions(query(pool, 20, seed=3), pool)
    assert order[0] == prototypes[0]
    assert set(order) <= set(prototypes.tolist())


def test_more_prototypes_and_then_more_diverse_frames_follow_when_the_estimate_was_low():
    pool = crb_pool(60)  # n = 5: 25 frames by entropy, of which 15 are prototypes
    labels = unlabelled(pool).buy(0, [('labelled', {'Car': 2})])
    found = select(CRBSampler(), pool, labels, QuerySettings(10), annotate=lambda frame_id: {})
    order, diverse = positions(found, pool), by_entropy(pool).tolist()
    assert set(order[:25]) == set(diverse[:25])
    assert set(order[25:50]) == set(diverse[25:50])
    assert sorted(order) == list(range(60))
    short = select(CRBSampler(k2=5), pool, labels, QuerySettings(10), annotate=lambda frame_id: {})
    assert set(positions(short, pool)[:25]) == set(diverse[:25])


def test_frames_without_boxes_come_last_with_no_utility():
    pool = crb_pool(40, boxes_per_frame=1)
    found = select(CRBSampler(), pool, unlabelled(pool), QuerySettings(10**6))
    boxes = np.diff(pool.offsets)[positions(found, pool)]
    empty = int((boxes == 0).sum())
    assert empty > 3
    assert (boxes[-empty:] == 0).all()
    assert {frame.utility for frame in found.frames[-empty:]} == {0.0}
    assert all(frame.utility > 0 for frame in found.frames[:-empty])


def test_the_layer_of_the_gradients_is_checked():
    pool = crb_pool(4)
    fine = replace(pool, metadata={'gradient_layer': 'shared_fc'})
    assert query(fine, 2).frames
    with pytest.raises(UserError, match="found gradients of the layer 'roi_cls', expected 'shared_fc'"):
        query(replace(pool, metadata={'gradient_layer': 'roi_cls'}), 2)


def test_values_that_are_no_numbers_are_named():
    pool = crb_pool(6)
    gradients = pool['gradient'].copy()
    gradients[4, 2] = np.nan
    with pytest.raises(UserError, match='the gradient of frame 000004 holds NaN'):
        query(replace(pool, fields={**pool.fields, 'gradient': gradients}), 100)
    boxes = pool.boxes.copy()
    boxes[pool.offsets[3], 4] = np.nan
    with pytest.raises(UserError, match='a box of frame 000003 has nan points'):
        query(replace(pool, boxes=boxes), 2)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'k1': 2, 'k2': 3}, r'k2: found 3, expected a number in \[1, 2\]'),
        ({'alpha': 0.4}, r'alpha: found 0.4'),
        ({'bandwidth': 0}, 'bandwidth: found 0'),
        ({'label_entropy': 'crb'}, 'unknown value of label_entropy'),
        ({'prototype': 'kmean'}, "did you mean 'kmeans'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        CRBSampler(**options)


def test_what_the_detector_must_compute():
    assert CRBSampler(passes=8).extraction == {'gradient': 'shared_fc', 'mc_passes': 8}
    assert CRBSampler().extraction['mc_passes'] == 5


@pytest.mark.parametrize('method', PROTOTYPES[1:])
def test_prototypes_of_clear_clusters_are_one_per_cluster(method):
    centres = np.eye(4, dtype=np.float32)[:3] * 100
    features = np.repeat(centres, 5, axis=0) + np.random.default_rng(0).normal(0, 0.1, (15, 4)).astype(np.float32)
    rows = cluster_prototypes(features, 3, method)
    assert sorted(row // 5 for row in rows.tolist()) == [0, 1, 2]
    for row in rows.tolist():
        own = features[row // 5 * 5 : row // 5 * 5 + 5]
        distances = np.linalg.norm(own - own.mean(axis=0), axis=1)
        assert distances.argmin() == row % 5
    assert cluster_prototypes(features, 15, method).tolist() == list(range(15))
    copies = cluster_prototypes(np.ones((9, 4), dtype=np.float32), 3, method)
    assert len(set(copies.tolist())) == len(copies) >= 1


def test_annotations_of_bought_frames_are_all_that_is_asked_for():
    pool = crb_pool(80)
    oracle = Oracle(annotated_boxes(pool))
    found = select(CRBSampler(), pool, unlabelled(pool), QuerySettings(30), annotate=oracle)
    assert oracle.asked == list(found.frame_ids)
