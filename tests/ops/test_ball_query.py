import numpy as np
import pytest
import torch

from ssal3d.ops.ball_query import ball_query, stacked_ball_query
from tests.helpers.operator_inputs import clouds, scan


def cuda_kernel(points, centres, inner, outer, samples, nothing):
    """Both CUDA kernels, with the first column of an empty ball as given."""
    result = np.zeros((len(centres), samples), dtype=np.int32)
    inner2, outer2 = (np.float32(radius) * np.float32(radius) for radius in (inner, outer))
    cloud = points.numpy()
    for row, centre in zip(result, centres.numpy(), strict=True):
        difference = centre - cloud
        squared = difference[:, 0] ** 2 + difference[:, 1] ** 2 + difference[:, 2] ** 2
        hits = ((squared == 0) | ((squared >= inner2) & (squared < outer2))).nonzero()[0]
        row[:] = hits[0] if len(hits) else 0
        row[: len(hits[:samples])] = hits[:samples]
        if not len(hits):
            row[0] = nothing
    return result.tolist()


def counts(*numbers):
    return torch.tensor(numbers, dtype=torch.int32)


@pytest.mark.parametrize('name', clouds())
@pytest.mark.parametrize(('radius', 'samples'), [(0.01, 4), (1.0, 16), (3.0, 5), (100.0, 3)])
def test_same_indices_as_the_cuda_kernels(name, radius, samples):
    points = clouds()[name]
    centres = torch.cat((points[::3], points[::5] + 0.7, torch.full((2, 3), 500.0)))
    plain = ball_query(radius / 2, radius, samples, points[None], centres[None])
    assert plain.dtype == torch.int32
    assert plain[0].tolist() == cuda_kernel(points, centres, radius / 2, radius, samples, 0)
    stacked = stacked_ball_query(radius, samples, points, counts(len(points)), centres, counts(len(centres)))
    assert stacked.dtype == torch.int32
    assert stacked.tolist() == cuda_kernel(points, centres, 0.0, radius, samples, -1)


def test_points_exactly_on_the_radius_are_outside():
    points, centre = torch.tensor([[1.0, 0, 0], [0, 0.5, 0]]), torch.zeros(1, 3)
    assert stacked_ball_query(1.0, 2, points, counts(2), centre, counts(1)).tolist() == [[1, 1]]
    assert ball_query(0.5, 1.0, 2, points[None], centre[None]).tolist() == [[[1, 1]]]


def test_every_frame_sees_its_own_points():
    points, centres = clouds()['random'], clouds()['random'][:90] + 0.2
    point_counts, centre_counts = [300, 0, 400], [20, 30, 40]
    found = stacked_ball_query(2.0, 6, points, counts(*point_counts), centres, counts(*centre_counts))
    parts = zip(points.split(point_counts), centres.split(centre_counts), strict=True)
    assert found.tolist() == [row for cloud, around in parts for row in cuda_kernel(cloud, around, 0, 2.0, 6, -1)]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16])
def test_other_types(dtype):
    points = clouds()['random'].to(dtype)
    found = stacked_ball_query(2.0, 6, points, counts(len(points)), points[:50], counts(50))
    exact = points if dtype == torch.float64 else points.float()
    assert found.tolist() == cuda_kernel(exact, exact[:50], 0, 2.0, 6, -1)


def test_nothing_and_bad_points():
    none, some = torch.zeros(0, 3), torch.zeros(2, 3)
    assert stacked_ball_query(1.0, 2, none, counts(0), some, counts(2)).tolist() == [[-1, 0], [-1, 0]]
    assert stacked_ball_query(1.0, 2, some, counts(2), none, counts(0)).shape == (0, 2)
    assert ball_query(0.0, 1.0, 2, none[None], some[None]).tolist() == [[[0, 0], [0, 0]]]
    for bad in (torch.nan, torch.inf):
        points = torch.tensor([[bad, 0, 0], [0, bad, 0], [0, 0, bad], [0.1, 0, 0]])
        centres = torch.cat((some[:1], points[:3]))
        expected = [[3, 3], [-1, 0], [-1, 0], [-1, 0]]
        assert stacked_ball_query(1.0, 2, points, counts(4), centres, counts(4)).tolist() == expected


def test_same_indices_on_a_real_scan(kitti_mini):
    points = scan(kitti_mini, 1)[::2, :3].contiguous()
    centres = points[::97].contiguous()
    found = stacked_ball_query(0.8, 16, points, counts(len(points)), centres, counts(len(centres)))
    assert found.tolist() == cuda_kernel(points, centres, 0, 0.8, 16, -1)
