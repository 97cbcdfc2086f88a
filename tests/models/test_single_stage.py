"""Single-stage detectors: predictions of the stock classes, and extras that belong to the right boxes."""

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from torch.nn import functional

from ssal3d.data.boxes import to_gravity_array
from ssal3d.errors import UserError
from ssal3d.models.bev_features import bev_box_features
from ssal3d.models.dense_cpu import cpu_dense_dtype, has_fast_bfloat16
from ssal3d.models.extraction import Extraction, check_extraction, extracting
from ssal3d.models.pvrcnn import ActivePointVoxelRCNN
from ssal3d.predictions import read_predictions
from ssal3d.predictions.pool_inference import predict_pool, usual_fields
from tests.models.single_stages import BUILDERS, LIMITS, batch, detector, street

DETECTORS = sorted(BUILDERS)
WANTED = Extraction.of(('class_logits', 'box_features', 'gradient'), {'gradient': 'rpn_conv_cls', 'projection': None})


def predict(model, data, wanted=WANTED):
    with torch.no_grad(), extracting(model, wanted):
        return model.test_step(data)


def maps_of(model, data):
    """Return the feature maps that the head reads."""
    inputs = model.data_preprocessor(data)
    with torch.no_grad():
        return model._feature_maps(inputs['inputs'], [sample.metainfo for sample in inputs['data_samples']])


@pytest.mark.parametrize('name', DETECTORS)
def test_weights_fit_the_stock_detector_both_ways_and_predict_the_same(name):
    model, stock = detector(name), detector(name, stock=True)
    assert model.state_dict().keys() == stock.state_dict().keys()
    model.load_state_dict(stock.state_dict(), strict=True)
    with torch.no_grad():
        theirs_list = stock.test_step(batch())
    for ours, theirs in zip(predict(model, batch()), theirs_list, strict=True):
        ours, theirs = ours.pred_instances_3d, theirs.pred_instances_3d
        assert len(ours) > 5
        torch.testing.assert_close(ours.bboxes_3d.tensor, theirs.bboxes_3d.tensor, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours.scores_3d, theirs.scores_3d, atol=1e-5, rtol=1e-4)
        assert torch.equal(ours.labels_3d.long(), theirs.labels_3d.long())


@pytest.mark.parametrize('name', ['pillars', 'second'])
@pytest.mark.parametrize('nms_pre', [30, 100_000])
def test_logits_are_those_of_the_anchor_that_became_the_box(name, nms_pre):
    model = detector(name)
    model.bbox_head.test_cfg.nms_pre = nms_pre
    maps = maps_of(model, batch())
    with torch.no_grad():
        scores, deltas, _ = model.bbox_head(maps)
    anchors = model.bbox_head.prior_generator.grid_anchors([maps[0].shape[-2:]], device='cpu')[0].reshape(-1, 7)
    for frame, sample in enumerate(predict(model, batch())):
        found = sample.pred_instances_3d
        logits = scores[0][frame].permute(1, 2, 0).reshape(-1, 3)
        decoded = model.bbox_head.bbox_coder.decode(anchors, deltas[0][frame].permute(1, 2, 0).reshape(-1, 7))
        assert len(found) > 5
        for box, label, score, own in zip(
            found.bboxes_3d.tensor, found.labels_3d, found.scores_3d, found.class_logits, strict=True
        ):
            same = (decoded[:, :6] - box[:6]).abs().amax(1) < 1e-4  # all but yaw, which the direction may turn
            assert (logits[same] - own).abs().amax(1).min() < 1e-5
            torch.testing.assert_close(own[label].sigmoid(), score)


def test_logits_are_those_of_the_cell_that_became_the_box():
    model = detector('centerpoint')
    with torch.no_grad():
        tasks = [maps for maps, *_ in model.pts_bbox_head(maps_of(model, batch()))]
    heat = torch.cat([maps['heatmap'] for maps in tasks], dim=1)
    for frame, sample in enumerate(predict(model, batch())):
        found = sample.pred_instances_3d
        assert len(found) > 5
        assert {0, 1, 2} & set(found.labels_3d.tolist())
        for box, label, score, own in zip(
            found.bboxes_3d.tensor, found.labels_3d.long(), found.scores_3d, found.class_logits, strict=True
        ):
            offsets = tasks[0 if label < 2 else 1]['reg'][frame]
            rows, columns = torch.meshgrid(*(torch.arange(size) for size in heat.shape[-2:]), indexing='ij')
            x, y = (columns + offsets[0]) * 0.8 + LIMITS[0], (rows + offsets[1]) * 0.8 + LIMITS[1]
            cell = torch.hypot(x - box[0], y - box[1]).argmin()
            torch.testing.assert_close(own, heat[frame].flatten(1)[:, cell])
            torch.testing.assert_close(own[label].sigmoid(), score)


@pytest.mark.parametrize('name', DETECTORS)
@pytest.mark.parametrize('grid', [1, 3])
def test_features_are_interpolated_in_the_map(name, grid):
    model = detector(name, feature_grid=grid)
    maps = maps_of(model, batch())
    assert len(maps) == 1
    cell = 12.8 / maps[0].shape[-1]
    for frame, sample in enumerate(predict(model, batch())):
        found = sample.pred_instances_3d
        for box, own in zip(found.bboxes_3d.tensor.double().numpy()[:8], found.box_features[:8], strict=True):
            expected = []
            for along in (np.arange(grid) + 0.5) / grid - 0.5:
                for across in (np.arange(grid) + 0.5) / grid - 0.5:
                    u, v = along * box[3], across * box[4]
                    x = box[0] + u * np.cos(box[6]) - v * np.sin(box[6])
                    y = box[1] + u * np.sin(box[6]) + v * np.cos(box[6])
                    expected.append(
                        bilinear(maps[0][frame].numpy(), (x - LIMITS[0]) / cell - 0.5, (y - LIMITS[1]) / cell - 0.5)
                    )
            np.testing.assert_allclose(own.numpy(), np.mean(expected, 0), atol=2e-4, rtol=2e-3)


def bilinear(plane, column, row):
    """Weigh the four cells around a place; beyond the border counts the border."""
    height, width = plane.shape[1:]
    column, row = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
    left, low = int(column), int(row)
    right, high = min(left + 1, width - 1), min(low + 1, height - 1)
    u, v = column - left, row - low
    lower = (1 - u) * plane[:, low, left] + u * plane[:, low, right]
    upper = (1 - u) * plane[:, high, left] + u * plane[:, high, right]
    return (1 - v) * lower + v * upper


def test_the_feature_at_a_cell_is_that_cell():
    plane = torch.randn(5, 4, 6)
    boxes = torch.tensor([[2.5, 1.5, 0, 1, 1, 1, 0.3]])
    found = bev_box_features(plane, boxes, [0, 0, -1, 6, 4, 1])
    torch.testing.assert_close(found[0], plane[:, 1, 2])
    assert bev_box_features(plane, boxes[:0], [0, 0, -1, 6, 4, 1]).shape == (0, 5)


@pytest.mark.parametrize('name', DETECTORS)
def test_gradients_are_those_of_autograd(name):
    model = detector(name)
    maps = maps_of(model, batch())
    head = model.head
    for frame, sample in enumerate(predict(model, batch())):
        head.zero_grad()
        if name == 'centerpoint':
            weights, loss = [], 0
            for task, (outputs, *_) in zip(
                head.task_heads, head([level[frame : frame + 1] for level in maps]), strict=True
            ):
                logits = outputs['heatmap']
                probability = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
                centre = (logits > 0).float()
                loss = loss - (centre * (1 - probability) ** 2 * probability.add(1e-12).log()).sum()
                loss = loss - ((1 - centre) * probability**2 * (1 - probability).add(1e-12).log()).sum()
                weights.append(task.heatmap[-1].weight)
        else:
            logits = head.conv_cls(maps[0][frame : frame + 1]).permute(0, 2, 3, 1).reshape(-1, 3)
            best, label = logits.detach().max(1)
            targets = functional.one_hot(label, 3) * (best > 0)[:, None]
            probability = logits.sigmoid()
            off = torch.where(targets > 0, 1 - probability, probability)
            weigh = torch.where(targets > 0, 0.25, 0.75) * off**2
            loss = (
                weigh * functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction='none')
            ).sum()
            weights = [head.conv_cls.weight]
        loss.backward()
        expected = torch.cat([weight.grad.flatten(1) for weight in weights])
        largest = float(expected.abs().max())
        assert largest > 0
        found = sample.frame_predictions['gradient'].reshape(expected.shape)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize('name', DETECTORS)
def test_projected_gradients_are_short_and_what_nobody_reads_is_not_there(name):
    wanted = Extraction.of(('gradient',), {'gradient': 'rpn_conv_cls', 'projection': 2})
    (sample,) = predict(detector(name), batch(1), wanted)
    assert sample.frame_predictions['gradient'].shape == (4,)
    assert 'box_features' not in sample.pred_instances_3d
    (sample,) = predict(detector(name), batch(1), Extraction())
    assert sample.frame_predictions == {}


@pytest.mark.parametrize(
    ('fields', 'options', 'said'),
    [
        (['roi_features'], {}, 'ActiveVoxelNet gives no column .roi_features.; it gives bboxes_3d, box_features'),
        (['mc_scores'], {}, 'ActiveVoxelNet gives no column .mc_scores.'),
        (['gradient'], {'gradient': 'roi_cls'}, "ActiveVoxelNet .* layer 'roi_cls', it has rpn_conv_cls"),
    ],
)
def test_what_cannot_be_given_is_refused_by_name(fields, options, said, tmp_path):
    with pytest.raises(UserError, match=said):
        predict_pool(detector('pillars'), Clouds(2), tmp_path / 'out', fields=fields, extraction=options)
    assert not (tmp_path / 'out').exists()


def test_pvrcnn_gives_all_that_samplers_read():
    fields = ['roi_features', 'roi_valid', 'mc_scores', 'gradient', 'class_logits', 'box_features', 'roi_index']
    check_extraction(ActivePointVoxelRCNN, Extraction.of(fields, {'gradient': 'roi_cls'}))
    with pytest.raises(UserError, match='predicted_loss'):
        check_extraction(ActivePointVoxelRCNN, Extraction.of(['predicted_loss'], {}))


class Clouds(BaseDataset):
    """A view of a few frames without annotations."""

    def __init__(self, frames):
        self.data = batch(frames)
        self.frame_ids = [f'{k:06d}' for k in range(frames)]
        self._metainfo = {'classes': ['Pedestrian', 'Cyclist', 'Car']}

    def __len__(self):
        return len(self.frame_ids)

    def __getitem__(self, index):
        return {
            'inputs': {'points': self.data['inputs']['points'][index]},
            'data_samples': self.data['data_samples'][index],
        }

    def get_data_info(self, index):
        return {}


@pytest.mark.parametrize('name', DETECTORS)
def test_a_pool_is_predicted_with_what_the_detector_has(name, tmp_path):
    model = detector(name)
    assert {'class_logits', 'box_features', 'num_points'} <= set(usual_fields(model))
    predict_pool(model, Clouds(3), tmp_path / 'own', num_workers=0, batch_size=2)
    found = read_predictions(tmp_path / 'own', ['class_logits', 'box_features', 'num_points'])
    assert found.metadata['dense_cpu_dtype'] == 'float32'
    assert found.metadata['detector'] == type(model).__name__
    (sample, *_) = predict(model, batch(3))
    expected = sample.pred_instances_3d
    rows = found.boxes_of(0)
    np.testing.assert_allclose(found.boxes[rows], to_gravity_array(expected.bboxes_3d), atol=1e-4)
    np.testing.assert_allclose(found['class_logits'][rows], expected.class_logits, atol=1e-4)
    np.testing.assert_allclose(found['box_features'][rows], expected.box_features, atol=0.02, rtol=0.01)

    predict_pool(detector(name, stock=True), Clouds(3), tmp_path / 'stock', num_workers=0, batch_size=2)
    stock = read_predictions(tmp_path / 'stock', ['num_points'])
    np.testing.assert_allclose(stock.boxes, found.boxes, atol=1e-4)
    with pytest.raises(UserError, match='class_logits'):
        read_predictions(tmp_path / 'stock', ['class_logits'])


def losses_of(model, data):
    model.train()
    inputs = model.data_preprocessor(data, True)
    return model(**inputs, mode='loss')


@pytest.mark.parametrize('name', DETECTORS)
def test_a_detector_learns_from_boxes_of_seven_values_and_from_empty_frames(name):
    model = detector(name)
    data = batch(boxes=[street(0, 6), ([], [])])
    losses = losses_of(model, data)
    total = sum(sum(value) if isinstance(value, list) else value for value in losses.values())
    total.backward()
    assert torch.isfinite(total)
    assert total > 0
    for parameter, weight in model.named_parameters():
        assert weight.grad is None or torch.isfinite(weight.grad).all(), parameter
    assert model.head.shared_conv.conv.weight.grad.abs().max() > 0 if name == 'centerpoint' else True


@pytest.mark.parametrize('name', ['pillars', 'second'])
def test_losses_are_those_of_the_stock_detector(name):
    boxes = [street(0, 6), street(1, 3)]
    ours, theirs = (losses_of(detector(name, stock=stock), batch(boxes=boxes)) for stock in (False, True))
    assert ours.keys() == theirs.keys()
    for key, (value,) in ours.items():
        torch.testing.assert_close(value, theirs[key][0], rtol=1e-5, atol=1e-6)


def test_bfloat16_changes_the_losses_by_less_than_two_percent():
    boxes = [street(0, 6), street(1, 3)]
    exact = losses_of(detector('pillars'), batch(boxes=boxes))
    rough = losses_of(detector('pillars', dense_cpu_dtype='bfloat16'), batch(boxes=boxes))
    for key, (value,) in exact.items():
        torch.testing.assert_close(rough[key][0], value, rtol=0.02, atol=0)


def test_the_dense_type_depends_on_the_processor_alone():
    assert cpu_dense_dtype('auto') == (torch.bfloat16 if has_fast_bfloat16() else torch.float32)
    assert cpu_dense_dtype('float32') == torch.float32
    with pytest.raises(UserError, match='float16'):
        cpu_dense_dtype('float16')
