"""A pass over a pool on the imagined GPU: the columns of every sampler are those of the CPU."""

import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes

from ssal3d import compat
from ssal3d.predictions import pool_inference, read_predictions
from tests.devices import steps
from tests.devices.imagined import DEVICE, ImaginedGPU

compat.apply_preferences()

USUAL = pool_inference.USUAL_FIELDS
TARGETS = ('roi_features', 'roi_valid', 'roi_scores_target', 'roi_residuals_target')
COLUMNS = {  # columns, how they are extracted, changes to the detector
    'usual': (USUAL, {}, {}),
    'class quality': (USUAL, {}, {'class_quality': {}}),
    'CRB': ((*USUAL, 'gradient', 'mc_scores', 'mc_residuals'), {'gradient': 'shared_fc', 'mc_passes': 2}, {}),
    'BADGE, score branch': (('gradient',), {'gradient': 'roi_cls'}, {}),
    'BADGE, anchors': (('gradient',), {'gradient': 'rpn_conv_cls'}, {}),
    'KECOR': (TARGETS, {}, {}),
    'LLAL': (('predicted_loss',), {}, {'type': 'LossPredictingPVRCNN'}),
}


class Pool:
    """Four frames of different size, with annotations for the columns that want them."""

    frame_ids = tuple('abcd')
    metainfo = {'classes': ['Pedestrian', 'Cyclist', 'Car']}  # noqa: RUF012

    def __len__(self):
        return len(self.frame_ids)

    def __getitem__(self, index):
        points = steps.cloud(index, 1000 if index % 2 else 400)
        return {'inputs': {'points': points}, 'data_samples': steps.sample(None)}

    def get_data_info(self, index):
        boxes = LiDARInstance3DBoxes(torch.tensor(steps.BOXES))
        return {'ann_info': {'gt_bboxes_3d': boxes, 'gt_labels_3d': np.array([steps.CAR, steps.CYCLIST])}}


def predict(model, folder, fields, extraction):
    pool_inference.predict_pool(
        model, Pool(), folder, fields=fields, extraction=extraction, batch_size=2, num_workers=0, frames_per_part=2
    )
    return read_predictions(folder, fields)


@pytest.mark.parametrize('name', list(COLUMNS))
def test_the_columns_are_those_of_the_cpu(tmp_path, name):
    fields, extraction, changes = COLUMNS[name]
    model = steps.build(steps.supervised(**changes)).eval()
    expected = predict(model, tmp_path / 'cpu', fields, extraction)
    with ImaginedGPU() as gpu:
        found = predict(model.to(DEVICE), tmp_path / 'gpu', fields, extraction)
        assert sum(gpu.kernels.values()) > 1000  # it really ran there
    assert len(expected.boxes) > 5
    assert found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    for column in fields:
        ours, theirs = (np.asarray(getattr(one[column], 'values', one[column]), float) for one in (found, expected))
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3 * max(1.0, np.nanmax(np.abs(theirs), initial=0)))
