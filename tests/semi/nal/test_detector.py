import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import TINY
from tests.models import single_stages


def test_anchors_without_a_mirror_image_are_refused_at_the_start(tmp_path):
    init_default_scope('mmdet3d')
    experiment = read_config(TINY)
    inputs = StageInputs(tmp_path, tmp_path / 'labels.json', None, tmp_path / 'predictions')
    config = STAGES.build(experiment.stages['nal']).build_config(experiment, inputs)
    config.model.detector.rpn_head.anchor_generator.ranges[2] = [0, -6.4, -1.7, 12.8, 7.4, -1.7]
    with pytest.raises(UserError, match=r'found anchors from y = -6\.4 to 7\.4, expected a range symmetric'):
        MODELS.build(config.model)


@pytest.mark.parametrize('name', ['pillars', 'second'])
def test_a_single_stage_learns_from_labels_and_from_its_mirror_image(name):
    init_default_scope('mmdet3d')
    config = single_stages.BUILDERS[name]()
    preprocessor = dict(config.pop('data_preprocessor'), type='SemiDataPreprocessor')
    options = dict(type='NAL3D', detector=config, classes=['Pedestrian', 'Cyclist', 'Car'], threshold=0.0)
    torch.manual_seed(0)
    model = MODELS.build(Config(dict(model=dict(**options, data_preprocessor=preprocessor))).model).train()
    frames = [(np.array([[6.0, 1, -1.6, 3.9, 1.6, 1.5, 0.2]], np.float32), np.array([2]))] * 2
    data = single_stages.batch(2, boxes=frames)
    data = {
        branch: {
            'inputs': {'points': [data['inputs']['points'][number]]},
            'data_samples': [data['data_samples'][number]],
        }
        for number, branch in enumerate(('labelled', 'student'))
    }
    for branch in data.values():
        branch['data_samples'][0].set_metainfo({'box_type_3d': LiDARInstance3DBoxes})
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    expected = {'loss_cls', 'loss_bbox', 'loss_dir'}
    expected |= {f'unlabelled_{key}' for key in expected} | {'unlabelled_loss_mirror'}
    assert expected <= losses.keys()
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(torch.isfinite(losses[key]).all() for key in expected)
    assert model.student.bbox_head.conv_cls.weight.grad.abs().sum() > 0
