import numpy as np
import pytest
import torch
from shapely import affinity, box

from ssal3d.ops.rotated_boxes import box_iou_rotated, nms_rotated
from tests.helpers.operator_inputs import mmcv_kernel


def boxes(count, spread=20, seed=0):
    generator = np.random.default_rng(seed)
    low, high = (0, 0, 0.5, 0.5, -7), (spread, spread, 5, 3, 7)
    return torch.from_numpy(generator.uniform(low, high, (count, 5))).float()


def mmcv_overlap(a, b, mode='iou', aligned=False):
    result = torch.zeros(len(a) if aligned else len(a) * len(b))
    mmcv_kernel('box_iou_rotated')(a, b, result, mode_flag=int(mode == 'iof'), aligned=aligned)
    return result if aligned else result.view(len(a), len(b))


def overlap_by_polygons(a, b, mode='iou'):
    a, b = [[affinity.translate(affinity.rotate(box(-dx / 2, -dy / 2, dx / 2, dy / 2), yaw, (0, 0), True), x, y)
             for x, y, dx, dy, yaw in boxes.double().tolist()] for boxes in (a, b)]  # fmt: skip
    shared = torch.tensor([[p.intersection(q).area for q in b] for p in a])
    areas_a, areas_b = (torch.tensor([polygon.area for polygon in polygons]) for polygons in (a, b))
    return shared / (areas_a[:, None] if mode == 'iof' else areas_a[:, None] + areas_b - shared)


def mmcv_nms(some, scores, threshold):
    order = scores.sort(0, descending=True)[1]
    labels = torch.zeros(0, dtype=torch.int)
    return mmcv_kernel('nms_rotated')(some, scores, order, some[order], labels, threshold, False)


@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_overlap_is_that_of_polygons(mode):
    a, b = boxes(60), boxes(80, seed=1)
    found = box_iou_rotated(a, b, mode=mode)
    assert (found > 0.1).sum() > 50
    torch.testing.assert_close(found, overlap_by_polygons(a, b, mode), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_overlap_is_that_of_mmcv(mode):
    a, b = boxes(60), boxes(80, seed=1)
    found = box_iou_rotated(a, b, mode=mode)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, mmcv_overlap(a, b, mode), atol=1e-5, rtol=1e-4)
    assert (found > 0.1).sum() > 50
    aligned = box_iou_rotated(a, b[:60], mode=mode, aligned=True)
    torch.testing.assert_close(aligned, mmcv_overlap(a, b[:60], mode, aligned=True), atol=1e-5, rtol=1e-4)


def test_worked_overlaps():
    square = torch.tensor([[0.0, 0, 2, 2, 0]])
    turned = torch.tensor(
        [[0.0, 0, 2, 2, np.pi / 4], [1, 0, 2, 2, 0], [2, 0, 2, 2, 0], [0, 0, 2, 2, np.pi], [0, 0, 0, 2, 0]]
    )
    octagon = 8 * (np.sqrt(2) - 1)  # a unit square's octagon times four
    expected = [octagon / (8 - octagon), 1 / 3, 0, 1, 0]
    assert box_iou_rotated(square, turned)[0].tolist() == pytest.approx(expected, abs=1e-6)
    wide = torch.tensor([[0.0, 0, 4, 2, 0]])
    assert box_iou_rotated(square, wide, mode='iof').item() == pytest.approx(1)
    assert box_iou_rotated(wide, square, mode='iof').item() == pytest.approx(0.5)


@pytest.mark.parametrize('threshold', [0.01, 0.1, 0.5, 0.7, 0.9])
@pytest.mark.parametrize('seed', range(3))
def test_suppression_is_that_of_mmcv(threshold, seed):
    some = boxes(300, spread=12, seed=seed)
    scores = torch.rand(300, generator=torch.Generator().manual_seed(seed))
    kept = nms_rotated(some, scores, threshold)
    assert kept.dtype == torch.int64
    assert kept.tolist() == mmcv_nms(some, scores, threshold).tolist()
    assert nms_rotated(some, scores, threshold, max_kept=7).tolist() == kept[:7].tolist()


def test_suppression_by_definition():
    some, scores = boxes(200, spread=8, seed=5), torch.rand(200, generator=torch.Generator().manual_seed(5))
    overlap = overlap_by_polygons(some, some)
    kept = []
    for index in scores.argsort(descending=True).tolist():
        if all(overlap[other, index] <= 0.3 for other in kept):
            kept.append(index)
    assert nms_rotated(some, scores, 0.3).tolist() == kept


def test_a_very_wide_box_is_compared_with_all():
    some = torch.cat((boxes(50, spread=30), torch.tensor([[15.0, 15, 3000, 3000, 0.3]])))
    scores = torch.cat((torch.linspace(0.1, 0.8, 50), torch.tensor([0.9])))
    assert nms_rotated(some, scores, 1e-9).tolist() == [50]


def test_identical_boxes_and_equality_with_the_threshold():
    some = boxes(1).repeat(5, 1)
    assert nms_rotated(some, torch.tensor([0.1, 0.5, 0.4, 0.3, 0.2]), 0.9).tolist() == [1]
    halves = torch.tensor([[0.0, 0, 2, 2, 0], [0, 0, 4, 2, 0]])  # IoU is 0.5 exactly
    assert nms_rotated(halves, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]  # like the CUDA kernel
    assert nms_rotated(halves, torch.tensor([0.9, 0.8]), 0.4999).tolist() == [0]


def test_nothing_and_bad_boxes():
    none = torch.zeros(0, 5)
    assert nms_rotated(none, torch.zeros(0), 0.5).tolist() == []
    assert box_iou_rotated(none, boxes(3)).shape == (0, 3)
    assert box_iou_rotated(boxes(3), none).shape == (3, 0)
    assert box_iou_rotated(none, none, aligned=True).shape == (0,)
    bad = torch.tensor([[0.0, 0, torch.nan, 2, 0], [0, 0, 2, 2, 0], [0, 0, -1, 2, 0], [torch.inf, 0, 2, 2, 0]])
    overlap = box_iou_rotated(bad, bad)
    assert not overlap[1:3].isnan()[:, 1:3].any()
    assert sorted(nms_rotated(bad, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.1).tolist()) == [0, 1, 2, 3]


def test_the_operators_of_mmcv_use_these_kernels():
    from mmcv.ops import box_iou_rotated as mmcv_iou
    from mmcv.ops import nms_rotated as mmcv_nms_rotated

    from ssal3d import compat

    compat.apply_all()
    some, scores = boxes(40, spread=8), torch.rand(40)
    assert torch.equal(mmcv_iou(some, some), box_iou_rotated(some, some))
    assert torch.equal(
        mmcv_iou(some, some, mode='iof', aligned=True), box_iou_rotated(some, some, mode='iof', aligned=True)
    )
    mirrored = some * torch.tensor([1, 1, 1, 1, -1])
    assert torch.equal(mmcv_iou(some, some, clockwise=False), box_iou_rotated(mirrored, mirrored))
    detections, kept = mmcv_nms_rotated(some, scores, 0.2)
    assert torch.equal(kept, nms_rotated(some, scores, 0.2))
    assert torch.equal(detections, torch.cat((some, scores[:, None]), 1)[kept])
    assert torch.equal(mmcv_nms_rotated(some, scores, 0.2, labels=torch.zeros(40))[1], kept)


@pytest.mark.parametrize('offset', [0, 1])
def test_upright_boxes_are_suppressed_by_definition(offset):
    from mmcv.ops import nms

    from ssal3d import compat

    compat.apply_all()
    generator = torch.Generator().manual_seed(3)
    low, scores = torch.rand(80, 2, generator=generator) * 10, torch.rand(80, generator=generator)
    corners = torch.cat((low, low + 1 + torch.rand(80, 2, generator=generator) * 4), 1)
    shared = torch.minimum(corners[:, None, 2:], corners[:, 2:]) - torch.maximum(corners[:, None, :2], corners[:, :2])
    shared = (shared + offset).clamp(min=0).prod(-1)
    area = (corners[:, 2:] - corners[:, :2] + offset).prod(-1)
    overlap = shared / (area[:, None] + area - shared)
    kept = []
    for index in scores.argsort(descending=True).tolist():
        if all(overlap[other, index] <= 0.4 for other in kept):
            kept.append(index)
    assert nms(corners, scores, 0.4, offset=offset)[1].tolist() == kept
