import numpy as np
import pytest

from ssal3d.active.functional.ensemble import FRAMES, merge_predictions, suppress
from ssal3d.active.sampler import Detections
from ssal3d.predictions.synthetic import second_model, synthetic_pool
from tests.helpers.active_pools import CLASSES, at, box, make_pool


def merged_boxes(detections, frame=0):
    part = detections.predictions.boxes_of(frame)
    predictions = detections.predictions
    return [
        (round(float(x), 3), round(float(score), 3), predictions.classes[label])
        for x, score, label in zip(predictions.boxes[part, 0], predictions.scores[part], predictions.labels[part])
    ]


def test_example_of_the_released_code():
    query = make_pool({'a': [box('Pedestrian', 0.6, box=at(0))]})
    reference = make_pool(
        {'a': [box('Car', 0.9, box=at(0.2)), box('Cyclist', 0.85, box=at(30)), box('Cyclist', 0.7, box=at(60))]}
    )
    detections = merge_predictions(query, reference)
    assert merged_boxes(detections) == [(0.2, 0.9, 'Car'), (30.0, 0.85, 'Cyclist')]
    assert detections.reliable.tolist() == [True, True]


def test_reliable_mask_example():
    query = make_pool({'a': [box(box=at(0)), box(box=at(50))]})
    assert merge_predictions(query, make_pool({'a': [box(box=at(0))]})).reliable.tolist() == [True, False]


@pytest.mark.parametrize(
    ('score', 'offset', 'kept'),
    [
        (0.5, 0.0, 'query'),  # replaces above 0.5 only
        (0.51, 0.0, 'query'),  # not better than the 0.6 that stands there
        (0.6, 0.0, 'query'),  # equal is not better
        (0.61, 0.0, 'replaced'),
        (0.8, 30.0, 'query'),  # appends above 0.8 only
        (0.81, 30.0, 'appended'),
        (0.79, 2.0, 'query'),  # BEV IoU 1/3: another object, not confident enough
        (0.81, 2.0, 'appended'),
    ],
)
def test_thresholds_are_strict(score, offset, kept):
    query = make_pool({'a': [box('Car', 0.6, box=at(0))]})
    found = merged_boxes(merge_predictions(query, make_pool({'a': [box('Cyclist', score, box=at(offset))]})))
    expected = {
        'query': [(0.0, 0.6, 'Car')],
        'replaced': [(offset, round(score, 3), 'Cyclist')],
        'appended': [(0.0, 0.6, 'Car'), (offset, round(score, 3), 'Cyclist')],
    }
    assert found == expected[kept]


def test_overlap_thresholds_are_strict():
    query = make_pool({'a': [box('Car', 0.6, box=at(0))]})
    half = make_pool({'a': [box('Cyclist', 0.7, box=[0, 0, 0, 2, 2, 1.5, 0])]})  # BEV IoU exactly 0.5
    assert merged_boxes(merge_predictions(query, half)) == [(0.0, 0.6, 'Car')]
    fifth = make_pool({'a': [box('Cyclist', 0.2, box=[0, 0, 0, 0.8, 2, 1.5, 0])]})
    assert merge_predictions(query, fifth, iou_rel=0.25).reliable.tolist() == [False]
    assert merge_predictions(query, fifth, iou_rel=0.15).reliable.tolist() == [True]


def test_two_reference_boxes_on_one_query_box_compare_with_what_stands_there_in_file_order():
    query = make_pool({'a': [box('Car', 0.6, box=at(0))]})
    rising = make_pool({'a': [box('Car', 0.7, box=at(0.1)), box('Car', 0.9, box=at(0.2))]})
    falling = make_pool({'a': [box('Car', 0.9, box=at(0.2)), box('Car', 0.7, box=at(0.1))]})
    assert merged_boxes(merge_predictions(query, rising)) == [(0.2, 0.9, 'Car')]
    assert merged_boxes(merge_predictions(query, falling)) == [(0.2, 0.9, 'Car')]


def test_matching_uses_the_original_query_boxes():
    # The replacement at 1.2 would overlap the box at 2.4 by more than half; the original at 0 does not.
    query = make_pool({'a': [box('Car', 0.6, box=at(0))]})
    reference = make_pool({'a': [box('Car', 0.9, box=at(1.2)), box('Car', 0.95, box=at(2.4))]})
    assert merged_boxes(merge_predictions(query, reference)) == [(1.2, 0.9, 'Car'), (2.4, 0.95, 'Car')]


def test_a_frame_that_one_model_leaves_empty_stays_as_it_is():
    query = make_pool({'a': [], 'b': [box('Car', 0.6, box=at(0))]})
    reference = make_pool({'a': [box('Car', 0.95, box=at(0))], 'b': []})
    detections = merge_predictions(query, reference)
    assert merged_boxes(detections, 0) == []
    assert merged_boxes(detections, 1) == [(0.0, 0.6, 'Car')]
    assert detections.reliable.tolist() == [False]


def test_class_thresholds_logits_and_final_suppression():
    query = make_pool({'a': [box('Car', 0.6, box=at(0), logits=[1, 0, 0])]})
    reference = make_pool(
        {'a': [box('Car', 0.85, box=at(30), logits=[2, 0, 0]), box('Cyclist', 0.85, box=at(30.1), logits=[0, 0, 3])]}
    )
    detections = merge_predictions(query, reference, s_add=np.array([0.9, 0.8, 0.8]))
    assert merged_boxes(detections)[1:] == [(30.1, 0.85, 'Cyclist')]
    assert detections.predictions['class_logits'].tolist() == [[1, 0, 0], [0, 0, 3]]
    assert len(merged_boxes(merge_predictions(query, reference))) == 3
    suppressed = suppress(merge_predictions(query, reference), 0.1)
    assert merged_boxes(suppressed) == [(0.0, 0.6, 'Car'), (30.0, 0.85, 'Car')]
    assert suppressed.predictions.offsets.tolist() == [0, 2]


def survivors_one_after_another(pool, threshold):
    """The rule in words: from the highest score downwards, a box stays if it overlaps none that stays."""
    from ssal3d.ops.boxes import bev_iou

    kept = []
    for frame in range(len(pool)):
        rows = range(*pool.boxes_of(frame).indices(len(pool.scores)))
        stay = []
        for row in sorted(rows, key=lambda row: (-pool.scores[row], row)):
            if not any(bev_iou(pool.boxes[[row]], pool.boxes[[other]])[0, 0] > threshold for other in stay):
                stay.append(row)
        kept += sorted(stay)
    return kept


@pytest.mark.parametrize('threshold', [0.0, 0.1, 0.5])
def test_suppression_agrees_with_one_box_after_another(threshold):
    """Chains included, in which a box that falls lets the next one live."""
    rng = np.random.default_rng(7)
    pool = make_pool(
        {
            f'{frame:02d}': [
                box(str(rng.choice(CLASSES)), float(rng.choice([0.2, 0.5, 0.6, 0.9])), box=at(*rng.uniform(0, 12, 2)))
                for _ in range(rng.integers(0, 25))
            ]
            for frame in range(20)
        }
    )
    expected = survivors_one_after_another(pool, threshold)
    found = suppress(Detections.of(pool), threshold).predictions
    assert 0 < len(expected) < len(pool.scores)
    for name in ('boxes', 'scores', 'labels'):
        assert getattr(found, name).tolist() == getattr(pool, name)[expected].tolist()
    assert found.frame_of_box.tolist() == pool.frame_of_box[expected].tolist()
    assert found['class_logits'].tolist() == pool['class_logits'][expected].tolist()


def test_one_object_has_one_box_whatever_the_class(monkeypatch):
    frames = {
        'a': [box('Pedestrian', 0.4, box=at(0)), box('Cyclist', 0.6, box=at(0.5)), box('Car', 0.3, box=at(30))],
        'b': [],
        'c': [box('Car', 0.2, box=at(0))],
    }
    for size in (FRAMES, 1):
        monkeypatch.setattr('ssal3d.active.functional.ensemble.FRAMES', size)
        found = suppress(Detections.of(make_pool(frames)), 0.1).predictions
        assert found.offsets.tolist() == [0, 2, 2, 3]
        assert [found.classes[label] for label in found.labels] == ['Cyclist', 'Car', 'Car']
    assert len(suppress(Detections.of(make_pool({})), 0.1).predictions) == 0


def test_a_pool_of_no_frames():
    empty = make_pool({})
    detections = merge_predictions(empty, empty)
    assert len(detections.predictions) == len(detections.reliable) == 0


def test_agrees_with_python_on_a_synthetic_pool():
    """Boxes rotate here, so the overlaps come from the package; the rule is written again."""
    from ssal3d.ops.boxes import bev_iou

    query = synthetic_pool(60, seed=3)
    reference = second_model(query)
    detections = merge_predictions(query, reference)
    for frame in range(60):
        ours, theirs = query.boxes_of(frame), reference.boxes_of(frame)
        overlap = bev_iou(query.boxes[ours], reference.boxes[theirs])
        expected = [(query.boxes[k], query.scores[k], query.labels[k]) for k in range(ours.start, ours.stop)]
        own = len(expected)
        for column, other in enumerate(range(theirs.start, theirs.stop)):
            candidate = (reference.boxes[other], reference.scores[other], reference.labels[other])
            if not own or candidate[1] <= 0.5:
                continue
            slot = int(overlap[:, column].argmax())
            if overlap[slot, column] > 0.5:
                if candidate[1] > expected[slot][1]:
                    expected[slot] = candidate
            elif candidate[1] > np.float32(0.8):
                expected.append(candidate)
        part = detections.predictions.boxes_of(frame)
        for name, position in (('boxes', 0), ('scores', 1), ('labels', 2)):
            found = getattr(detections.predictions, name)[part]
            np.testing.assert_array_equal(found, np.array([entry[position] for entry in expected]).reshape(found.shape))
        known = bev_iou(detections.predictions.boxes[part], reference.boxes[theirs])
        np.testing.assert_array_equal(detections.reliable[part], (known > 0.2).any(axis=1))
