"""Residuals and matches of Joint3D-style consistency against worked values and brute force."""

import math

import numpy as np
import pytest
import torch

from ssal3d.ops.boxes import bev_iou
from ssal3d.semi.joint3d.residuals import box_residuals, match_boxes, residual_consistency, symmetric_bernoulli_kl

CAR = [10.0, 5, -1, 4, 2, 1.5, 0.3]
PAIR = torch.tensor([[0, 0]])


def greedy(teacher, student, teacher_labels, student_labels, min_iou):
    """Walk down all pairs."""
    ious = bev_iou(teacher.numpy(), student.numpy())
    pairs = [(-ious[i, j], i, j) for i in range(len(teacher)) for j in range(len(student))]
    found = []
    for iou, i, j in sorted(pairs):
        free = all(i != a and j != b for a, b in found)
        if -iou >= min_iou and teacher_labels[i] == student_labels[j] and free:
            found.append((i, j))
    return sorted(found)


@pytest.mark.parametrize('seed', range(5))
def test_matching_is_the_greedy_walk(seed):
    rng = np.random.default_rng(seed)
    teacher, student = (
        torch.tensor(np.concatenate((rng.uniform(0, 8, (n, 3)), rng.uniform(1, 4, (n, 4))), 1), dtype=torch.float32)
        for n in (25, 40)
    )
    student[0], teacher[0] = teacher[1], teacher[1]  # equal overlaps
    labels = torch.tensor(rng.integers(0, 2, 25)), torch.tensor(rng.integers(0, 2, 40))
    labels[0][0] = labels[0][1] = labels[1][0]
    pairs = match_boxes(teacher, student, *labels, min_iou=0.1)
    assert [tuple(pair) for pair in pairs.tolist()] == greedy(teacher, student, *labels, 0.1)
    assert len(pairs) > 8


def test_matching_by_hand():
    car = torch.tensor([CAR])
    one, other = torch.tensor([0]), torch.tensor([1])
    assert match_boxes(car, car, one, one).tolist() == [[0, 0]]
    assert match_boxes(car, car, one, other).tolist() == []
    assert match_boxes(car, car + torch.tensor([3.5, 0, 0, 0, 0, 0, 0]), one, one).tolist() == []
    for left, right in ((car[:0], car), (car, car[:0])):
        assert match_boxes(left, right, one[: len(left)], one[: len(right)]).shape == (0, 2)


def test_residuals_by_hand():
    car = torch.tensor([CAR])
    assert residual_consistency(car, car, PAIR) == 0
    opposite, shifted = car.clone(), car.clone()
    opposite[0, 6] += math.pi
    shifted[0, 0] += 0.5
    assert residual_consistency(car, opposite, PAIR).item() == pytest.approx(0, abs=1e-6)
    assert box_residuals(car, shifted)[0].tolist() == pytest.approx([0.1118, 0, 0, 0, 0, 0, 0], abs=1e-4)
    assert residual_consistency(car, shifted, PAIR).item() == pytest.approx(0.0562, abs=1e-4)
    two = residual_consistency(torch.cat((car, car)), torch.cat((shifted, car)), torch.tensor([[0, 0], [1, 1]]))
    assert two.item() == pytest.approx(0.0281, abs=1e-4)


def test_gradients_reach_the_student_only():
    teacher = torch.tensor([CAR], requires_grad=True)
    student = torch.tensor([CAR, CAR], requires_grad=True)
    pairs = torch.tensor([[0, 1]])
    residual_consistency(teacher, student * 1.01, pairs).backward()
    assert teacher.grad is None
    assert (student.grad[0] == 0).all()
    assert (student.grad[1] != 0).all()
    student.grad = None
    for own_teacher in (teacher, teacher[:0]):
        loss = residual_consistency(own_teacher, student, pairs[:0])
        assert loss == 0
        loss.backward()
        assert (student.grad == 0).all()


def test_symmetric_kl():
    p, q = torch.tensor([0.8, 0.5, 1.0]), torch.tensor([0.6, 0.5, 0.0])
    found = symmetric_bernoulli_kl(p, q)
    assert found[:2].tolist() == pytest.approx([(0.0915 + 0.1046) / 2, 0], abs=1e-4)
    assert found.isfinite().all()
    assert torch.equal(found, symmetric_bernoulli_kl(q, p))
