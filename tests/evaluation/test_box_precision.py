"""Precision of boxes by hand and by brute force."""

import numpy as np
import pytest
import torch

from ssal3d.evaluation.box_precision import count_right
from ssal3d.ops.boxes import bev_iou


def test_right_boxes_by_hand():
    """Of five cars: on a car, 0.5 m beside it, too far (IoU 1/3), on a cyclist, beside all; and a cyclist on it."""
    car, cyclist = [10.0, 5, -1, 4, 2, 1.5, 0], [20.0, -5, -1, 1.8, 0.6, 1.7, 1.2]
    moved = [[x + shift, *rest] for shift in (0.5, 2.0) for x, *rest in [car]]
    boxes = torch.tensor([car, *moved, cyclist, [40.0, 0, -1, 4, 2, 1.5, 0], cyclist])
    right, total = count_right(
        boxes, torch.tensor([2, 2, 2, 2, 2, 1]), torch.tensor([car, cyclist]), torch.tensor([2, 1]), 3
    )
    assert right.tolist() == [0, 1, 2]
    assert total.tolist() == [0, 1, 5]
    assert right.dtype == total.dtype == torch.int64


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
