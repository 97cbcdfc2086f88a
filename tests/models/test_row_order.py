"""PV-RCNN whose strided sparse convolutions number their rows as a hash table does: nothing else may change."""

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.registry import init_default_scope
from spconv.pytorch import ops

import ssal3d.register  # noqa: F401
from ssal3d.compat.mmdet3d_fixes import in_row_order
from ssal3d.configs import read_config
from tests.helpers.operator_inputs import renumbered
from tests.helpers.paths import TINY


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmdet3d')
    torch.manual_seed(0)
    model = MODELS.build(read_config(TINY).model)
    model.init_weights()
    return model.eval()


@pytest.fixture
def clouds():
    """Two frames of different size, the first with many points in each voxel's surroundings."""
    generator = torch.Generator().manual_seed(1)
    cloud = torch.rand(1500, 4, generator=generator) * torch.tensor([12.8, 12, 2, 1]) - torch.tensor([0, 6, 2, 0])
    return cloud[:1000], cloud[1000:]


@pytest.fixture
def hashed(monkeypatch):
    """Every strided convolution numbers its rows at random, in another order at each call."""
    original, shuffled = ops.get_indice_pairs, []

    def pairs(*arguments):
        found = original(*arguments)
        if arguments[9]:  # submanifold: the rows are those of the input
            return found
        shuffled.append(len(found[0]))
        return renumbered(*found)

    monkeypatch.setattr(ops, 'get_indice_pairs', pairs)
    return shuffled


def encode(model, clouds):
    """The dense map, the rows of all levels, and the features of the key points."""
    seen = {}
    hooks = [
        model.middle_encoder.register_forward_hook(
            lambda _, __, output: seen.update(dense=output[0], levels=output[1])
        ),
        model.points_encoder.register_forward_hook(lambda _, __, output: seen.update(output)),
    ]
    samples = [Det3DDataSample(metainfo={'box_type_3d': LiDARInstance3DBoxes}) for _ in clouds]
    with torch.no_grad():
        model.test_step({'inputs': {'points': list(clouds)}, 'data_samples': samples})
    for hook in hooks:
        hook.remove()
    rows = [level.indices.tolist() for level in seen['levels']]
    return {'dense': seen['dense'], 'keypoints': seen['keypoint_features'], 'rows': rows}


@pytest.mark.usefixtures('hashed')
def test_a_frame_means_the_same_alone_and_in_a_batch(model, clouds):
    both = encode(model, clouds)['keypoints']
    alone = torch.cat([encode(model, [cloud])['keypoints'] for cloud in clouds])
    torch.testing.assert_close(both, alone)


@pytest.mark.usefixtures('hashed')
def test_the_same_frames_give_the_same_twice(model, clouds):
    first, second = encode(model, clouds), encode(model, clouds)
    torch.testing.assert_close(first['keypoints'], second['keypoints'])
    assert first['rows'] == second['rows']


def test_rows_in_any_order_give_what_sorted_rows_give(model, clouds, monkeypatch, request):
    expected = encode(model, clouds)
    shuffled = request.getfixturevalue('hashed')
    found = encode(model, clouds)
    assert len(shuffled) == 4  # three levels and the output
    assert min(shuffled) > 30
    torch.testing.assert_close(found['dense'], expected['dense'])
    torch.testing.assert_close(found['keypoints'], expected['keypoints'])
    assert found['rows'] == expected['rows']
    assert all(rows == sorted(rows) for rows in found['rows'][1:])  # by frame, z, y, x
    assert [row[0] for row in found['rows'][0]] == sorted(row[0] for row in found['rows'][0])


@pytest.mark.usefixtures('hashed')
def test_without_sorting_key_points_see_other_frames(model, clouds, monkeypatch):
    """What the tests above would miss if the rows had been in order anyway."""
    monkeypatch.setattr('ssal3d.compat.mmdet3d_fixes.in_row_order', lambda level: level)
    both = encode(model, clouds)['keypoints']
    alone = torch.cat([encode(model, [cloud])['keypoints'] for cloud in clouds])
    assert (both - alone).norm() > 0.1 * alone.norm()


@pytest.mark.usefixtures('hashed')
def test_gradients_reach_the_voxels_that_they_belong_to(model, clouds, monkeypatch):
    """The features of a level are gathered in another order; what flows back must be scattered the same way."""
    from spconv.pytorch import SparseConvTensor

    indices = torch.tensor([[1, 0, 0, 1], [0, 2, 1, 0], [0, 0, 3, 2], [1, 0, 0, 0]], dtype=torch.int32)
    features = torch.arange(4.0)[:, None].requires_grad_()
    level = in_row_order(SparseConvTensor(features, indices, [3, 4, 4], 2))
    assert level.indices.tolist() == sorted(indices.tolist())
    assert level.features.flatten().tolist() == [2, 1, 3, 0]
    (level.features.flatten() * torch.tensor([10.0, 20, 30, 40])).sum().backward()
    assert features.grad.flatten().tolist() == [40, 20, 10, 30]


def test_rows_in_order_are_left_alone():
    from spconv.pytorch import SparseConvTensor

    level = SparseConvTensor(torch.rand(2, 1), torch.tensor([[0, 1, 1, 1], [1, 0, 0, 0]]).int(), [2, 2, 2], 2)
    assert in_row_order(level) is level
    empty = SparseConvTensor(torch.rand(0, 1), torch.zeros(0, 4).int(), [2, 2, 2], 2)
    assert in_row_order(empty) is empty
