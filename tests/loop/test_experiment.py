"""Whole experiments on a tiny street, in own processes: killed and resumed, distributed, with garbled labels."""

import json
import signal
import sys
from pathlib import Path

import pytest
import torch

from ssal3d.data.infos import read_infos, write_infos
from ssal3d.data.label_state import LabelState
from ssal3d.fileio import exclusive, read_json
from tests.helpers.experiments import train, variant

STEPS = [
    'initial',
    'round_1/normal',
    'round_1/predictions_normal',
    'round_1/labelled_normal',
    'round_1/cpsp',
    'round_1/predictions_cpsp',
    'round_1/labelled_cpsp',
    'round_1/query',
    'final/supervised',
    'final/predictions_supervised',
    'final/final_cpsp',
    'final/predictions_final_cpsp',
]

pytestmark = pytest.mark.slow


def weights(work_dir, stage='final/final_cpsp', epochs=2):
    return torch.load(work_dir / stage / f'epoch_{epochs}.pth', weights_only=False)['state_dict']


@pytest.fixture(scope='module')
def finished(street, tmp_path_factory):
    """An experiment that nothing disturbed, in an interpreter of its own."""
    work_dir = tmp_path_factory.mktemp('finished') / 'run'
    result = train(street, work_dir, launcher=[sys.executable])
    assert result.returncode == 0, result.stderr[-3000:]
    return work_dir, result


def same_labels(first, second):
    return all(
        (first / 'labels' / f'round_{n}.json').read_bytes() == (second / 'labels' / f'round_{n}.json').read_bytes()
        for n in (0, 1)
    )


def test_every_step_leaves_its_results(finished):
    work_dir, result = finished
    journal = read_json(work_dir / 'journal.json')
    assert [step['step'] for step in journal['steps']] == STEPS
    state = LabelState.read(work_dir / 'labels' / 'round_1.json')
    initial = LabelState.read(work_dir / 'labels' / 'round_0.json')
    query = read_json(work_dir / 'round_1' / 'query.json')
    assert state.frame_ids == (*initial.frame_ids, *(frame['frame_id'] for frame in query['frames']))
    assert query['spent'] == sum(sum(frame['annotated_boxes'].values()) for frame in query['frames']) >= 4
    assert not (work_dir / 'round_1' / 'cpsp' / 'bank_predictions').exists() or not list(
        (work_dir / 'round_1' / 'cpsp' / 'bank_predictions').iterdir()
    )
    metrics = read_json(work_dir / 'metrics.json')
    assert set(metrics['stages']) == {'round_1/normal', 'round_1/cpsp', 'final/supervised', 'final/final_cpsp'}
    assert set(metrics['held_out']) == {'round_1/normal', 'final/final_cpsp'}
    assert 'nobody labelled' in result.stdout


def test_the_annotator_was_asked_for_bought_frames_only(finished):
    work_dir, _ = finished
    asked = [json.loads(line)['frame_id'] for line in (work_dir / 'annotations.jsonl').read_text().splitlines()]
    assert asked == list(LabelState.read(work_dir / 'labels' / 'round_1.json').frame_ids)


def test_the_final_model_starts_from_random_weights_and_cpsp_from_normal(finished):
    work_dir, _ = finished
    loaded = {
        stage: next(
            line.split(' = ')[1].strip("'")
            for line in (work_dir / stage / 'config.py').read_text().splitlines()
            if line.startswith('load_from')
        )
        for stage in ('round_1/normal', 'round_1/cpsp', 'final/supervised', 'final/final_cpsp')
    }
    assert loaded['round_1/normal'] == loaded['final/supervised'] == 'None'
    assert loaded['round_1/cpsp'] == str(work_dir / 'round_1/normal/epoch_2.pth')
    assert loaded['final/final_cpsp'] == str(work_dir / 'final/supervised/epoch_2.pth')


def test_a_run_killed_again_and_again_ends_with_the_same_labels_and_weights(street, finished, tmp_path):
    work_dir = tmp_path / 'run'
    for kill_at in (
        'round_1/normal epoch 1 iter 0',
        'round_1/normal record',
        'round_1/predictions_normal part 2',
        'round_1/cpsp epoch 1 iter 1',
        'round_1/cpsp publish 2',
        'round_1/query record',
        'final/supervised checkpoint 2',
        'final/final_cpsp epoch 1 iter 0',
    ):
        result = train(street, work_dir, '--resume', kill_at=kill_at)
        assert result.returncode == -signal.SIGKILL, (kill_at, result.stdout[-2000:], result.stderr[-2000:])
    result = train(street, work_dir, '--resume')
    assert result.returncode == 0, result.stderr[-3000:]
    assert same_labels(work_dir, finished[0])
    expected = weights(finished[0])
    assert all(torch.equal(value, expected[name]) for name, value in weights(work_dir).items())


def test_a_stage_can_be_run_again_by_hand(street, finished, tmp_path):
    work_dir = tmp_path / 'again'
    result = train(street, work_dir, config=str(finished[0] / 'round_1' / 'normal' / 'config.py'))
    assert result.returncode == 0, result.stderr[-3000:]
    expected = weights(finished[0], 'round_1/normal')
    assert all(torch.equal(value, expected[name]) for name, value in weights(work_dir, '.').items())


def test_garbled_labels_of_unlabelled_frames_change_nothing(street, finished, tmp_path):
    garbled = tmp_path / 'street'
    garbled.mkdir()
    for path in street.iterdir():
        (garbled / path.name).symlink_to(path)
    infos = read_infos(street / 'kitti_infos_train.pkl')
    bought = set(LabelState.read(finished[0] / 'labels' / 'round_1.json').frame_ids)
    for info in infos['data_list']:
        if Path(info['lidar_points']['lidar_path']).stem not in bought:
            for instance in info['instances']:
                instance['bbox_3d'] = [value * 1.7 + 1 for value in instance['bbox_3d']]
                instance['bbox_label_3d'] = instance['bbox_label'] = (instance['bbox_label_3d'] + 1) % 3
            info['instances'] = info['instances'] * 2
    (garbled / 'kitti_infos_train.pkl').unlink()
    write_infos(garbled / 'kitti_infos_train.pkl', infos)
    work_dir = tmp_path / 'run'
    result = train(garbled, work_dir)
    assert result.returncode == 0, result.stderr[-3000:]
    assert same_labels(work_dir, finished[0])
    for stage, epochs in (('round_1/cpsp', 3), ('final/final_cpsp', 2)):
        expected = weights(finished[0], stage, epochs)
        assert all(torch.equal(value, expected[name]) for name, value in weights(work_dir, stage, epochs).items())
        bank, other = work_dir / stage / 'bank', finished[0] / stage / 'bank'
        assert (bank / 'CURRENT').read_text() == (other / 'CURRENT').read_text()
        for name in ('objects', 'points', 'masks', 'preds'):
            current = (bank / 'CURRENT').read_text().strip()
            assert (bank / current / f'{name}.npy').read_bytes() == (other / current / f'{name}.npy').read_bytes()
    first, second = ([line.split('loss:')[1] for line in losses(folder)] for folder in (work_dir, finished[0]))
    assert first == second


def losses(work_dir):
    logs = sorted(work_dir.glob('*/*/2*/*.log'))
    return [line for log in logs for line in log.read_text().splitlines() if 'Epoch(train)' in line]


def test_two_processes(street, tmp_path):
    work_dir = tmp_path / 'run'
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    result = train(street, work_dir, '--launcher', 'pytorch', launcher=torchrun)
    assert result.returncode == 0, result.stderr[-3000:]
    assert [step['step'] for step in read_json(work_dir / 'journal.json')['steps']] == STEPS
    assert len((work_dir / 'annotations.jsonl').read_text().splitlines()) == len(
        LabelState.read(work_dir / 'labels' / 'round_1.json').frames
    )


def test_a_folder_with_an_experiment_is_not_overwritten(street, finished):
    result = train(street, finished[0])
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith('error: ')
    assert '--resume' in result.stderr


def test_two_runs_in_one_folder_are_refused(street, finished):
    with exclusive(finished[0], '--work-dir'):
        result = train(street, finished[0], '--resume')
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].endswith('another run is writing here; wait for it or stop it')


def test_resuming_with_another_config_is_refused(street, finished):
    result = train(street, finished[0], '--resume', '--cfg-options', 'stages.normal.epochs=3')
    assert result.returncode == 2
    last = result.stderr.strip().splitlines()[-1]
    assert 'step round_1/normal is finished with training.train_cfg.max_epochs = 2, now it is 3' in last


def test_moved_data_and_other_workers_are_no_change(street, finished, tmp_path):
    moved = tmp_path / 'elsewhere'
    moved.symlink_to(street)
    result = train(f'{moved}/', finished[0], '--resume', '--cfg-options', 'train_dataloader.num_workers=0')
    assert result.returncode == 0, result.stderr[-3000:]
    assert [step['step'] for step in read_json(finished[0] / 'journal.json')['steps']] == STEPS


def test_another_sampler_shares_everything_before_its_query(street, finished, tmp_path):
    config = variant(tmp_path / 'rival.py', sampler='RandomSampler')
    result = train(street, tmp_path / 'run', '--cfg-options', f'train_cfg.reuse={finished[0]}', config=config)
    assert result.returncode == 0, result.stderr[-3000:]
    steps = {step['step']: step for step in read_json(tmp_path / 'run' / 'journal.json')['steps']}
    taken = [name for name, step in steps.items() if 'taken_from' in step]
    assert taken == [name for name in STEPS if name in ('initial', 'round_1/normal', 'round_1/cpsp') or (
        name.startswith('round_1/predictions') and name in taken)]  # fmt: skip
    assert 'round_1/normal' in taken
    assert 'round_1/query' not in taken
    ours, theirs = (folder / steps['round_1/normal']['checkpoint'] for folder in (tmp_path / 'run', finished[0]))
    assert ours.samefile(theirs)
    again = train(street, tmp_path / 'run', '--resume', config=config)  # what is here needs no other experiment
    assert again.returncode == 0, again.stderr[-3000:]


def test_without_data_one_line_says_what_to_do(tmp_path):
    result = train(tmp_path / 'nothing', tmp_path / 'run', config='configs/ssal/pvrcnn_kitti.py')
    assert result.returncode == 2
    assert 'Traceback' not in result.stderr
    message = result.stderr.strip().splitlines()[-1]
    assert all(part in message for part in ('velodyne', 'label_2', 'calib', 'ssal3d create-data kitti'))
