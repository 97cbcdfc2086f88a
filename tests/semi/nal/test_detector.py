import pytest
from mmdet3d.registry import MODELS
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import TINY


def test_anchors_without_a_mirror_image_are_refused_at_the_start(tmp_path):
    init_default_scope('mmdet3d')
    experiment = read_config(TINY)
    inputs = StageInputs(tmp_path, tmp_path / 'labels.json', None, tmp_path / 'predictions')
    config = STAGES.build(experiment.stages['nal']).build_config(experiment, inputs)
    config.model.detector.rpn_head.anchor_generator.ranges[2] = [0, -6.4, -1.7, 12.8, 7.4, -1.7]
    with pytest.raises(UserError, match=r'found anchors from y = -6\.4 to 7\.4, expected a range symmetric'):
        MODELS.build(config.model)
