"""HSSDA's detector: what the teacher says becomes labels with weights, missing points and exchanged patches."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet3d.models.middle_encoders import SparseEncoder
from mmdet3d.registry import DATASETS, MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.data.boxes import bottom_to_gravity, to_lidar_boxes
from ssal3d.data.frames import read_dataset_infos
from ssal3d.data.labelled import state_of
from ssal3d.errors import UserError
from ssal3d.models.frame_losses import _roi_targets, _sample
from ssal3d.registry import STAGES
from ssal3d.semi.affine import Affine3D
from ssal3d.semi.hssda.dataset import collate_branches
from ssal3d.semi.hssda.detector import PERMUTATION, TeacherViews, WeightedLabels, paste_candidates
from ssal3d.semi.hssda.label_store import LabelStore
from ssal3d.semi.hssda.levels import CUES, DEFAULTS, FramePrediction, LevelRules, ScoredBoxes
from ssal3d.semi.hssda.mining import mid_labels
from ssal3d.semi.hssda.shuffle import ShuffleSparseEncoder
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import TINY

STILL = dict(flip_x=0.0, rotation=(0.0, 0.0), scale=(1.0, 1.0))  # the student's view is the recorded one
CAR, PEDESTRIAN = 2, 0
THRESHOLDS = {
    name: {'s': (0.9, 0.6), 'r': (0.9, 0.5), 'view_iou': (0.9, 0.7)} for name in ('Pedestrian', 'Cyclist', 'Car')
}
STORED = torch.tensor([[9.5, 3.0, -0.85, 0.8, 0.6, 1.7, 0.0]])  # gravity-centred
MIDDLE = torch.tensor([[6.0, -3.0, -0.95, 4.0, 1.7, 1.5, 0.1]])
LOW = torch.tensor([[6.0, 3.0, -0.95, 4.0, 1.7, 1.5, 0.0]])


@pytest.fixture
def make(street, tmp_path, monkeypatch):
    """Build the run config of the stage with four labelled frames."""
    monkeypatch.setenv('SSAL3D_KITTI', str(street))
    init_default_scope('mmdet3d')

    def build(**method):
        config = read_config(TINY)
        view = DATASETS.build(dict(type='UnlabelledView', dataset=dict(config.pool_dataset, pipeline=[])))
        infos = read_dataset_infos(view.dataset)
        state_of(infos, view.metainfo['classes'], 'tiny', view.frame_ids[:4]).write(tmp_path / 'labels.json')
        stage = STAGES.build({**config.stages['hssda'], 'method': dict(type='HSSDA', **method)})
        return stage, stage.build_config(config, StageInputs(tmp_path / 'run', tmp_path / 'labels.json'))

    return build


def model_of(config):
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model.set_thresholds(THRESHOLDS)
    return model.train()


def dataset_of(config):
    settings = copy.deepcopy(config.train_dataloader.dataset)
    settings.paste = None  # there is no paste database yet
    inner = settings.labelled.dataset
    inner.pipeline = [step for step in inner.pipeline if step['type'] != 'PasteObjects']
    dataset = DATASETS.build(settings)
    dataset.set_epoch(0)
    return dataset


def data_of(model, dataset, *indices):
    return model.data_preprocessor(collate_branches([dataset[index] for index in indices]), True)


def script(model, view):
    """Let the teacher say the same about every frame."""
    model.teacher_views = lambda points, samples, second=True: [view] * len(points)


def said(own, raw):
    """Predictions (box, s, r, class) that the second view confirms with an IoU of 0.8 or more."""
    columns = [torch.cat([row[0] for row in own])] + [torch.tensor([row[k] for row in own]) for k in (1, 2, 3)]
    scored = ScoredBoxes(*columns)
    return TeacherViews(scored, scored, raw)


@pytest.fixture
def scripted(make):
    """A model whose teacher names a middle and a low box, and a batch of an unlabelled frame with a stored label."""
    _, config = make(augmentation=STILL)
    model = model_of(config)
    script(model, said([(MIDDLE, 0.8, 0.7, CAR), (LOW, 0.8, 0.4, CAR)], torch.cat((MIDDLE, LOW, STORED))))
    data = data_of(model, dataset_of(config), 5)
    truth = data['data_samples']['unlabelled'][0].gt_instances_3d
    fields = dict(labels_3d=torch.tensor([PEDESTRIAN]), weights=torch.ones(1))
    data['data_samples']['unlabelled'][0].gt_instances_3d = InstanceData(
        bboxes_3d=truth.bboxes_3d.new_box(to_lidar_boxes(STORED.numpy()).tensor), **fields
    )
    return model, data['inputs'], data['data_samples']


def inside(points, box):
    return (LiDARInstance3DBoxes(box, origin=(0.5, 0.5, 0.5)).points_in_boxes_part(points[:, :3]) >= 0).sum()


def test_levels_become_labels_weights_and_missing_points(scripted):
    model, points, samples = scripted
    (cloud,), (sample,) = model.unlabelled_frames(points, samples)
    truth = sample.gt_instances_3d
    torch.testing.assert_close(bottom_to_gravity(truth.bboxes_3d.tensor), torch.cat((STORED, MIDDLE)))
    assert truth.labels_3d.tolist() == [PEDESTRIAN, CAR]
    torch.testing.assert_close(truth.weights, torch.tensor([1.0, 0.56]))
    recorded = points['unlabelled'][0]
    assert inside(recorded, LOW) > 0
    assert inside(cloud, LOW) == 0
    for kept in (STORED, MIDDLE):
        assert inside(cloud, kept) == inside(recorded, kept)
    assert sorted(sample.metainfo[PERMUTATION].tolist()) == [0, 1, 2, 3]


def test_pedestrians_have_no_middle_level(make):
    _, config = make(augmentation=STILL)
    model = model_of(config)
    script(model, said([(MIDDLE, 0.8, 0.7, PEDESTRIAN)], MIDDLE))
    data = data_of(model, dataset_of(config), 5)
    (cloud,), (sample,) = model.unlabelled_frames(data['inputs'], data['data_samples'])
    assert not len(sample.gt_instances_3d.labels_3d)
    assert inside(cloud, MIDDLE) == 0


def published(config, model, data, low):
    """What a mining with the model's teacher stores of an unlabelled frame, with thresholds that mine nothing."""
    thresholds = {name: {cue: (2.0, low) for cue in CUES} for name in model.classes}
    model.set_thresholds(thresholds)
    (sample,) = data['data_samples']['unlabelled']
    frame_id = sample.metainfo['frame_id']
    (view,) = model.teacher_views(data['inputs']['unlabelled'], [sample])
    dataset = config.train_dataloader.dataset
    ids = DATASETS.build(dataset.unlabelled).frame_ids
    store = LabelStore.create(dataset.store, dict.fromkeys(ids), model.classes)
    rules = LevelRules.of(thresholds, model.classes, model.no_mid)
    found = [FramePrediction(frame_id, view.original, view.other)]
    store.publish({}, 0, thresholds, mid=mid_labels(found, store, {}, rules))
    return store.mid_of(frame_id)


@pytest.mark.parametrize(('low', 'found'), [(-1.0, True), (2.0, False)])
def test_the_last_mining_knew_what_the_same_teacher_says_now(make, low, found):
    _, config = make(augmentation=STILL)
    dataset, online = dataset_of(config), model_of(config)
    mid = published(config, online, data_of(online, dataset, 5), low)
    assert bool(len(mid)) == found
    dataset.set_generation(1)
    config.model.mid_level = 'from_last_mining'
    later, calls = model_of(config), []
    later.set_thresholds({name: DEFAULTS for name in later.classes})  # not needed any more
    views = later.teacher_views
    later.teacher_views = lambda points, samples, second=True: calls.append(second) or views(points, samples, second)
    results = []
    for model in (online, later):
        data = data_of(model, dataset, 5)
        torch.manual_seed(1)
        results.append(model.unlabelled_frames(data['inputs'], data['data_samples']))
    ((cloud,), (sample,)), ((same_cloud,), (same_sample,)) = results
    assert torch.equal(cloud, same_cloud)  # the low level spares the same labels
    truth, same = sample.gt_instances_3d, same_sample.gt_instances_3d
    assert torch.equal(truth.bboxes_3d.tensor, same.bboxes_3d.tensor)
    assert torch.equal(truth.labels_3d, same.labels_3d)
    assert torch.equal(truth.weights, same.weights)
    assert torch.equal(sample.mid.scores, same_sample.mid.scores)
    assert calls == [False]
    later.wants_low = False
    later.unlabelled_frames(data['inputs'], data['data_samples'])
    assert calls == [False]


def test_weights_reach_exactly_what_belongs_to_the_middle_box(scripted):
    """Spec 7.7.4, against brute force: the box that a positive target decodes to, and any overlap of RoIs."""
    model, points, samples = scripted
    _, (sample,) = model.unlabelled_frames(points, samples)
    head, truth, meta = model.student.rpn_head, sample.gt_instances_3d, sample.metainfo
    grid = head.get_anchors([(16, 16)], [meta], device='cpu')[0][0]
    anchors = grid.reshape(-1, 7)

    def targets(own):
        maps = head.anchor_target_3d([[grid.clone()]], [copy.deepcopy(own)], [meta], num_classes=head.num_classes)
        return [kind[0][0] for kind in maps[:4]]

    plain = copy.deepcopy(truth)
    del plain.weights
    labels, label_weights, residuals, box_weights = targets(truth)
    _, plain_labels, _, plain_boxes = targets(plain)
    positive = (labels >= 0) & (labels < head.num_classes)
    assert set(labels[positive].tolist()) == {PEDESTRIAN, CAR}
    decoded = head.bbox_coder.decode(anchors[positive], residuals[positive])
    middle = torch.zeros_like(positive)
    middle[positive] = (decoded[:, :2] - MIDDLE[:, :2]).norm(dim=1) < 0.1
    assert middle.any()
    assert (positive & ~middle).any()
    expected = torch.where(middle, 0.56, 1.0)
    torch.testing.assert_close(label_weights, plain_labels * expected)
    torch.testing.assert_close(box_weights, plain_boxes * expected[:, None])

    boxes = truth.bboxes_3d.tensor
    rois = torch.cat(
        (boxes, boxes + torch.tensor([0.1, 0.05, 0, 0, 0, 0, 0]), boxes + torch.tensor([3.0] * 2 + [0] * 5))
    )
    proposals = InstanceData(bboxes_3d=LiDARInstance3DBoxes(rois), labels_3d=truth.labels_3d.repeat(3))
    proposals.scores_3d = torch.rand(6)
    result = _sample(model.student.roi_head, proposals, truth)
    touched = (
        LiDARInstance3DBoxes(result.bboxes).overlaps(LiDARInstance3DBoxes(result.bboxes), truth.bboxes_3d)[:, 1] > 0
    )
    assert touched.any()
    assert not touched.all()
    weighted, unweighted = (_roi_targets(model.student.roi_head, result, own, meta) for own in (truth, plain))
    for kind in (4, 5):
        torch.testing.assert_close(weighted[kind], unweighted[kind] * torch.where(touched, 0.56, 1.0))


def test_labelled_frames_are_never_shuffled(make, monkeypatch):
    _, config = make()
    model, seen = model_of(config), []
    forward = ShuffleSparseEncoder.forward

    def spy(self, features, coordinates, batch_size):
        seen.append(None if self.permutations is None else [own is None for own in self.permutations])
        return forward(self, features, coordinates, batch_size)

    monkeypatch.setattr(ShuffleSparseEncoder, 'forward', spy)
    data = data_of(model, dataset_of(config), 0, 5, 1)
    model(**data, mode='loss')
    assert seen == [None, [True, True, False]]  # the teacher, then the student


def test_all_frames_count_alike_and_either_kind_may_be_missing(make):
    _, config = make(augmentation=STILL, shuffle=True)
    model = model_of(config)
    dataset, outputs = dataset_of(config), []
    joint = model.frame_outputs
    model.frame_outputs = lambda *frames: outputs.append(joint(*frames)) or outputs[-1]
    for indices in ((0, 1, 5), (5, 6), (0, 1)):
        torch.manual_seed(1)
        losses = model(**data_of(model, dataset, *indices), mode='loss')
        assert len(outputs[-1]) == len(indices)
        for name in outputs[-1][0].losses:
            expected = torch.stack([output.losses[name].sum() for output in outputs[-1]]).mean()
            torch.testing.assert_close(losses[name], expected)
        total, _ = model.parse_losses(losses)
        assert torch.isfinite(total)
        total.backward()


def test_the_teacher_is_in_evaluation_mode_and_sees_no_labels(make):
    _, config = make()
    model, calls = model_of(config), []
    predict = model.teacher.predict

    def spy(inputs, samples, **kwargs):
        calls.append(len(samples))
        assert not any(module.training for module in model.teacher.modules())
        assert not model.data_preprocessor.training
        assert not any('gt_instances_3d' in sample and len(sample.gt_instances_3d) for sample in samples)
        return predict(inputs, samples, **kwargs)

    model.teacher.predict = spy
    model(**data_of(model, dataset_of(config), 0, 5, 6), mode='loss')
    assert calls == [4]  # two views of two frames
    assert model.data_preprocessor.training
    assert model.student.training


def test_the_second_view_is_fixed_and_mapped_back(make):
    """A teacher that finds the same place in whatever it is shown says the same on both views."""
    _, config = make()
    model = model_of(config)
    place = torch.tensor([[6.0, -2.0, -1.7, 4.0, 1.7, 1.5, 0.3]])
    moves = []

    def teacher(points, samples):
        refined = InstanceData(bboxes_3d=place.repeat(2, 1), scores_3d=torch.tensor([0.5, 0.05]))
        found = []
        for number, sample in enumerate(samples):
            move = model.view_of(sample.metainfo['frame_id']) if number >= len(samples) // 2 else Affine3D()
            moves.append(move)
            boxes = InstanceData(
                bboxes_3d=LiDARInstance3DBoxes(move.boxes(place)),
                scores_3d=torch.tensor([0.9]),
                rpn_scores_3d=torch.tensor([0.8]),
                labels_3d=torch.tensor([CAR]),
            )
            found.append(SimpleNamespace(pred_instances_3d=boxes, refined_rois=refined))
        return found

    model.teacher_samples = teacher
    data = data_of(model, dataset_of(config), 5, 6)
    for view in model.teacher_views(data['inputs']['unlabelled'], data['data_samples']['unlabelled']):
        torch.testing.assert_close(view.other.boxes, bottom_to_gravity(place), atol=1e-5, rtol=0)
        torch.testing.assert_close(view.original.boxes, bottom_to_gravity(place))
        assert len(view.raw) == 1  # not the one below 0.1
    assert all(move.flip_x and abs(move.angle) <= math.pi / 4 and 0.91 <= move.scale <= 1.12 for move in moves[2:])
    assert moves[2] != moves[3]
    assert model.view_of('000005') == model_of(config).view_of('000005')


def test_candidates_are_pasted_where_no_label_is():
    boxes = torch.cat((MIDDLE, LOW))
    labels = WeightedLabels(MIDDLE + torch.tensor([1.0, 0, 0, 0, 0, 0, 0]), torch.tensor([CAR]), torch.tensor([0.56]))
    candidates = InstanceData(boxes=boxes, labels=torch.tensor([CAR, PEDESTRIAN]))
    owned = InstanceData(points=torch.cat((MIDDLE[:, :4], LOW[:, :4], LOW[:, :4])), owner=torch.tensor([0, 1, 1]))
    points = torch.cat((LOW[:, :4] + 0.2, MIDDLE[:, :4] + 0.2))
    cloud, joined = paste_candidates(points, labels, candidates, owned)
    torch.testing.assert_close(cloud, torch.cat((owned.points[1:], points[1:])))  # its own points make room
    torch.testing.assert_close(joined.boxes, torch.cat((labels.boxes, LOW)))
    assert joined.classes.tolist() == [CAR, PEDESTRIAN]
    assert joined.weights.tolist() == pytest.approx([0.56, 1.0])


def test_the_stage_shuffles_in_training_only(make):
    stage, config = make()
    assert isinstance(model_of(config).student.middle_encoder, ShuffleSparseEncoder)
    plain = MODELS.build(stage.detector_config(config).model)
    assert type(plain.middle_encoder) is SparseEncoder
    plain.load_state_dict(model_of(config).student.state_dict(), strict=True)
    _, config = make(shuffle=False)
    assert type(model_of(config).student.middle_encoder) is SparseEncoder
    config.model.shuffle = True
    with pytest.raises(UserError, match='ShuffleSparseEncoder'):
        MODELS.build(config.model)


def test_an_epoch_has_every_frame_once(make):
    dataset = dataset_of(make()[1])
    kinds = [next(iter(dataset[index])) for index in range(len(dataset))]
    assert kinds == ['labelled'] * 4 + ['unlabelled'] * 8
    frames = [dataset[index]['unlabelled']['data_samples'].metainfo['frame_id'] for index in range(4, 12)]
    assert len(set(frames)) == 8
    assert np.intersect1d(frames, dataset.dataset.frame_ids).size == 0
