"""Every method teaches and predicts with the numbers of RoIs that it was released with."""

import pytest

from ssal3d.configs import read_config
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs


@pytest.mark.parametrize('name', ['normal', 'threedioumatch', 'joint3d', 'nal', 'hssda', 'cpsp'])
def test_a_frame_teaches_128_rois_and_a_teacher_keeps_100(name, tmp_path):
    experiment = read_config('ssal3d::ssal/pvrcnn_kitti.py')
    inputs = StageInputs(tmp_path / name, tmp_path / 'labels.json', tmp_path / 'x.pth', tmp_path / 'predictions')
    model = STAGES.build(dict(experiment.stages[name])).build_config(experiment, inputs).model
    detector = model.get('detector', model)
    assert detector.train_cfg.rcnn.sampler.num == 128
    assert detector.test_cfg.rpn.nms_post == detector.test_cfg.rpn.max_num == 100
