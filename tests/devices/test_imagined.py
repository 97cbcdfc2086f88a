"""The imagined GPU refuses what a real one refuses, computes what the CPU computes, and counts."""

import numpy as np
import pytest
import torch
from mmcv import ops
from torch import nn

from ssal3d import compat
from ssal3d.ops.sampling import furthest_point_sample
from ssal3d.ops.voxelize import hard_voxelize, hard_voxelize_by_sorting
from tests.devices.imagined import DEVICE, DeviceError, ImaginedGPU, OnGPU

compat.apply_preferences()


@pytest.fixture
def gpu():
    with ImaginedGPU() as device:
        yield device


@pytest.fixture
def values(gpu):
    return torch.arange(6.0).view(2, 3).to(DEVICE)


def test_values_go_there_and_come_back(gpu, values):
    assert isinstance(values, OnGPU)
    assert values.device == DEVICE
    assert values.cpu().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torch.tensor([1.5, 2], device=DEVICE).tolist() == [1.5, 2]
    assert torch.as_tensor(np.array([7]), device=DEVICE).tolist() == [7]
    assert values.new_tensor([3]).tolist() == [3]
    assert torch.full((2,), 4, device=DEVICE).tolist() == [4, 4]
    assert values[:, [2, 0]].tolist() == [[2, 0], [5, 3]]
    values[values > 3] = 9
    assert values.tolist() == [[0, 1, 2], [3, 9, 9]]


def test_a_network_learns_there_as_on_the_cpu():
    def weights_after_a_step(device):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1)).to(
            device
        )
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        network(torch.arange(32.0).view(2, 1, 4, 4).to(device)).square().mean().backward()
        optimizer.step()
        return [value.detach().cpu() for value in network.state_dict().values()]

    expected = weights_after_a_step('cpu')
    with ImaginedGPU():
        found = weights_after_a_step(DEVICE)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    'mixture',
    [
        lambda values: values + torch.ones(3),
        lambda values: torch.cat((values, torch.ones(1, 3))),
        lambda values: torch.ones(2, 3) @ values.T,
        lambda values: torch.where(values > 0, values, torch.ones(2, 3)),
        lambda values: torch.ones(2)[values[0].long() > 0],
        lambda values: values.index_put((values > 0,), torch.ones(5)),
        lambda values: nn.functional.linear(values, torch.ones(1, 3)),
    ],
)
def test_operands_on_two_devices_are_refused(values, mixture):
    with pytest.raises(DeviceError):
        mixture(values)


def test_numbers_and_indices_may_come_from_the_cpu(values):
    assert (values * torch.tensor(2.0)).tolist() == [[0, 2, 4], [6, 8, 10]]
    assert values[torch.tensor([1])].tolist() == [[3, 4, 5]]


def test_numbers_of_the_host_divide_by_their_reciprocal(gpu):
    """As ``div_true_kernel_cuda`` does: 1.3 / 0.1 is just below 13 in single precision, 1.3 * (1 / 0.1) is 13."""
    by_reciprocal = torch.arange(1.0, 200).to(DEVICE) / 49
    exact = torch.arange(1.0, 200).to(DEVICE) / torch.full((), 49.0, device=DEVICE)
    assert exact.tolist() == (torch.arange(1.0, 200) / 49).tolist()
    assert by_reciprocal.tolist() == (torch.arange(1.0, 200) * (1 / torch.tensor(49.0))).tolist() != exact.tolist()
    assert (torch.arange(4, device=DEVICE) / 2).tolist() == [0, 0.5, 1, 1.5]


def test_voxels_of_points_on_borders_are_those_of_the_cpu(gpu):
    size, limits = (0.05, 0.05, 0.1), (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
    cells = torch.rand(3000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1408.0, 1600, 40])
    points = cells.floor() * torch.tensor(size) + torch.tensor(limits[:3])
    expected = hard_voxelize(points, size, limits, 5, 4000)
    *found, number = hard_voxelize_by_sorting(points.to(DEVICE), size, limits, 5, 4000)
    assert int(number) == len(expected[0])
    assert [part[: len(expected[0])].tolist() for part in found] == [part.tolist() for part in expected]


def test_kernels_for_the_cpu_are_refused(values):
    with pytest.raises((RuntimeError, TypeError)):
        values.numpy()
    with pytest.raises((RuntimeError, TypeError)):
        np.asarray(values)


def test_the_operators_of_mmcv_run_there_and_check_their_arguments(gpu):
    cloud = torch.rand(1, 50, 3, generator=torch.Generator().manual_seed(0))
    expected = furthest_point_sample(cloud, 9)
    assert torch.equal(ops.furthest_point_sample(cloud.to(DEVICE), 9).cpu(), expected)
    centres = cloud[:, :9].contiguous()
    found = ops.ball_query(0.0, 0.5, 4, cloud.to(DEVICE), centres.to(DEVICE))
    assert torch.equal(found.cpu(), ops.ball_query(0.0, 0.5, 4, cloud, centres))
    with pytest.raises(DeviceError, match='on the CPU'):
        ops.ball_query(0.0, 0.5, 4, cloud, centres.to(DEVICE))
    with pytest.raises(TypeError, match='to numpy'):
        ops.ball_query(0.0, 0.5, 4, cloud.to(DEVICE), centres)
    with pytest.raises(DeviceError, match='mixed precision'):
        ops.ball_query(0.0, 0.5, 4, cloud.to(DEVICE), centres.half().to(DEVICE))
    with pytest.raises(DeviceError, match='no rows'):
        ops.box_iou_rotated(torch.zeros(0, 5).to(DEVICE), torch.ones(2, 5).to(DEVICE))


def test_kernels_and_waits_are_counted(gpu, values):
    gpu.reset()
    doubled = values.view(3, 2) * 2
    assert sum(gpu.kernels.values()) == 1
    assert not gpu.waits
    float(doubled.sum())
    doubled[doubled > 2]
    doubled.cpu()
    torch.ones(2).to(DEVICE)
    assert {kind: count for (kind, _), count in gpu.waits.items()} == {
        'local_scalar_dense': 1,
        'boolean index': 1,
        'copy to the CPU': 1,
        'copy to the GPU': 1,
    }


def test_numbers_of_the_device_in_a_list_are_read_one_by_one(gpu, values):
    gpu.reset()
    flat = values.flatten()
    made = torch.tensor([flat[0], flat[1], 7.0], device=DEVICE)
    assert isinstance(made, OnGPU)
    assert made.tolist() == [*flat[:2].tolist(), 7.0]
    assert gpu.waits[next(key for key in gpu.waits if key[0] == 'local_scalar_dense')] == 2


def test_nothing_of_it_is_left_behind():
    make = torch.tensor
    with ImaginedGPU():
        assert torch.tensor is not make
    assert torch.tensor is make
    with pytest.raises(DeviceError, match='switched off'):
        OnGPU(torch.ones(1)) + 1
