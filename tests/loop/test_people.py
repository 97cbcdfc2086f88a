"""A scripted person labels: two rounds in two formats, from raw scans of own classes to a final model."""

import json
import signal
import sys

import numpy as np
import pytest

from ssal3d.data.infos import frame_id, read_infos
from ssal3d.data.label_state import LabelState
from ssal3d.fileio import read_json
from ssal3d.report.experiment import read_experiment
from tests.helpers.experiments import train
from tests.helpers.labelling_person import Person
from tests.helpers.warehouse import CLASSES, objects_of, write_config, write_hall

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def hall(tmp_path_factory):
    return write_hall(tmp_path_factory.mktemp('hall'))


def edits(step):
    return {name: count for name, count in step['edits'].items() if count}


def told(person):
    return {name: count for name, count in person.done.items() if count}


@pytest.mark.parametrize('detector', ['pillars', 'pvrcnn'])
def test_a_person_carries_own_scans_through_two_rounds_to_a_final_model(hall, tmp_path, detector):
    config, work = write_config(tmp_path / 'tiny.py', hall, detector), tmp_path / 'run'

    def run(*options):
        result = train(hall, work, *options, config=config)
        assert result.returncode == 0, (result.stdout[-2000:], result.stderr[-3000:])
        return result.stdout

    # The initial frames: nothing is trained yet, so they come without pre-labels.
    asked = run()
    assert 'initial: 4 frames wait for their labels' in asked
    assert f'tools/train.py {config} --work-dir {work} --resume' in asked
    first = Person(CLASSES, objects_of)
    first.edit_json(work / 'initial' / 'to_label')
    assert 'round_1: 3 frames wait' in run('--resume')

    # Round 1 in the same format: half of the work, and a mistake.
    batch = work / 'round_1' / 'to_label'
    second = Person(CLASSES, objects_of)
    frames = sorted(path.stem for path in (batch / 'labels').glob('*.json'))
    second.edit_json(batch, frames[:2])
    path = batch / 'labels' / f'{frames[1]}.json'
    right = path.read_text()
    path.write_text(right.replace('"pallet"', '"palet"', 1))
    line = 1 + right[: right.index('"pallet"')].count('\n') - 1  # of the brace of that box
    told_so_far = run('--resume', '--cfg-options', 'train_cfg.annotator.format=sly')
    assert f'wrong: {path}, line {line}: ' in told_so_far
    assert "did you mean 'pallet'?" in told_so_far
    assert f'unchanged: frame {frames[2]} came back as it was handed out' in told_so_far
    assert 'round_1: 1 of 3 frames are labelled' in told_so_far
    assert not (work / 'labels' / 'round_1.json').exists()
    path.write_text(right)
    second.edit_json(batch, frames[2:])

    # Round 2 in another format; the tool gives an archive back.
    assert 'round_2: 3 frames wait' in run('--resume', '--cfg-options', 'train_cfg.annotator.format=sly')
    third = Person(CLASSES, objects_of)
    third.edit_sly(work / 'round_2' / 'to_label', work / 'round_2' / 'labelled.zip')
    told_at_the_end = run('--resume')
    assert 'wait for their labels' not in told_at_the_end, told_at_the_end

    steps = {step['step']: step for step in read_json(work / 'journal.json')['steps']}
    assert list(steps)[-1] == 'final/supervised'
    assert edits(steps['initial']) == told(first) == {'added': 8}
    for step, person in (('round_1/query', second), ('round_2/query', third)):
        assert edits(steps[step]) == told(person)
        assert {'accepted', 'moved', 'resized', 'relabelled', 'deleted'} <= set(edits(steps[step]))
    state = LabelState.read(work / 'labels' / 'round_2.json')
    assert len(state.frames) == 10
    assert [frame.round for frame in state.frames] == [0] * 4 + [1] * 3 + [2] * 3
    check_annotations(work, state)


# Where a run is killed: before people are asked, after the initial frames came back, and after the first round did.
KILLS = (
    ('initial asked 1', 'initial handed out 1'),
    ('initial stored 1', 'round_1/normal epoch 0 iter 0', 'round_1/query asked 1', 'round_1/query handed out 1'),
    ('round_1/query stored 1', 'round_1/query record', 'final/supervised epoch 0 iter 0'),
)


def test_a_run_with_people_that_is_killed_ends_as_if_nothing_had_happened(hall, tmp_path):
    import torch

    write_config(tmp_path / 'tiny.py', hall, 'pillars')
    config = tmp_path / 'one_round.py'
    config.write_text("_base_ = 'tiny.py'\ntrain_cfg = dict(rounds=[dict(pretrain=['normal'])])\n")

    def carry(work, kills):
        person = Person(CLASSES, objects_of)
        for batch, places in zip(('initial', 'round_1', None), kills, strict=True):
            for place in places:
                result = train(hall, work, '--resume', kill_at=place, config=str(config))
                assert result.returncode == -signal.SIGKILL, (place, result.stdout[-2000:], result.stderr[-2000:])
            result = train(hall, work, '--resume', config=str(config))
            assert result.returncode == 0, (result.stdout[-2000:], result.stderr[-3000:])
            if batch is not None:
                person.edit_json(work / batch / 'to_label')
        return torch.load(work / 'final' / 'supervised' / 'epoch_1.pth', weights_only=True)['state_dict']

    whole, broken = carry(tmp_path / 'whole', ((), (), ())), carry(tmp_path / 'broken', KILLS)
    assert all(torch.equal(value, broken[name]) for name, value in whole.items())
    for pattern in ('labels/*.json', 'labels/boxes/*.json', 'initial/query.json', 'round_1/to_label/labels/*.json'):
        files = sorted(path.relative_to(tmp_path / 'whole') for path in (tmp_path / 'whole').glob(pattern))
        assert files
        assert files == sorted(path.relative_to(tmp_path / 'broken') for path in (tmp_path / 'broken').glob(pattern))
        for path in files:
            text = (tmp_path / 'whole' / path).read_text()
            assert (
                text.replace(f'{tmp_path}/whole', f'{tmp_path}/broken') == (tmp_path / 'broken' / path).read_text()
            ), path
    infos = [read_infos(tmp_path / run / 'labels' / 'annotations_1.pkl') for run in ('whole', 'broken')]
    assert infos[0] == infos[1]


def test_all_of_several_processes_stop_and_wait(hall, tmp_path):
    config, work = write_config(tmp_path / 'tiny.py', hall, 'pillars'), tmp_path / 'run'
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    result = train(hall, work, '--launcher', 'pytorch', config=config, launcher=torchrun)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count('4 frames wait for their labels') == 1
    assert '--resume (with the same launcher)' in result.stdout
    assert len(list((work / 'initial' / 'to_label' / 'labels').iterdir())) == 4


def check_annotations(work, state):
    """What the final model learnt from: the boxes of the files, in all labelled frames and in no other."""
    shown = read_experiment(work)
    drawn = shown.pool.bought(state.frame_ids[:1], state.frame_ids, shown.classes)
    assert len(drawn.boxes) == 2, 'a report shows what people drew'
    infos = {frame_id(info): info for info in read_infos(work / 'labels' / 'annotations_2.pkl')['data_list']}
    assert {name for name, info in infos.items() if 'instances' in info} == set(state.frame_ids)
    for frame in state.frames:
        _, boxes = objects_of(int(frame.frame_id))
        found = np.array([entry['bbox_3d'] for entry in infos[frame.frame_id]['instances']])
        stored = json.loads((work / 'labels' / 'boxes' / f'{frame.frame_id}.json').read_text())['boxes']
        np.testing.assert_allclose(found, [entry['box'] for entry in stored])
        for box in boxes:
            assert np.abs(found[:, :6] - box[:6]).max(axis=1).min() < 2e-3
        assert sum(frame.boxes.values()) == len(found)
