"""Every training stage learns from a handful of real frames, and those with pseudo labels find some."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

import ssal3d.register  # noqa: F401
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import SOURCES
from ssal3d.configs import read_config
from ssal3d.data.infos import read_infos
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.labelled import state_of
from ssal3d.models.loading import load_detector
from ssal3d.predictions import PoolPredictions, read_predictions
from ssal3d.predictions.pool_inference import predict_pool
from ssal3d.registry import STAGES
from ssal3d.semi.detector import SemiDetector3D
from ssal3d.stages.run import train_stage
from ssal3d.stages.supervised import StageInputs, SupervisedStage, pool_view, view_config
from tests.helpers.paths import CONFIGS

# Neighbours in a drive past parked cars: what a detector learns from the first it can find in the others.
LABELLED = ('900138', '900141', '900146', '900150')
UNLABELLED = ('900140', '900143', '900144', '900147', '900148')
HELD_OUT = ('900152',)

START = 'normal'
METHODS = ('cpsp', 'threedioumatch', 'joint3d', 'nal', 'hssda')
FALL = 0.99  # of the loss of the labelled frames; without learning it stays what it was to the last digit
PREDICTION = dict(batch_size=2, num_workers=0)

pytestmark = pytest.mark.slow


class Drive(NamedTuple):
    """The experiment's config, with the frames converted, and a folder for its stages."""

    config: Config
    folder: Path


class Trained(NamedTuple):
    """A finished stage: its inputs, the plain detector's config and checkpoint."""

    inputs: StageInputs
    config: Config
    checkpoint: Path


@pytest.fixture(scope='module')
def drive(kitti_mini, tmp_path_factory):
    """Ten real frames, four of them labelled, and a checkpoint of random weights."""
    folder = tmp_path_factory.mktemp('drive')
    link_frames(kitti_mini, folder / 'kitti')
    convert_kitti(folder / 'kitti', folder / 'data', workers=1)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv('SSAL3D_KITTI', str(folder / 'data'))
        init_default_scope('mmdet3d')
        config = read_config(CONFIGS / 'few_frames.py')
        infos = read_infos(folder / 'data' / 'kitti_infos_train.pkl')
        state_of(infos, config.pool_dataset.metainfo.classes, 'drive', LABELLED).write(folder / 'labels.json')
        set_random_seed(0)
        detector = MODELS.build(config.model)
        detector.init_weights()
        torch.save({'state_dict': detector.state_dict()}, folder / 'random.pth')
        yield Drive(config, folder)


def link_frames(source: Path, root: Path) -> None:
    """Make a folder in the KITTI layout of the drive's frames."""
    for kind, suffix in (('velodyne', '.bin'), ('label_2', '.txt'), ('calib', '.txt')):
        (root / 'training' / kind).mkdir(parents=True)
        for frame in (*LABELLED, *UNLABELLED, *HELD_OUT):
            name = f'training/{kind}/{frame}{suffix}'
            (root / name).symlink_to(source / name)
    (root / 'ImageSets').mkdir()
    for split, frames in (('train', (*LABELLED, *UNLABELLED)), ('val', HELD_OUT)):
        (root / 'ImageSets' / f'{split}.txt').write_text('\n'.join(frames) + '\n')


@pytest.fixture(scope='module')
def start(drive) -> Trained:
    """The supervised stage that all others start from, with its predictions of the unlabelled frames."""
    trained = train(drive, START, drive.folder / 'random.pth')
    predict(trained, drive.folder / 'predictions')
    return trained


def train(drive: Drive, name: str, load_from: Path, predictions: Path | None = None) -> Trained:
    """Train a stage as the loop does."""
    stage: SupervisedStage = STAGES.build(drive.config.stages[name])
    inputs = StageInputs(drive.folder / name, drive.folder / 'labels.json', load_from, predictions, PREDICTION)
    config = stage.build_config(drive.config, inputs)
    train_stage(config, name)
    return Trained(inputs, stage.detector_config(config), stage.result(config))


def predict(trained: Trained, folder: Path) -> PoolPredictions:
    """Return what a stage's plain detector predicts of the unlabelled frames."""
    view = DATASETS.build(pool_view(trained.config, trained.inputs))
    detector = load_detector(trained.config, trained.checkpoint)
    predict_pool(detector, view, folder, fields=('num_points',), **PREDICTION)
    return read_predictions(folder, ('num_points',))


def labelled_loss(trained: Trained, checkpoint: Path) -> float:
    """Return the anchors' classification loss on the labelled frames as recorded.

    A function of the weights alone: all frames at once, no augmentation, nothing drawn. The losses of boxes are left
    out: they are means over few anchors or proposals, and jump for hundreds of steps.
    """
    wanted = ('LoadPointsFromFile', 'LoadAnnotations3D', 'PointsRangeFilter', 'ObjectRangeFilter', 'Pack3DDetInputs')
    pipeline = [step for step in trained.config.labelled_pipeline if step['type'] in wanted]
    view = DATASETS.build(view_config('LabelledView', trained.config, trained.inputs, pipeline))
    batch = pseudo_collate([view[index] for index in range(len(view))])
    detector = load_detector(trained.config, checkpoint).train()
    set_random_seed(0)
    with torch.no_grad():
        losses = detector(**detector.data_preprocessor(batch, training=True), mode='loss')
        _, parts = detector.parse_losses(losses)
    return float(parts['loss_rpn_cls'])


def log_of(folder: Path) -> list[Mapping[str, Any]]:
    """Return the lines of a stage's log that tell about training steps."""
    (path,) = folder.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if 'loss' in line]


def confident_objects(bank: BoxBank) -> int:
    """Return how many objects that nobody annotated the kept generations of a box bank hold."""
    held = [bank.open(number).objects['source'] for number in bank.generations()]
    return int(np.count_nonzero(np.concatenate(held) == SOURCES.index('confident')))


def most_boxes(log: Sequence[Mapping[str, Any]]) -> float:
    """Return the largest number of pseudo labels of a class that a line of the log tells."""
    return max(value for line in log for key, value in line.items() if key.startswith('pseudo/') and 'count' in key)


def test_no_method_is_left_out(drive):
    entries = [drive.config.stages[name] for name in METHODS]
    assert {entry.method.type for entry in entries if 'method' in entry} == {
        name
        for name, kind in MODELS.module_dict.items()
        if issubclass(kind, SemiDetector3D) and kind is not SemiDetector3D
    }
    STAGES.import_from_location()
    trains_detectors = {name for name, kind in STAGES.module_dict.items() if issubclass(kind, SupervisedStage)}
    own = {entry.type for entry in (drive.config.stages[START], *entries)}
    assert own == trains_detectors - {'LossNetStage'}  # it learns to predict losses, the detector stays


@pytest.mark.parametrize('name', [START, *METHODS])
def test_the_loss_falls_and_pseudo_labels_appear(name, drive, start, tmp_path):
    trained = start if name == START else train(drive, name, start.checkpoint, drive.folder / 'predictions')
    log = log_of(trained.inputs.work_dir)
    losses = [value for line in log for key, value in line.items() if 'loss' in key]
    assert losses
    assert all(map(math.isfinite, losses))
    before, after = (labelled_loss(trained, path) for path in (trained.inputs.load_from, trained.checkpoint))
    assert after < FALL * before
    found = predict(trained, tmp_path / 'predictions')  # loads strictly: a plain detector
    assert len(found) == len(UNLABELLED)
    assert len(found.scores)
    if name == 'cpsp':
        assert confident_objects(BoxBank(trained.inputs.work_dir / 'bank')) > 0
    elif name != START:
        assert most_boxes(log) > 0
