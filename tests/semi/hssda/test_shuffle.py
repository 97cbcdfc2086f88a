"""The shuffle takes apart and puts together again: points, voxels, sparse tensors and dense features."""

from itertools import permutations

import numpy as np
import pytest
import torch
from mmdet3d.models.middle_encoders import SparseEncoder
from mmdet3d.registry import MODELS
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.errors import UserError
from ssal3d.ops.voxelize import dynamic_voxelize
from ssal3d.semi.hssda.shuffle import (
    check_quadrants,
    draw_permutation,
    shuffle_points,
    unshuffle_indices,
    unshuffle_map,
)

ALL = [torch.tensor(order) for order in permutations(range(4))]
IDENTITY = torch.arange(4)
KITTI, VOXEL = (0, -40, -3, 70.4, 40, 1), (0.05, 0.05, 0.1)
GRID = (40, 1600, 1408)


def kitti_cloud(points=20000, dtype=torch.float32, decimals=3):
    """A cloud whose coordinates are rounded to millimetres as in KITTI: every 50th lies on the face of a voxel."""
    rng = np.random.default_rng(0)
    cloud = torch.tensor(rng.uniform((*KITTI[:3], 0), (*KITTI[3:], 1), (points, 4)).round(decimals), dtype=dtype)
    return cloud[voxels(cloud)[:, 0] >= 0]  # rounded up to the rim is outside


def voxels(points):
    return dynamic_voxelize(points, VOXEL, KITTI)


class TestPoints:
    def test_round_trip(self):
        cloud = kitti_cloud(2000)
        for permutation in ALL:
            shuffled = shuffle_points(cloud, permutation, KITTI)
            assert torch.equal(shuffled[:, 2:], cloud[:, 2:])
            torch.testing.assert_close(shuffle_points(shuffled, permutation.argsort(), KITTI), cloud, atol=2e-4, rtol=0)

    def test_each_quadrant_moves_as_a_whole(self):
        """Brute force in double precision: which quadrant, where to, how far."""
        cloud = kitti_cloud(2000, torch.float64, decimals=6)
        corners = torch.tensor([[0, -40], [35.2, -40], [0, 0], [35.2, 0]], dtype=torch.float64)
        for permutation in ALL:
            shuffled = shuffle_points(cloud, permutation, KITTI, VOXEL)
            for row, point in enumerate(cloud[:200, :2]):
                quadrant = int(point[0] >= 35.2) + 2 * int(point[1] >= 0)
                expected = point - corners[quadrant] + corners[permutation[quadrant]]
                torch.testing.assert_close(shuffled[row, :2], expected, atol=1e-9, rtol=0)

    def test_identity(self):
        cloud = kitti_cloud()
        assert torch.equal(shuffle_points(cloud, IDENTITY, KITTI, VOXEL), cloud)

    def test_points_outside_stay_there(self):
        outside = torch.tensor([[70.4, 0, 0, 1], [-0.01, 0, 0, 1], [5, 40, 0, 1], [5, float('nan'), 0, 1]])
        for permutation in ALL:
            shuffled = shuffle_points(outside, permutation, KITTI, VOXEL)
            torch.testing.assert_close(shuffled, outside, rtol=0, atol=0, equal_nan=True)
        assert shuffle_points(outside[:0], ALL[5], KITTI).shape == (0, 4)

    def test_rounding_carries_no_point_across_the_rim(self):
        """35.2 m further, the last number below 35.2 would be rounded up to 70.4, outside of the range."""
        cloud = torch.tensor([[np.nextafter(np.float32(35.2), np.float32(0)), 1, 0, 1]])
        swap = torch.tensor([1, 0, 3, 2])
        for size in (None, VOXEL):
            shuffled = shuffle_points(cloud, swap, KITTI, size)
            assert voxels(shuffled)[0].tolist() == [30, 820, 1407]
            torch.testing.assert_close(shuffled, cloud + torch.tensor([35.2, 0, 0, 0]), atol=2e-4, rtol=0)


class TestIndices:
    @pytest.mark.parametrize('stride', [1, 2, 4, 8])
    def test_voxels_agree_exactly(self, stride):
        cloud = kitti_cloud()
        shape = [size // stride for size in GRID]
        before = voxels(cloud)
        assert len(before) > 19900
        expected = torch.cat((torch.zeros_like(before[:, :1]), before // stride), 1)
        for permutation in ALL:
            shuffled = voxels(shuffle_points(cloud, permutation, KITTI, VOXEL))
            shuffled = torch.cat((expected[:, :1], shuffled // stride), 1)
            found = unshuffle_indices(shuffled, [permutation], shape)
            assert found.dtype == torch.int32
            assert torch.equal(found, expected)
            assert len(found.unique(dim=0)) == len(shuffled.unique(dim=0))
            again = voxels(
                shuffle_points(shuffle_points(cloud, permutation, KITTI, VOXEL), permutation.argsort(), KITTI, VOXEL)
            )
            assert torch.equal(again, before)

    def test_frames_without_permutation_are_untouched(self):
        indices = torch.tensor([[0, 1, 2, 3], [1, 1, 2, 3], [2, 1, 2, 3]], dtype=torch.int32)
        found = unshuffle_indices(indices, [None, torch.tensor([3, 1, 2, 0]), None], (4, 8, 8))
        assert found.tolist() == [[0, 1, 2, 3], [1, 1, 6, 7], [2, 1, 2, 3]]

    def test_uneven_grid(self):
        with pytest.raises(UserError, match='found a grid of 7 by 8 voxels along x and y, expected even numbers'):
            unshuffle_indices(torch.zeros(1, 4, dtype=torch.int32), [IDENTITY], (4, 8, 7))


def test_dense_features_as_their_voxels():
    rng = torch.Generator().manual_seed(0)
    shape = (1, 6, 8)
    indices = torch.cartesian_prod(torch.arange(2), torch.arange(1), torch.arange(6), torch.arange(8))
    features = torch.rand(len(indices), 3, generator=rng)
    for permutation in ALL:
        dense = torch.zeros(2, 3, 6, 8)
        dense[indices[:, 0], :, indices[:, 2], indices[:, 3]] = features
        moved = unshuffle_indices(indices, [permutation, None], shape)
        expected = torch.zeros(2, 3, 6, 8)
        expected[moved[:, 0], :, moved[:, 2], moved[:, 3]] = features
        assert torch.equal(unshuffle_map(dense, [permutation, None]), expected)


def test_draws_all_permutations():
    generator = torch.Generator().manual_seed(0)
    drawn = {tuple(draw_permutation(generator).tolist()) for _ in range(300)}
    assert len(drawn) == 24
    torch.manual_seed(3)
    first = draw_permutation()
    torch.manual_seed(3)
    assert torch.equal(draw_permutation(), first)


def test_quadrants_must_fit_the_strides():
    check_quadrants(KITTI, VOXEL)
    check_quadrants((-75.2, -75.2, -2, 75.2, 75.2, 4), (0.1, 0.1, 0.15))
    with pytest.raises(UserError, match=r'quadrants of 35 m along x, expected a multiple of 0\.4 m'):
        check_quadrants((0, -40, -3, 70, 40, 1), VOXEL)
    with pytest.raises(UserError, match=r'quadrants of 39\.9 m along y'):
        check_quadrants((0, -39.9, -3, 70.4, 39.9, 1), VOXEL)


class TestEncoder:
    NEAR, SHAPE = (0, -6.4, -3, 12.8, 6.4, 1), [41, 256, 256]

    @pytest.fixture(scope='class')
    def encoders(self):
        init_default_scope('mmdet3d')
        settings = dict(
            in_channels=4,
            sparse_shape=self.SHAPE,
            order=('conv', 'norm', 'act'),
            encoder_paddings=((0, 0, 0), ((1, 1, 1), 0, 0), ((1, 1, 1), 0, 0), ((0, 1, 1), 0, 0)),
            return_middle_feats=True,
        )
        torch.manual_seed(0)
        stock = SparseEncoder(**settings).eval()
        own = MODELS.build(dict(type='ShuffleSparseEncoder', **settings)).eval()
        assert own.load_state_dict(stock.state_dict()).missing_keys == []
        assert list(own.state_dict()) == list(stock.state_dict())
        return stock, own

    def voxels(self, permutations_):
        """Voxels of random frames, of which some are shuffled."""
        rng, rows = np.random.default_rng(0), []
        for frame, permutation in enumerate(permutations_):
            cloud = torch.tensor(rng.uniform(self.NEAR[:3], self.NEAR[3:], (1500, 3)).round(3), dtype=torch.float32)
            if permutation is not None:
                cloud = shuffle_points(cloud, permutation, self.NEAR, VOXEL)
            found = dynamic_voxelize(cloud, VOXEL, self.NEAR)
            found = found[found[:, 0] >= 0]
            _, first = np.unique(found.numpy(), axis=0, return_index=True)  # in the order of points, shuffled or not
            rows.append(torch.nn.functional.pad(found[np.sort(first)], (1, 0), value=frame))
        indices = torch.cat(rows)
        features = torch.rand(len(indices), 4, generator=torch.Generator().manual_seed(1))
        return features, indices

    def test_identity_and_unset_change_nothing(self, encoders):
        stock, own = encoders
        features, indices = self.voxels([None, None])
        with torch.no_grad():
            expected, expected_middle = stock(features, indices, 2)
            for permutations_ in (None, [None, None], [IDENTITY, None], [IDENTITY, IDENTITY]):
                own.permutations = permutations_
                dense, middle = own(features, indices, 2)
                assert torch.equal(dense, expected)
                for tensor, other in zip(middle, expected_middle):
                    assert torch.equal(tensor.indices, other.indices)
                    assert torch.equal(tensor.features, other.features)
        own.permutations = None

    def test_mixed_batch(self, encoders):
        """The shuffled frame comes back, the other is untouched; inputs agree voxel by voxel."""
        stock, own = encoders
        swap = torch.tensor([2, 0, 3, 1])
        features, indices = self.voxels([None, swap])
        plain = self.voxels([None, None])[1]
        assert torch.equal(unshuffle_indices(indices, [None, swap], self.SHAPE), plain)
        with torch.no_grad():
            raw, raw_middle = stock(features, indices, 2)
            with own.unshuffling([None, swap]):
                dense, middle = own(features, indices, 2)
            assert own.permutations is None
            expected, expected_middle = stock(features, plain, 2)
        assert torch.equal(dense[0], raw[0])
        assert torch.equal(dense[1, :, :16, :16], raw[1, :, 16:, :16])  # place 0 went to place 2
        for tensor, other, unshuffled in zip(middle, raw_middle, expected_middle):
            first = tensor.indices[:, 0] == 0
            assert torch.equal(tensor.features, other.features)
            assert torch.equal(tensor.indices[first], other.indices[first])
            assert tensor.indices[:, 0].tolist() == sorted(tensor.indices[:, 0].tolist())
            assert len(tensor.indices.unique(dim=0)) == len(other.indices)
            assert tensor.indice_dict == {}
            assert tensor.spatial_shape == other.spatial_shape == unshuffled.spatial_shape
        assert torch.equal(middle[0].indices, expected_middle[0].indices)  # stride 1: no voxel spreads
        # Far from the seams between patches nothing was different.
        inner = (slice(None), slice(6, 10), slice(6, 10))
        torch.testing.assert_close(dense[1][inner], expected[1][inner])
        assert dense[1][inner].abs().sum() > 0

    def test_last_middle_features_agree_with_the_dense_result(self, encoders):
        """The final convolution acts along z only, so a column is active in both or in none."""
        _, own = encoders
        swap = torch.tensor([3, 2, 0, 1])
        features, indices = self.voxels([swap])
        with torch.no_grad(), own.unshuffling([swap]):
            dense, middle = own(features, indices, 1)
        active = torch.zeros(32, 32, dtype=torch.bool)
        active[middle[-1].indices[:, 2].long(), middle[-1].indices[:, 3].long()] = True
        found = (dense[0] != 0).any(0)
        assert (found <= active).all()
        assert found.sum() > 0.9 * active.sum()

    def test_gradients_flow(self, encoders):
        _, own = encoders
        swap = torch.tensor([1, 0, 3, 2])
        features, indices = self.voxels([swap])
        features.requires_grad_()
        with own.unshuffling([swap]):
            own(features, indices, 1)[0].sum().backward()
        assert features.grad.abs().sum() > 0

    def test_permutations_of_another_batch(self, encoders):
        _, own = encoders
        features, indices = self.voxels([None, None])
        message = 'found 1 permutations, expected one for each of 2 frames'
        with torch.no_grad(), own.unshuffling([IDENTITY]), pytest.raises(ValueError, match=message):
            own(features, indices, 2)
        assert own.permutations is None
