import copy
import math

import numpy as np
import pytest
import torch

from ssal3d.models import class_quality
from ssal3d.models.class_quality import ClassQuality, aligned_iou_3d, box_quality
from ssal3d.ops.boxes import iou_3d


def step(module, *boxes):
    """Update with (score, IoU, label) boxes."""
    scores, ious, labels = zip(*boxes) if boxes else ((), (), ())
    module.update(torch.tensor(scores), torch.tensor(ious), torch.tensor(labels, dtype=torch.long))


def test_quality_of_a_box():
    found = box_quality(torch.tensor([0.8, 1.0, 0.3]), torch.tensor([0.5, 1.0, 0.0]))
    assert found.tolist() == pytest.approx([0.8**0.6 * 0.5**0.4, 1, 0])
    assert box_quality(torch.tensor([0.8]), torch.tensor([0.5]), xi=1).item() == pytest.approx(0.8)


def test_aligned_iou_agrees_with_the_pairwise_one():
    rng = np.random.default_rng(0)
    centres = rng.uniform((0, -40, -1), (70, 40, 1), (200, 3))
    targets = np.concatenate((centres, rng.uniform(1, 4, (200, 3)), rng.uniform(-4, 4, (200, 1))), 1)
    boxes = targets + rng.normal(0, 0.3, (200, 7))
    boxes[:, 3:6] = np.abs(boxes[:, 3:6])
    boxes, targets = boxes.astype(np.float32), targets.astype(np.float32)
    found = aligned_iou_3d(torch.tensor(boxes), torch.tensor(targets))
    expected = iou_3d(boxes, targets).diagonal()
    assert 0.2 < expected.mean() < 0.8
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_aligned_iou_by_hand():
    box = torch.tensor([0.0, 0, 0, 4, 2, 1.5, 0.7])
    raised, above, far, flat, broken = (box.clone() for _ in range(5))
    raised[2], above[2], far[0], flat[3:6], broken[3] = 0.5, 1.6, 9, 0, math.inf
    targets = torch.stack((box, raised, above, far, flat, broken))
    found = aligned_iou_3d(box.expand(6, 7), targets)
    assert found.tolist() == pytest.approx([1, 0.5, 0, 0, 0, 0], abs=1e-5)
    assert aligned_iou_3d(flat[None], flat[None]).tolist() == [0]
    assert aligned_iou_3d(torch.zeros(0, 7), torch.zeros(0, 7)).shape == (0,)


def test_moving_average_by_class():
    module = ClassQuality(3)
    step(module, (1.0, 1.0, 0), (0.0, 0.5, 0), (1.0, 1.0, 2))
    assert module.quality.tolist() == pytest.approx([0.005, 0, 0.01], rel=1e-5)
    step(module, (1.0, 1.0, 0))
    assert module.quality.tolist() == pytest.approx([0.99 * 0.005 + 0.01, 0, 0.01], rel=1e-5)


def test_absent_classes_keep_their_quality_and_catch_up_faster():
    module = ClassQuality(2)
    step(module, (1.0, 1.0, 0), (1.0, 1.0, 1))
    for _ in range(3):
        step(module, (1.0, 1.0, 0))
    step(module)
    assert module.quality[1] == pytest.approx(0.01)
    assert module.momentum.tolist() == pytest.approx([0.99**2, 0.99**5])
    step(module, (1.0, 1.0, 1))
    assert module.quality[1] == pytest.approx(0.99**5 * 0.01 + 1 - 0.99**5, rel=1e-4)
    assert module.momentum.tolist() == pytest.approx([0.99**3, 0.99])


def test_parity_with_the_released_code_decays_absent_classes():
    module = ClassQuality(2, parity=True)
    step(module, (1.0, 1.0, 0), (1.0, 1.0, 1))
    step(module, (1.0, 1.0, 0))
    assert module.quality[1] == pytest.approx(0.99 * 0.01, rel=1e-4)
    step(module, (1.0, 1.0, 0))
    assert module.quality[1] == pytest.approx(0.99**3 * 0.01, rel=1e-4)  # by the momentum of a class that was absent
    step(module, (1.0, 0.0, 1))  # quality 0 counts as absent there
    assert module.momentum[1] == pytest.approx(0.99**4)


def test_what_does_not_count():
    module = ClassQuality(2)
    step(module, (math.nan, 0.5, 0), (0.5, math.nan, 1), (1.0, 1.0, -1), (1.0, 1.0, 2))
    assert module.quality.tolist() == [0, 0]
    assert module.momentum.tolist() == pytest.approx([0.99**2] * 2)
    module.update(torch.ones(1, dtype=torch.half), torch.ones(1, dtype=torch.half), torch.zeros(1, dtype=torch.long))
    assert module.quality[0] == pytest.approx(1 - 0.99**2, rel=1e-4)
    for options in ({'xi': 2}, {'momentum': -1}):
        with pytest.raises(ValueError, match='class quality'):
            ClassQuality(2, **options)


def test_quality_approaches_that_of_the_boxes_and_travels_with_checkpoints():
    module = ClassQuality(2, momentum=0.9)
    for _ in range(200):
        step(module, (0.8, 0.5, 0))
    assert module.quality[0] == pytest.approx(0.8**0.6 * 0.5**0.4, rel=1e-4)
    assert not list(module.parameters())
    other = ClassQuality(2)
    other.load_state_dict(copy.deepcopy(module.state_dict()))
    assert set(module.state_dict()) == {'quality', 'momentum'}
    assert (other.quality == module.quality).all()
    assert (other.momentum == module.momentum).all()


def test_the_mean_is_over_all_processes(monkeypatch):
    other_rank = torch.tensor([[1.0, 2.0], [3.0, 2.0]])  # sums and counts of the other process
    monkeypatch.setattr(class_quality, 'all_reduce', lambda totals: totals.add_(other_rank))
    module = ClassQuality(2, momentum=0.0)
    step(module, (1.0, 1.0, 0))
    assert module.quality.tolist() == pytest.approx([0.5, 1.0])
