"""Points of objects that stay in their voxels, against the voxel layer itself."""

import numpy as np
import pytest
import torch
from mmdet3d.models.data_preprocessors.voxelize import VoxelizationByGridShape

from ssal3d.checks.points import check_points, kept_shares
from ssal3d.checks.subject import Subject
from ssal3d.configs import read_config

LIMITS, SIZE = [0, -8, -3, 16, 8, 1], [0.5, 0.5, 4]
POLE, FAR = [4.25, 0.25, -1, 0.4, 0.4, 2, 0.3], [12, 4, -1, 2, 2, 2, 0]


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    pole = rng.normal((4.25, 0.25, -1.0), (0.05, 0.05, 0.3), (60, 3))
    return np.concatenate((rng.uniform(LIMITS[:3], LIMITS[3:], (3000, 3)), pole)).astype(np.float32)


@pytest.mark.parametrize('most', [1, 4, 100])
def test_a_box_around_everything_keeps_what_the_voxel_layer_keeps(points, most):
    layer = VoxelizationByGridShape(LIMITS, most, voxel_size=SIZE, max_voxels=(9999, 9999))
    kept = layer(torch.from_numpy(points))[2].sum().item()
    around = [[8, 0, -1, 17, 17, 5, 0]]
    assert kept_shares(points, np.array(around), LIMITS, SIZE, most)[0] == pytest.approx(kept / len(points))


def test_full_voxels_lose_points_as_often_as_the_layer_drops_them(points):
    boxes, most = np.array([POLE, FAR]), 8
    layer = VoxelizationByGridShape(LIMITS, most, voxel_size=SIZE, max_voxels=(9999, 9999))
    rng, found = np.random.default_rng(1), []
    marked = np.column_stack((points, np.arange(len(points)))).astype(np.float32)
    pole = np.arange(3000, 3060)
    for _ in range(200):
        voxels, _, counts = layer(torch.from_numpy(rng.permutation(marked)))
        slots = torch.arange(voxels.shape[1]) < counts[:, None]
        found.append(np.isin(voxels[slots][:, 3].numpy(), pole).sum() / len(pole))
    share, far = kept_shares(points, boxes, LIMITS, SIZE, most)
    assert share == pytest.approx(np.mean(found), abs=0.02)
    assert share < 0.2
    assert far > 0.5


def test_boxes_without_points_are_unknown(points):
    outside, empty = [40, 0, -1, 4, 2, 2, 0], [3, 3, -2.9, 0.01, 0.01, 0.01, 0]
    assert np.isnan(kept_shares(points, np.array([outside, empty]), LIMITS, SIZE, 8)).all()


def checked(points, **changes):
    config = read_config('ssal3d::ssal/pillars_sim.py')
    config.merge_from_dict({f'model.data_preprocessor.voxel_layer.{key}': value for key, value in changes.items()})
    frames = [(points, np.array([POLE, FAR]), np.array(['Pedestrian', 'Cyclist']))] * 2
    return check_points(Subject(config.to_dict()), frames)


def test_a_class_that_loses_most_of_its_points_is_named(points):
    outcome = checked(points, max_num_points=8)
    [finding] = outcome.findings
    assert (finding.severity, finding.key) == ('warning', 'model.data_preprocessor.voxel_layer.max_num_points')
    assert finding.found.startswith('8: of an average Pedestrian ')
    assert 'of a Cyclist' in outcome.looked_at
    assert 'Car' not in outcome.looked_at


def test_shipped_settings_and_layers_without_a_limit_lose_little(points):
    assert not checked(points).findings
    assert checked(points, max_num_points=-1).looked_at == 'the detector keeps every point'
