import math

import numpy as np
import pytest
import torch

from ssal3d.ops.sampling import furthest_point_sample, furthest_point_sample_with_dist
from tests.helpers.operator_inputs import clouds, scan


def cuda_kernel(distance_to, count, wanted):
    """The CUDA kernel, thread by thread: each scans every T-th point, then a tree of comparisons finds the best."""
    threads = max(min(1 << int(math.log(count) / math.log(2)), 1024), 1)
    nearest = np.full(count, 1e10, dtype=np.float32)
    chosen = [0]
    while len(chosen) < wanted:
        nearest = np.minimum(nearest, distance_to(chosen[-1]))
        best, best_at = np.full(threads, -1, np.float32), np.zeros(threads, int)
        for start in range(0, count, threads):  # all threads take one step
            part = nearest[start : start + threads]
            better = part > best[: len(part)]
            best_at[: len(part)] = np.where(better, start + np.arange(len(part)), best_at[: len(part)])
            best[: len(part)] = np.where(better, part, best[: len(part)])
        half = threads // 2
        while half >= 1:
            better = best[half : 2 * half] > best[:half]
            best_at[:half] = np.where(better, best_at[half : 2 * half], best_at[:half])
            best[:half] = np.maximum(best[:half], best[half : 2 * half])
            half //= 2
        chosen.append(int(best_at[0]))
    return chosen


def squared_distances(points):
    values = points.numpy().astype(np.float32)

    def distance_to(index):
        difference = values - values[index]
        squares = difference * difference
        return squares[:, 0] + squares[:, 1] + squares[:, 2]

    return distance_to


@pytest.mark.parametrize('name', clouds())
@pytest.mark.parametrize('wanted', [1, 2, 33, 200])
def test_same_choice_as_the_cuda_kernel(name, wanted):
    points = clouds()[name]
    chosen = furthest_point_sample(points[None], wanted)
    assert chosen.dtype == torch.int32
    assert chosen[0].tolist() == cuda_kernel(squared_distances(points), len(points), wanted)


@pytest.mark.parametrize('count', [1, 2, 3, 63, 64, 65, 127, 512, 1023, 1024, 1025, 2050])
def test_ties_fall_as_in_the_reduction_tree(count):
    points = torch.randint(0, 4, (count, 3), generator=torch.Generator().manual_seed(count)).float()
    chosen = furthest_point_sample(points[None], min(count, 50))
    assert chosen[0].tolist() == cuda_kernel(squared_distances(points), count, min(count, 50))


def test_same_choice_on_a_real_scan(kitti_mini):
    points = scan(kitti_mini, 0)[:, :3]
    assert len(points) > 15000
    assert furthest_point_sample(points[None], 2048)[0].tolist() == cuda_kernel(
        squared_distances(points), len(points), 2048
    )


def test_frames_are_independent_and_views_are_allowed():
    points = torch.randn(2, 50, 8)[..., 2:5]
    both = furthest_point_sample(points, 9)
    assert both.shape == (2, 9)
    for frame in range(2):
        assert (both[frame] == furthest_point_sample(points[frame : frame + 1].contiguous(), 9)).all()


@pytest.mark.parametrize('count', [1, 7, 300])
def test_sampling_by_given_distances(count):
    table = torch.randint(0, 9, (count, count), generator=torch.Generator().manual_seed(1)).float()
    chosen = furthest_point_sample_with_dist(table[None], 40)
    assert chosen[0].tolist() == cuda_kernel(lambda index: table[index].numpy(), count, 40)


def test_no_points_or_bad_points_are_named():
    with pytest.raises(ValueError, match='cannot sample 3 points from none'):
        furthest_point_sample(torch.zeros(1, 0, 3), 3)
    with pytest.raises(ValueError, match='not finite'):
        furthest_point_sample(torch.tensor([[[0.0, 0, 0], [1, torch.nan, 0]]]), 2)
    assert furthest_point_sample(torch.zeros(1, 4, 3), 0).shape == (1, 0)
