"""Models and batches of every training stage, small and the same in every process."""

import copy
from pathlib import Path

import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import TINY
from tools.gpu_checks.norms import input_statistics

CAR, CYCLIST = 2, 1  # labels
BOXES = [[6.0, 0.0, -1.7, 4.0, 1.7, 1.5, 0.1], [9.5, 3.0, -1.7, 1.8, 0.6, 1.7, -0.4]]  # bottom-centred


EVERYTHING = {  # options with which a teacher of random weights gives labels
    'threedioumatch': {'t_iou': 0.0, 't_sem': 0.0},
    'joint3d': {'t_score': 0.0, 'min_iou': 0.0},
    'nal': {},
    'hssda': {},
}


def experiment():
    """The tiny experiment's config; RoIs of random weights are near enough to boxes to be positive."""
    init_default_scope('mmdet3d')
    config = read_config(TINY)
    for assigner in config.model.train_cfg.rcnn.assigner:
        assigner.pos_iou_thr = assigner.neg_iou_thr = assigner.min_pos_iou = 0.1
    return config


def supervised(**changes):
    """The config of the plain detector.

    Args:
        **changes: ``type``: another detector; ``class_quality``: options of the RoI head.
    """
    model = copy.deepcopy(experiment().model)
    model.type = changes.get('type', model.type)
    if 'class_quality' in changes:
        model.roi_head.class_quality = changes['class_quality']
    return model


def method(name, folder=Path('unused'), **options):
    """The config of a method's student and teacher.

    Args:
        name: Stage of the tiny experiment.
        folder: Where its data would be.
        **options: Options of the method.
    """
    config = experiment()
    entry = copy.deepcopy(dict(config.stages[name]))
    judged = {} if name == 'hssda' else {'precision_interval': 1}  # the share of right labels is told at every step
    entry['method'] = {**entry.get('method', {}), **EVERYTHING[name], **judged, **options}
    if name == 'nal':
        entry |= {'tau': 0.0, 'min_points': 0}
    stage = STAGES.build(entry)
    inputs = StageInputs(folder, folder / 'labels.json', folder / 'start.pth', folder / 'predictions')
    return stage.build_config(config, inputs).model


def build(config, seed=0):
    """A model with random weights that depend on the seed alone, in training mode."""
    torch.manual_seed(seed)
    model = MODELS.build(Config({'model': config}).model)
    model.init_weights()
    for head in (part for name, part in model.named_modules() if name.endswith('rpn_head')):
        with torch.no_grad():  # scores spread over (0, 1) and not beyond: none hangs on the last bits of a near tie
            head.conv_cls.weight.mul_(15)
    _calibrate(model)
    if hasattr(model, 'set_thresholds'):
        cues = {'s': (0.3, 0.05), 'r': (0.01, 0.001), 'view_iou': (0.5, 0.01)}
        model.set_thresholds(dict.fromkeys(model.classes, cues))
    return model.train()


@torch.no_grad()
def _calibrate(model):
    """Fill the running statistics of batch normalisation from a batch."""
    detector = getattr(model, 'student', model)
    torch.nn.Module.train(detector, True)
    inputs = model.data_preprocessor(batch('supervised'), True)['inputs']
    with input_statistics(detector):
        features = detector.extract_feat(inputs)
        detector.extract_points_feat(inputs, features, [])
    if getattr(model, 'teacher', None) is not None:
        model.teacher.load_state_dict(model.student.state_dict())


def cloud(seed, points=1000):
    """A plane with a car and a cyclist of points on it."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(count, size, low):
        return torch.rand(count, 4, generator=generator) * torch.tensor([*size, 1.0]) + torch.tensor([*low, 0.0])

    parts = [uniform(points, (12.8, 12, 0.1), (0, -6, -1.8))]
    parts += [uniform(150, box[3:6], (box[0] - box[3] / 2, box[1] - box[4] / 2, box[2])) for box in BOXES]
    return torch.cat(parts)


def sample(boxes=BOXES, frame='000000', **values):
    """A data sample with annotations, or without for ``boxes=None``."""
    made = Det3DDataSample(metainfo={'box_type_3d': LiDARInstance3DBoxes, 'frame_id': frame, 'sample_idx': 0})
    if boxes is not None:
        made.gt_instances_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(torch.tensor(boxes).view(-1, 7)),
            labels_3d=torch.tensor([CAR, CYCLIST][: len(boxes)]),
            **values,
        )
    return made


def batch(name):
    """Two labelled frames, or a labelled and an unlabelled one as the method's data set would give them."""
    clouds = [cloud(1), cloud(2, 500)]
    if name == 'supervised':
        return {'inputs': {'points': clouds}, 'data_samples': [sample(), sample()]}
    labelled = {'inputs': {'points': clouds[:1]}, 'data_samples': [sample()]}
    if name == 'hssda':
        return {'labelled': labelled, 'unlabelled': {'inputs': {'points': clouds[1:]}, 'data_samples': [_mined()]}}
    boxes = BOXES if name == 'nal' else None
    views = {
        view: {'inputs': {'points': [clouds[1].clone()]}, 'data_samples': [sample(boxes)]}
        for view in ('teacher', 'student')
    }
    return {'labelled': labelled, **views}


def _mined():
    """An unlabelled frame of HSSDA with a mined label, one of the middle level, and a candidate for pasting."""
    made = sample(BOXES[:1], weights=torch.ones(1))
    boxes = torch.tensor([[10.0, -3.0, -0.9, 4.0, 1.7, 1.5, 0.0], [3.0, 4.0, -0.9, 1.8, 0.6, 1.7, 0.2]])
    made.mined_mid = InstanceData(
        boxes=boxes[:1], labels=torch.tensor([CAR]), scores=torch.tensor([0.5]), weights=torch.tensor([0.4])
    )
    made.candidates = InstanceData(boxes=boxes[1:], labels=torch.tensor([CYCLIST]))
    made.candidate_points = InstanceData(
        points=torch.cat((boxes[1:, :3].repeat(7, 1), torch.rand(7, 1)), 1), owner=torch.zeros(7, dtype=torch.long)
    )
    return made
