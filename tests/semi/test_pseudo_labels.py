import numpy as np
import pytest
import torch

from ssal3d.class_names import per_class
from ssal3d.ops.boxes import bev_iou
from ssal3d.semi.pseudo_labels import class_statistics, count_right, keep_pseudo_boxes, precision_statistics

CLASSES = ('Pedestrian', 'Cyclist', 'Car')


def test_worked_examples():
    t_iou = per_class({'Car': 0.5, 'Pedestrian': 0.25, 'Cyclist': 0.25}, CLASSES, 't_iou')
    cases = [
        ('Car', 0.55, 0.50, True),
        ('Car', 0.55, 0.35, False),
        ('Pedestrian', 0.26, 0.41, True),
        ('Pedestrian', 0.25, 0.90, False),
        ('Cyclist', 0.30, 0.39, False),
        ('Cyclist', 0.30, 0.40, False),  # float32(0.4) is above 0.4
        ('Car', 0.50, 0.90, False),
    ]
    names, s, r, expected = zip(*cases)
    labels = torch.tensor([CLASSES.index(name) for name in names])
    for thresholds in (t_iou, torch.tensor(t_iou, dtype=torch.float32)):
        assert keep_pseudo_boxes(torch.tensor(s), torch.tensor(r), labels, thresholds, 0.4).tolist() == list(expected)
    empty = torch.empty(0)
    assert keep_pseudo_boxes(empty, empty, torch.empty(0, dtype=torch.long), t_iou, 0.4).tolist() == []


def test_strict_in_the_precision_of_the_scores():
    for threshold in (0.1, 0.3, 0.4, 0.7, 0.9):
        score = torch.tensor([threshold])
        for s, r in ((score, score + 0.01), (score + 0.01, score)):
            assert keep_pseudo_boxes(s, r, torch.tensor([0]), (threshold,), threshold).tolist() == [False]


def test_statistics():
    found = class_statistics(torch.tensor([0.5, 0.9, 0.4]), torch.tensor([2, 2, 0]), CLASSES)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {
            'pseudo/Pedestrian/count': 1,
            'pseudo/Pedestrian/score': 0.4,
            'pseudo/Cyclist/count': 0,
            'pseudo/Cyclist/score': 0,
            'pseudo/Car/count': 2,
            'pseudo/Car/score': 0.7,
        }
    )
    nothing = class_statistics(torch.empty(0), torch.empty(0, dtype=torch.long), CLASSES)
    assert all(value.item() == 0 for value in nothing.values())


def test_right_boxes_by_hand():
    """Of five cars: on a car, half a metre beside it, too far (IoU 1/3), on a cyclist, beside all; and a cyclist on it."""
    car, cyclist = [10.0, 5, -1, 4, 2, 1.5, 0], [20.0, -5, -1, 1.8, 0.6, 1.7, 1.2]
    moved = [[x + shift, *rest] for shift in (0.5, 2.0) for x, *rest in [car]]
    boxes = torch.tensor([car, *moved, cyclist, [40.0, 0, -1, 4, 2, 1.5, 0], cyclist])
    right, total = count_right(
        boxes, torch.tensor([2, 2, 2, 2, 2, 1]), torch.tensor([car, cyclist]), torch.tensor([2, 1]), 3
    )
    assert right.tolist() == [0, 1, 2]
    assert total.tolist() == [0, 1, 5]
    assert right.dtype == total.dtype == torch.int64
    found = precision_statistics(right, total, CLASSES)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {'pseudo/Cyclist/precision_on_labelled': 1.0, 'pseudo/Car/precision_on_labelled': 0.4}
    )


def test_nothing_to_compare():
    box, none = torch.tensor([[10.0, 5, -1, 4, 2, 1.5, 0]]), torch.empty(0, 7)
    label, no_label = torch.tensor([1]), torch.empty(0, dtype=torch.int64)
    assert [found.tolist() for found in count_right(box, label, none, no_label, 2)] == [[0, 0], [0, 1]]
    assert [found.tolist() for found in count_right(none, no_label, box, label, 2)] == [[0, 0], [0, 0]]


@pytest.mark.parametrize('min_iou', [0.1, 0.5])
def test_right_boxes_by_brute_force(min_iou):
    rng = np.random.default_rng(0)
    boxes, truth = (
        np.concatenate((rng.uniform(0, 9, (n, 3)), rng.uniform(2, 5, (n, 3)), rng.uniform(-3, 3, (n, 1))), 1).astype(
            'f4'
        )
        for n in (120, 40)
    )
    labels, true_labels = rng.integers(0, 3, 120), rng.integers(0, 3, 40)
    boxes[:20], labels[:20] = truth[:20] + 0.1, true_labels[:20]
    ious = bev_iou(boxes, truth)
    expected = np.zeros((2, 3), int)
    for i, label in enumerate(labels):
        expected[1, label] += 1
        expected[0, label] += any(ious[i, j] > min_iou and true_labels[j] == label for j in range(40))
    assert 0 < expected[0].sum() < 120
    found = count_right(*map(torch.from_numpy, (boxes, labels, truth, true_labels)), 3, min_iou)
    assert np.array([own.tolist() for own in found]).tolist() == expected.tolist()
