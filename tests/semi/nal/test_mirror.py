"""NAL's mirror consistency against worked values, brute force and mmdet3d's own anchors."""

import math

import numpy as np
import pytest
import torch
from mmdet3d.models.task_modules.anchor import Anchor3DRangeGenerator
from mmdet3d.models.task_modules.coders import DeltaXYZWLHRBBoxCoder
from torch.nn.functional import conv2d

from ssal3d.errors import UserError
from ssal3d.semi.affine import Affine3D
from ssal3d.semi.nal.mirror import check_mirror_symmetry, mirror_consistency, mirror_rpn_maps

ANCHORS, CLASSES, HEIGHT, WIDTH = 6, 3, 8, 5


def toy_rpn(scene):
    """Convolutions that are symmetric in y (H) but for the y and yaw residuals, which are odd."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(ANCHORS * outputs, 2, 3, 3, generator=generator) for outputs in (CLASSES, 7)]
    odd = torch.tensor([code in (1, 6) for code in range(7)] * ANCHORS)[:, None, None, None]
    cls = (weights[0] + weights[0].flip(2)) / 2
    reg = (weights[1] + torch.where(odd, -1, 1) * weights[1].flip(2)) / 2
    return conv2d(scene, cls, padding=1), conv2d(scene, reg, padding=1)


def views(seed=0):
    scene = torch.randn(2, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    return toy_rpn(scene), toy_rpn(scene.flip(2))


def test_symmetric_rpn_is_consistent():
    here, there = views()
    assert mirror_consistency(*here, *there) > 0.1
    back = mirror_rpn_maps(*there)
    torch.testing.assert_close(back, here)
    assert mirror_consistency(*here, *back).item() == pytest.approx(0, abs=1e-8)
    for axis in ('y', 'x'):
        twice = mirror_rpn_maps(*mirror_rpn_maps(*here, axis=axis), axis=axis)
        assert torch.equal(twice[0], here[0])
        assert torch.equal(twice[1], here[1])


@pytest.mark.parametrize('axis', ['y', 'x'])
def test_mirrored_maps_decode_to_mirrored_boxes(axis):
    """Residuals on mmdet3d's anchors: the whole layout, its signs and the anchor of 1.57 are right."""
    size = [[0.8, 0.6, 1.73], [1.76, 0.6, 1.73], [3.9, 1.6, 1.56]]
    ranges = [[-8, -16, z, 8, 16, z] for z in (-0.6, -0.6, -1.78)]
    generator = Anchor3DRangeGenerator(ranges, size, rotations=[0, 1.57], reshape_out=False)
    anchors = generator.grid_anchors([(HEIGHT, WIDTH)], device='cpu')[0].reshape(-1, 7)
    torch.manual_seed(0)
    cls, reg = torch.randn(1, ANCHORS * CLASSES, HEIGHT, WIDTH), torch.randn(1, ANCHORS * 7, HEIGHT, WIDTH) * 0.3

    def boxes(cls, reg):  # as the head decodes them
        rows = reg.permute(0, 2, 3, 1).reshape(-1, 7), cls.permute(0, 2, 3, 1).reshape(-1, CLASSES)
        order = rows[1][:, 0].argsort()  # the same boxes are at other places of the list
        return DeltaXYZWLHRBBoxCoder.decode(anchors, rows[0])[order], rows[1][order]

    (found, logits), (expected, expected_logits) = boxes(*mirror_rpn_maps(cls, reg, axis=axis)), boxes(cls, reg)
    expected = Affine3D(flip_x=axis == 'y', flip_y=axis == 'x').boxes(expected)
    assert torch.equal(logits, expected_logits)
    torch.testing.assert_close(found[:, :6], expected[:, :6], atol=1e-5, rtol=1e-5)
    half_turns = (found[:, 6] - expected[:, 6]) / math.pi
    torch.testing.assert_close(half_turns, half_turns.round(), atol=0.002, rtol=0)  # 1.57 is no quarter turn


def single_box(view):
    """Maps with one object, left of its anchor's centre in the scene, right of it in the mirrored one."""
    cls = torch.full((1, ANCHORS * CLASSES, HEIGHT, WIDTH), -8.0)
    reg = torch.zeros(1, ANCHORS * 7, HEIGHT, WIDTH)
    row = 2 if view == 'scene' else HEIGHT - 1 - 2
    cls[0, 4 * CLASSES + 1, row, 3] = 4
    reg[0, 4 * 7 : 5 * 7, row, 3] = torch.tensor([0.1, 0.2, 0, 0, 0, 0, 0.3])
    if view == 'mirrored':
        reg[0, [4 * 7 + 1, 4 * 7 + 6], row, 3] *= -1
    return cls, reg


@pytest.mark.parametrize(('code', 'expected'), [(1, 0.4**2 / 7), (6, 0.6**2 / 7)])
def test_sign_errors_are_seen(code, expected):
    here, there = single_box('scene'), mirror_rpn_maps(*single_box('mirrored'))
    assert mirror_consistency(*here, *there).item() == 0
    there[1][:, code::7] *= -1
    assert mirror_consistency(*here, *there).item() == pytest.approx(expected, rel=1e-5)


def test_mirror_consistency_against_a_loop():
    (cls_a, reg_a), (cls_b, reg_b) = views(1)
    cls_a, cls_b = cls_a - 3, cls_b - 3
    total, count = 0.0, 0
    for frame, anchor, row, column in np.ndindex(2, ANCHORS, HEIGHT, WIDTH):
        of_class = slice(anchor * CLASSES, (anchor + 1) * CLASSES)
        p, q = (maps[frame, of_class, row, column].double().sigmoid() for maps in (cls_a, cls_b))
        if max(p.max(), q.max()) > 0.3:
            kl = [(a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log()).sum() for a, b in ((p, q), (q, p))]
            own = slice(anchor * 7, (anchor + 1) * 7)
            total += sum(kl) / 2 + (reg_a - reg_b)[frame, own, row, column].double().square().mean()
            count += 1
    assert 20 < count < 2 * ANCHORS * HEIGHT * WIDTH - 20
    found = mirror_consistency(cls_a, reg_a, cls_b, reg_b)
    assert found.item() == pytest.approx(float(total / count), rel=1e-5)
    assert mirror_consistency(cls_b, reg_b, cls_a, reg_a) == found


def test_mirror_consistency_moves_both_views_and_stays_finite():
    maps = [value.requires_grad_() for view in (single_box('scene'), single_box('mirrored')) for value in view]
    mirror_consistency(*maps).backward()
    assert all(value.grad.abs().sum() > 0 for value in maps)
    extreme = torch.full((1, CLASSES, 1, 1), 200.0).requires_grad_()
    loss = mirror_consistency(extreme, torch.zeros(1, 7, 1, 1), -extreme, torch.zeros(1, 7, 1, 1))
    loss.backward()
    assert loss.isfinite()
    assert extreme.grad.isfinite().all()
    for value in maps:
        value.grad = None
    nothing = mirror_consistency(*maps, threshold=1.0)
    nothing.backward()
    assert nothing == 0
    assert all((value.grad == 0).all() for value in maps)


def test_anchors_without_a_mirror_image():
    symmetric = [[0, -40, -1, 70, 40, -1]]
    check_mirror_symmetry([0, 1.57], symmetric)
    with pytest.raises(UserError, match=r'rotation of 0\.8'):
        check_mirror_symmetry([0, 0.8], symmetric)
    with pytest.raises(UserError, match='symmetric about x'):
        check_mirror_symmetry([0, 1.57], symmetric, axis='x')
