"""Every shipped sampler on a real detector: its columns are predicted, written, read by al_select and ranked."""

import os
import subprocess
import sys

import pytest
import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.data.label_state import LabelState
from ssal3d.fileio import read_json
from ssal3d.models.loading import load_detector
from ssal3d.predictions import read_predictions
from ssal3d.predictions.pool_inference import predict_pool
from ssal3d.registry import ACTIVE_SAMPLERS
from tests.helpers.experiments import train, variant
from tests.helpers.paths import ROOT, TINY

CONFIGS = sorted((ROOT / 'configs' / 'active').glob('*_kitti.py'))

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def experiment(street, tmp_path_factory):
    """A whole experiment with learning loss: it leaves a supervised model and one that predicts its own loss."""
    folder = tmp_path_factory.mktemp('llal')
    config = variant(
        folder / 'llal.py',
        'model = dict(roi_head=dict(class_quality=dict()))',
        "train_cfg = dict(rounds=[dict(pretrain=['normal', 'loss_net'])], final=['supervised'], held_out_report=False)",
        sampler='LLALSampler',
    )
    result = train(street, folder / 'run', config=config)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder / 'run'


def test_learning_loss_runs_in_the_loop(experiment):
    steps = [step['step'] for step in read_json(experiment / 'journal.json')['steps']]
    assert steps == [
        'initial',
        'round_1/normal',
        'round_1/loss_net',
        'round_1/predictions_loss_net',
        'round_1/query',
        'final/supervised',
    ]
    assert all(frame['utility'] is not None for frame in read_json(experiment / 'round_1' / 'query.json')['frames'])
    detector, both = (
        torch.load(experiment / 'round_1' / stage / 'epoch_2.pth', weights_only=False)['state_dict']
        for stage in ('normal', 'loss_net')
    )
    assert all(torch.equal(value, both[name]) for name, value in detector.items())
    assert any(name.startswith('loss_net') for name in both.keys() - detector.keys())


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_from_the_detector_to_the_query(path, experiment, street, tmp_path, monkeypatch):
    monkeypatch.setenv('SSAL3D_KITTI', str(street))
    init_default_scope('mmdet3d')
    sampler = ACTIVE_SAMPLERS.build(Config.fromfile(path).active_sampler)
    stage = 'loss_net' if 'predicted_loss' in sampler.required_fields else 'normal'
    config = Config.fromfile(experiment / 'round_1' / stage / 'config.py')
    model = load_detector(config, experiment / 'round_1' / stage / 'epoch_2.pth')
    before = {name: value.clone() for name, value in model.state_dict().items()}
    labels = experiment / 'labels' / 'round_0.json'
    dataset = dict(config.pool_dataset, pipeline=config.test_pipeline)
    folders = {'UnlabelledView': ('predictions', sampler.required_fields)}
    if sampler.needs_labelled or sampler.uses_labelled:
        folders['LabelledView'] = ('labelled-predictions', sampler.labelled_fields)
    command = [
        sys.executable,
        'tools/al_select.py',
        str(path),
        '--labels',
        str(labels),
        '--out',
        str(tmp_path / 'q.json'),
    ]
    for view, (name, fields) in folders.items():
        predict_pool(
            model,
            DATASETS.build(dict(type=view, dataset=dataset, labels=str(labels))),
            tmp_path / name,
            fields=fields,
            extraction=sampler.extraction,
            batch_size=2,
            num_workers=0,
        )
        command += [f'--{name}', str(tmp_path / name)]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    done = subprocess.run([*command, '--budget', '100000'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr[-2000:]  # the whole pool was bought
    query, state = read_json(tmp_path / 'q.json'), LabelState.read(labels)
    assert len(query['frames']) == state.pool_size - len(state.frames)
    assert not any('class_quality' in warning for warning in query['warnings'])


def test_the_command_predicts_with_the_columns_of_the_sampler_in_one_and_two_processes(experiment, street, tmp_path):
    """One command for the unlabelled frames, shared by two processes, and one for the labelled ones."""
    environment = {**os.environ, 'SSAL3D_KITTI': str(street), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    config = tmp_path / 'kecor.py'
    config.write_text(
        f"_base_ = '{TINY}'\nactive_sampler = dict(_delete_=True, type='KECORSampler')\n"
        'model = dict(roi_head=dict(class_quality=dict()))\n'
    )
    words = ['tools/predict_pool.py', str(config), str(experiment / 'round_1/normal/epoch_2.pth'), '--batch-size', '2']
    words += ['--labels', str(experiment / 'labels/round_0.json'), '--out']
    two = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', '2', '--master_port', '29717', *words]
    for command in (
        [sys.executable, *words, str(tmp_path / 'one')],
        [*two, str(tmp_path / 'two'), '--launcher', 'pytorch'],
        [sys.executable, *words, str(tmp_path / 'labelled'), '--labelled'],
    ):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    one, other = (read_predictions(tmp_path / name, ('roi_features', 'box_features')) for name in ('one', 'two'))
    assert (one.frame_ids == other.frame_ids).all()
    assert (one.boxes == other.boxes).all()
    assert (one['roi_features'] == other['roi_features']).all()
    labelled = read_predictions(tmp_path / 'labelled', ('roi_features', 'roi_scores_target', 'roi_residuals_target'))
    assert set(labelled.frame_ids) == set(LabelState.read(experiment / 'labels/round_0.json').frame_ids)
    assert labelled['roi_residuals_target'].shape == (len(labelled), 16 * 7)
