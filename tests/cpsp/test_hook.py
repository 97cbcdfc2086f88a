"""The box bank of a training that is killed and goes on: which generation it uses, and which ones it still has."""

import hashlib
import itertools
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from torch.utils.data import Dataset

import ssal3d.register  # noqa: F401
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import FILES
from ssal3d.cpsp import hook
from ssal3d.cpsp.hook import weights_sha256
from ssal3d.cpsp.reuse import needed_generations, why_not_reused
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.models.loading import checkpoints, newest_checkpoint
from ssal3d.predictions import PredictionWriter
from ssal3d.predictions.part_prediction import PassTiming
from ssal3d.stages.run import train_stage
from tests.helpers.cpsp_builders import same
from tests.helpers.experiment_folder import Data

RUNS = itertools.count()  # mmengine wants another name for each run
EPOCHS = 9
FEW = dict(k_first=2, k_next=2, n_init=1)
# interval, checkpoint_interval, epochs; in some of them a checkpoint outlives the last two generations
TRAININGS = [(1, 1, 5), (1, 3, 7), (1, 4, 7), (2, 1, 6), (2, 5, 9), (3, 2, 7)]


@MODELS.register_module()
class BankLearner(BaseModel):
    """Its one step an epoch makes its weight a function of the old one and of all that the bank holds."""

    def __init__(self, bank):
        super().__init__()
        self.bank = bank
        self.weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def train_step(self, data, optim_wrapper):
        return self(data['inputs'])

    def forward(self, inputs):
        generation = BoxBank(self.bank).open()
        digest = hashlib.sha256(self.weight.detach().numpy().tobytes())
        for name in FILES:
            digest.update(getattr(generation, name).tobytes())
        self.weight.data = torch.tensor(np.frombuffer(digest.digest()[:8], '<u4') / 2**32)
        return {'loss': self.weight.sum()}


@DATASETS.register_module()
class OneSample(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {'inputs': torch.zeros(1)}


@HOOKS.register_module()
class Snapshots(Hook):
    """Copies the run's folder at the beginning of each epoch: what a kill at this moment leaves there."""

    def __init__(self, out, when):
        self.out, self.when = Path(out), when

    def before_train_epoch(self, runner):
        shutil.copytree(runner.work_dir, self.out / f'{runner.epoch}-{self.when}')


SNAPSHOTS = dict(before='VERY_HIGH', after='LOWEST')  # of the hook that refreshes the bank


@dataclass
class Training:
    """A stage with a box bank on a small pool, and predictions that depend on the weights.

    Args:
        data: The pool.
        labels: Where the label state of the first frames goes.
        predicted: Names of the passes over the pool that were made.
    """

    data: Data
    labels: Path
    predicted: list = field(default_factory=list)

    def predict(self, model, view, folder, *, metadata, description, **_):
        """In the place of `predict_pool`."""
        assert metadata == {'checkpoint_sha256': weights_sha256(model)}
        self.predicted.append(description)
        found = self.data.predict(int(metadata['checkpoint_sha256'][:8], 16), view.frame_ids)
        with PredictionWriter(folder, found.classes) as writer:
            for row, frame_id in enumerate(found.frame_ids.tolist()):
                rows = found.boxes_of(row)
                columns = dict(zip(('bboxes_3d', 'scores_3d', 'labels_3d'), (found.boxes, found.scores, found.labels)))
                writer.add(frame_id, **{name: column[rows] for name, column in columns.items()})
        return PassTiming()

    def label(self, count):
        """Let the first frames be the labelled ones."""
        pool = LabelState.empty(self.data.classes, 'small', self.data.pool.ids)
        pool.buy(0, [(name, self.data.counts(name)) for name in self.data.pool.ids[:count]]).write(self.labels)

    def config(self, folder, interval, checkpoint_interval, epochs=EPOCHS, settings=FEW, snapshots=None):
        pool = dict(
            type='FolderDataset',
            data_root=str(self.data.root),
            ann_file=self.data.annotations.name,
            data_prefix=dict(pts='scans'),
            pipeline=[],
            serialize_data=False,
        )
        refresh = dict(
            type='CPSPHook',
            bank=str(folder / 'bank'),
            labelled=dict(type='LabelledView', dataset=pool, labels=str(self.labels)),
            unlabelled=dict(type='UnlabelledView', dataset=pool, labels=str(self.labels)),
            interval=interval,
            settings=dict(settings),
        )
        hooks = [dict(type='Snapshots', out=str(snapshots), when=w, priority=p) for w, p in SNAPSHOTS.items()]
        return Config(
            dict(
                default_scope='mmdet3d',
                work_dir=str(folder),
                load_from=None,
                model=dict(type='BankLearner', bank=str(folder / 'bank')),
                train_dataloader=dict(
                    batch_size=1,
                    num_workers=0,
                    dataset=dict(type='OneSample'),
                    sampler=dict(type='DefaultSampler', shuffle=False),
                ),
                train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                default_hooks=dict(
                    checkpoint=dict(
                        type='CheckpointHook', interval=checkpoint_interval, max_keep_ckpts=2, save_last=True
                    )
                ),
                custom_hooks=[refresh, *(hooks if snapshots else [])],
                log_level='INFO',
            )
        )

    def run(self, folder, *args, **options):
        """Train, or go on, and return what remains: the last weights and the last generation of the bank."""
        train_stage(self.config(folder, *args, **options), f'cpsp_{next(RUNS)}')
        return torch.load(newest_checkpoint(folder), weights_only=False)['state_dict'], BoxBank(folder / 'bank').open()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return Data(tmp_path_factory.mktemp('data') / 'pool', frames=6)


@pytest.fixture
def training(data, tmp_path, monkeypatch):
    made = Training(data, tmp_path / 'labels.json')
    made.label(2)
    monkeypatch.setattr(hook, 'predict_pool', made.predict)
    return made


def equal(found, expected):
    return torch.equal(found[0]['weight'], expected[0]['weight']) and same(found[1], expected[1])


def lasting(folder):
    """The files that a run goes on from."""
    return {str(path.relative_to(folder)) for path in (*folder.glob('bank/gen-*'), *folder.glob('epoch_*.pth'))}


def kills(snapshots):
    """The snapshots in the order of time; those that hold the same files as the one before are left out."""
    at = sorted(snapshots.iterdir(), key=lambda path: (int(path.name.partition('-')[0]), 'after' in path.name))
    return [path for before, path in zip((None, *at), at) if before is None or lasting(before) != lasting(path)]


def log(folder):
    return ''.join(path.read_text() for path in sorted(folder.glob('*/*.log')))


def test_weights_and_bank_depend_on_each_other(training, tmp_path):
    """Else the tests below would prove little."""
    runs = [training.run(tmp_path / f'{interval}', interval, 1, epochs=3) for interval in (1, 2, 9)]
    assert len({tuple(weights['weight'].tolist()) for weights, _ in runs}) == 3
    assert [generation.number for _, generation in runs] == [2, 1, 0]
    assert all(len(generation.objects) > 5 for _, generation in runs)


@pytest.mark.parametrize(('interval', 'checkpoint_interval', 'epochs'), TRAININGS)
def test_a_run_killed_in_any_epoch_ends_like_one_that_was_not(
    training, tmp_path, interval, checkpoint_interval, epochs
):
    expected = training.run(tmp_path / 'whole', interval, checkpoint_interval, epochs, snapshots=tmp_path / 'killed')
    killed = kills(tmp_path / 'killed')
    assert len(killed) >= epochs / min(interval, checkpoint_interval)
    for folder in killed:
        assert len(BoxBank(folder / 'bank').generations()) <= 6  # two, and two for each of two checkpoints
        assert equal(training.run(folder, interval, checkpoint_interval, epochs), expected), folder.name
        assert 'built again' not in log(folder)


@pytest.mark.parametrize(('interval', 'checkpoint_interval', 'epochs'), [(1, 2, 7), (2, 3, 9)])
def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(
    training, tmp_path, interval, checkpoint_interval, epochs
):
    expected = training.run(tmp_path / 'whole', interval, checkpoint_interval, epochs, snapshots=tmp_path / 'killed')
    killed = [folder for folder in kills(tmp_path / 'killed') if len(list(folder.glob('epoch_*.pth'))) == 2]
    assert len(killed) > 2
    for folder in killed:
        newest_checkpoint(folder).write_bytes(b'PK')
        assert equal(training.run(folder, interval, checkpoint_interval, epochs), expected), folder.name


def test_only_generations_that_a_checkpoint_needs_are_kept(training, tmp_path):
    training.run(tmp_path / 'whole', 1, 4, snapshots=tmp_path / 'killed')
    kept = {epoch: BoxBank(tmp_path / 'killed' / f'{epoch}-after' / 'bank').generations() for epoch in range(EPOCHS)}
    assert [kept[epoch] for epoch in (0, 3, 4, 5, 7)] == [[0], [2, 3], [3, 4], [3, 4, 5], [3, 4, 6, 7]]
    assert kept[8] == [3, 4, 7, 8]


@pytest.fixture
def killed_at_once(training, tmp_path):
    """The folder of a run that was killed in its first epoch: it has a generation and no checkpoint."""
    training.run(tmp_path / 'whole', 1, 2, epochs=1, snapshots=tmp_path / 'killed')
    training.predicted.clear()
    folder = tmp_path / 'killed' / '0-after'
    assert lasting(folder) == {'bank/gen-000000'}
    return folder


def test_the_first_generation_is_used_again(training, killed_at_once):
    before = (killed_at_once / 'bank' / 'gen-000000' / 'meta.json').stat().st_ino
    training.run(killed_at_once, 1, 2, epochs=1)
    assert training.predicted == []
    assert (killed_at_once / 'bank' / 'gen-000000' / 'meta.json').stat().st_ino == before


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        (dict(k_first=1), 'its k_first was 2, now it is 1'),
        (dict(fp_source='none'), 'its fp_source was unlabelled, now it is none'),
        (dict(tau_low={'Car': 0.3, 'Pedestrian': 0.2, 'Cyclist': 0.2}), 'its tau_low was 0.2, now it is {'),
    ],
)
def test_the_first_generation_of_other_settings_is_built_again(training, tmp_path, killed_at_once, changes, reason):
    settings = {**FEW, **changes}
    again = training.run(killed_at_once, 1, 2, epochs=2, settings=settings)
    assert f'box bank, generation 0: it is built again, {reason}' in log(killed_at_once)
    assert equal(again, training.run(tmp_path / 'fresh', 1, 2, epochs=2, settings=settings))
    assert not equal(again, training.run(tmp_path / 'old', 1, 2, epochs=2))


def test_the_first_generation_of_other_labelled_frames_is_built_again(training, tmp_path, killed_at_once):
    training.label(3)
    again = training.run(killed_at_once, 1, 2, epochs=2)
    assert 'it is built again, frame 0002 was not among the labelled ones, now it is among them' in log(killed_at_once)
    assert equal(again, training.run(tmp_path / 'fresh', 1, 2, epochs=2))


def test_the_first_generation_of_other_weights_is_built_again(training, killed_at_once):
    path = killed_at_once / 'bank' / 'gen-000000' / 'meta.json'
    path.write_text(path.read_text().replace('"weights_sha256": "', '"weights_sha256": "0'))
    training.run(killed_at_once, 1, 2, epochs=1)
    assert 'it is built again, other weights predicted for it' in log(killed_at_once)
    assert len(training.predicted) == 1


def test_a_later_generation_of_other_settings_is_built_again_from_the_one_before(training, tmp_path):
    """By hand: an experiment refuses other settings once there is a checkpoint."""
    training.run(tmp_path / 'whole', 1, 4, snapshots=tmp_path / 'killed')
    folder = tmp_path / 'killed' / '7-after'
    training.predicted.clear()
    _, bank = training.run(folder, 1, 4, epochs=5, settings={**FEW, 'tau_low': 0.3})
    assert 'generation 4: it is built again, its tau_low was 0.2, now it is 0.3' in log(folder)
    assert len(training.predicted) == 1
    assert (bank.number, bank.meta['settings']['tau_low']) == (4, 0.3)
    assert BoxBank(folder / 'bank').generations() == [3, 4]


def test_a_generation_that_is_gone_is_an_error(training, tmp_path):
    training.run(tmp_path / 'run', 2, 1, epochs=3)
    shutil.rmtree(tmp_path / 'run' / 'bank' / 'gen-000001')
    with pytest.raises(UserError, match=r'gen-000001: the generation of epoch 3 is missing; restore it, or delete'):
        training.run(tmp_path / 'run', 2, 1, epochs=4)


def test_a_setting_of_another_version_counts_as_another_setting(training, killed_at_once):
    generation = BoxBank(killed_at_once / 'bank').open()
    frames = generation.frames['frame_id'][:2].tolist(), generation.frames['frame_id'][2:].tolist()
    weights, settings = generation.meta['provenance']['weights_sha256'], cpsp_settings(**FEW)
    assert why_not_reused(generation, weights, settings, *frames) is None
    for change, reason in (({'new': 3}, 'its new was 3, now it is no setting'), ({'seed': None}, 'its seed was None')):
        other = replace(generation, meta={**generation.meta, 'settings': {**generation.meta['settings'], **change}})
        assert why_not_reused(other, weights, settings, *frames).startswith(reason)
    without = replace(generation, meta={**generation.meta, 'settings': {}})
    assert why_not_reused(without, weights, settings, *frames) == 'its k_first was not set, now it is 2'
    assert why_not_reused(generation, weights, settings, frames[0], frames[1][:-1]).startswith('frame 0005 was among')


@pytest.mark.parametrize(
    ('checkpoints', 'epoch', 'interval', 'needed'),
    [
        ([], 5, 1, set()),
        ([3], 5, 1, {2, 3}),
        ([1, 3, 6], 8, 1, {2, 3, 5, 6}),  # the two newest ones
        ([3, 6], 4, 1, {2, 3}),  # what comes later is written anew
        ([4, 5], 8, 10, {0}),
        ([10], 20, 10, {0, 1}),
        ([9, 10], 10, 10, {0, 1}),
        ([19, 20], 30, 10, {1, 2}),
    ],
)
def test_needed_generations(checkpoints, epoch, interval, needed):
    assert needed_generations(checkpoints, epoch, interval) == needed


def test_checkpoints_of_a_folder(tmp_path):
    for name in (
        'epoch_10.pth',
        'epoch_9.pth',
        'epoch_best.pth',
        'best_epoch_3.pth',
        'epoch_3.txt',
        '.epoch_4.pth.tmp',
    ):
        (tmp_path / name).touch()
    assert list(checkpoints(tmp_path)) == [9, 10]
