"""The stock KITTI configs of MMDetection3D, unchanged, on the CPU: a training step and a prediction on a real frame."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from ssal3d import compat
from tests.helpers.operator_inputs import scan

LIMITS = (0, -40, -3, 70.4, 40, 1)
# Cars of frame 000008 as KITTI's labels place them, roughly, in the LiDAR frame: bottom centre, size, yaw.
CARS = [
    [8.0, 1.2, -1.7, 3.9, 1.6, 1.5, 0.3],
    [14.7, -1.1, -1.6, 3.7, 1.6, 1.5, 0.0],
    [33.6, -7.0, -1.4, 4.1, 1.6, 1.4, 0.1],
]


@pytest.fixture(autouse=True)
def fixes():
    """Fixes in place and one thread: with two, a busy machine can be forty times slower."""
    compat.apply_all()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the samplers of MMDetection use it
    yield
    torch.set_num_threads(threads)


def stock_model(name, **changes):
    import mmdet3d
    from mmdet3d.registry import MODELS
    from mmengine.registry import DefaultScope, init_default_scope

    from ssal3d.models.fast_layers import use_fast_layers

    if DefaultScope.get_current_instance() is None or DefaultScope.get_current_instance().scope_name != 'mmdet3d':
        init_default_scope('mmdet3d')
    config = Config.fromfile(str(Path(mmdet3d.__file__).parent / '.mim' / 'configs' / name))
    config.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    model = MODELS.build(config.model)
    use_fast_layers(model)  # as our runner does
    return model


def labelled(boxes):
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes

    sample = Det3DDataSample(metainfo={'box_type_3d': LiDARInstance3DBoxes})
    tensor = torch.tensor(boxes, dtype=torch.float32).view(-1, 7)
    sample.gt_instances_3d = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(tensor), labels_3d=torch.full((len(tensor),), 2, dtype=torch.long)
    )
    return sample


def train_step(model, clouds, boxes):
    """One step of the optimiser; returns the losses."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    data = {'inputs': {'points': list(clouds)}, 'data_samples': [labelled(rows) for rows in boxes]}
    loss, values = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert all(value.isfinite() for value in values.values())
    optimizer.step()
    assert any(not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    return {name: value.item() for name, value in values.items()}


def predict(model, clouds):
    model.eval()
    with torch.no_grad():
        data = {'inputs': {'points': list(clouds)}, 'data_samples': [labelled([]) for _ in clouds]}
        results = [sample.pred_instances_3d for sample in model.test_step(data)]
    for result in results:
        assert result.bboxes_3d.tensor.isfinite().all()
        assert result.labels_3d.dtype == torch.long
        assert len(result.bboxes_3d) == len(result.scores_3d) == len(result.labels_3d)
    return results


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'losses'),
    [
        (
            'pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py',
            {'rpn_cls', 'rpn_bbox', 'rpn_dir', 'semantic', 'cls', 'bbox', 'corner'},
        ),
        ('second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py', {'cls', 'bbox', 'dir'}),
        ('pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py', {'cls', 'bbox', 'dir'}),
    ],
)
def test_stock_configs_train_and_predict(kitti_mini, name, losses):
    cloud = scan(kitti_mini, 8, LIMITS)
    assert len(cloud) > 10000
    model = stock_model(name)
    found = train_step(model, [cloud], [CARS])
    assert set(found) == {'loss'} | {f'loss_{part}' for part in losses}
    assert len(predict(model, [cloud])[0].bboxes_3d) > 0


SMALL = {  # the stock PV-RCNN in a smaller range with larger voxels and fewer channels
    'data_preprocessor.voxel_layer': {
        'point_cloud_range': [0, -12.8, -3, 25.6, 12.8, 1],
        'voxel_size': [0.2, 0.2, 0.1],
    },
    'middle_encoder.sparse_shape': [41, 128, 128],
    'points_encoder.num_keypoints': 128,
    'points_encoder.voxel_size': [0.2, 0.2, 0.1],
    'points_encoder.point_cloud_range': [0, -12.8, -3, 25.6, 12.8, 1],
    'backbone.layer_nums': [1, 1],
    'rpn_head.anchor_generator.ranges': [[0, -12.8, z, 25.6, 12.8, z] for z in (-0.6, -0.6, -1.78)],
    'train_cfg.rpn_proposal.nms_post': 64,
    'train_cfg.rcnn.sampler.num': 32,
    'test_cfg.rpn.nms_post': 20,
    'test_cfg.rcnn.score_thr': 0.0,
}


@pytest.fixture
def small(kitti_mini):
    """A small PV-RCNN in training mode, and two real frames."""
    model = stock_model('pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py', **SMALL)
    return model, [scan(kitti_mini, frame, (0, -12.8, -3, 25.6, 12.8, 1)) for frame in (8, 1)]


NOTHING = torch.zeros(0, 4)


@pytest.mark.parametrize('boxes', [(CARS, []), ([], CARS), ([], [])])
def test_frames_without_objects_train(small, boxes):
    model, clouds = small
    losses = train_step(model, clouds, boxes)
    if boxes == ([], []):
        assert losses['loss_bbox'] == losses['loss_corner'] == losses['loss_rpn_bbox'] == 0


@pytest.mark.parametrize('empty', [NOTHING, torch.full((5, 4), 90.0)])
@pytest.mark.parametrize('last', [True, False])
def test_frames_without_points_train_and_predict(small, empty, last):
    model, (cloud, _) = small
    clouds = [cloud, empty] if last else [empty, cloud]
    train_step(model, clouds, (CARS, []) if last else ([], CARS))
    assert len(predict(model, clouds)) == 2
    assert len(predict(model, [empty])) == 1


@pytest.fixture
def ours(kitti_mini):
    """The same with our classes, which need no proposals."""
    import ssal3d.register  # noqa: F401

    types = {
        'type': 'ActivePointVoxelRCNN',
        'rpn_head.type': 'ActivePartA2RPNHead',
        'roi_head.type': 'ActivePVRCNNRoiHead',
        'roi_head.bbox_head.type': 'ActivePVRCNNBBoxHead',
    }
    model = stock_model('pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py', **SMALL, **types)
    return model, [scan(kitti_mini, frame, (0, -12.8, -3, 25.6, 12.8, 1)) for frame in (8, 1)]


def test_frames_without_proposals_predict(ours, monkeypatch):
    from mmdet3d.models.dense_heads import PartA2RPNHead

    model, clouds = ours
    predict_proposals = PartA2RPNHead.predict_by_feat

    def none_in(frames):
        def some(self, *args, **kwargs):
            proposals = predict_proposals(self, *args, **kwargs)
            return [part[:0] if frame in frames else part for frame, part in enumerate(proposals)]

        return some

    for frames in ([0], [1], [0, 1]):
        monkeypatch.setattr(PartA2RPNHead, 'predict_by_feat', none_in(frames))
        assert [len(result.bboxes_3d) == 0 for result in predict(model, clouds)] == [k in frames for k in range(2)]


def test_scores_below_every_threshold_leave_no_proposals(ours):
    model, clouds = ours
    model.rpn_head.test_cfg.score_thr = 2.0
    assert [len(result.bboxes_3d) for result in predict(model, clouds)] == [0, 0]


def test_a_frame_gives_the_same_alone_and_in_a_batch(small):
    model, clouds = small
    train_step(model, clouds, (CARS, CARS))  # otherwise all scores are alike
    together = predict(model, clouds)
    for cloud, result in zip(clouds, together, strict=True):
        alone = predict(model, [cloud])[0]
        assert len(alone.bboxes_3d) == len(result.bboxes_3d) > 0
        torch.testing.assert_close(alone.scores_3d, result.scores_3d, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(alone.bboxes_3d.tensor, result.bboxes_3d.tensor, atol=1e-3, rtol=1e-3)


def test_the_same_step_twice_gives_the_same_weights(small):
    import copy

    model, clouds = small
    models = [model, copy.deepcopy(model)]
    for each in models:
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        train_step(each, clouds, (CARS, CARS))
    assert all(map(torch.equal, models[0].parameters(), models[1].parameters()))
