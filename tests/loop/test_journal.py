"""The journal: what counts as done, what may be taken from another experiment."""

import logging
import os
import shutil

import pytest
from mmengine.logging import MMLogger

from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.loop.journal import FinishedSteps, Journal, take_over
from ssal3d.loop.steps import Steps
from ssal3d.machine import own_version

READS = {'training': {'lr': 0.01, 'classes': ['Car']}, 'weights': None}


@pytest.fixture
def finished(tmp_path):
    """An experiment with one finished stage, which left a checkpoint and a bank."""
    journal = Journal(tmp_path / 'a')
    journal.begin('round_1/normal', READS)
    for name in ('epoch_2.pth', 'bank/gen-000000/meta.json'):
        path = tmp_path / 'a' / 'round_1' / 'normal' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    files = {'checkpoint': tmp_path / 'a' / 'round_1' / 'normal' / 'epoch_2.pth'}
    journal.record('round_1/normal', READS, files, seconds=3.5)
    return tmp_path / 'a'


@pytest.fixture
def told(caplog):
    """Return what was logged as a warning."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    logger.removeHandler(caplog.handler)


def test_a_finished_step_is_found_again(finished):
    entry = Journal(finished).find('round_1/normal', READS)
    assert entry['checkpoint'] == 'round_1/normal/epoch_2.pth'
    assert entry['seconds'] == 3.5
    assert Journal(finished).find('round_1/cpsp', READS) is None


def test_another_setting_is_named_with_both_values(finished):
    reads = {**READS, 'training': {'lr': 0.003, 'classes': ['Car', 'Van']}}
    with pytest.raises(
        UserError, match=r'is finished with training\.lr = 0\.01, now it is 0\.003 \(1 more keys differ\)'
    ):
        Journal(finished).find('round_1/normal', reads)
    (finished / 'reads' / 'round_1' / 'normal.json').unlink()
    with pytest.raises(UserError, match='step round_1/normal is finished with training = '):
        Journal(finished).find('round_1/normal', reads)


@pytest.mark.parametrize('damage', [lambda path: path.unlink(), lambda path: path.write_text('other')])
def test_a_lost_or_changed_file_is_an_error(finished, damage):
    damage(finished / 'round_1' / 'normal' / 'epoch_2.pth')
    with pytest.raises(UserError, match=r'epoch_2\.pth (is missing|was changed)'):
        Journal(finished).find('round_1/normal', READS)


def test_a_step_is_taken_over_by_link(finished, tmp_path):
    source, entry = FinishedSteps((finished,)).find('round_1/normal', READS)
    for _ in range(2):  # killed in between: again
        take_over(source, entry, tmp_path / 'b')
    for name in ('epoch_2.pth', 'bank/gen-000000/meta.json'):
        ours, theirs = (folder / 'round_1' / 'normal' / name for folder in (tmp_path / 'b', finished))
        assert ours.samefile(theirs)


@pytest.mark.parametrize('damage', [lambda path: path.unlink(), lambda path: path.write_text('other')])
def test_a_damaged_step_is_passed_over_for_another_experiments(finished, tmp_path, damage, told):
    shutil.copytree(finished, tmp_path / 'c')
    damage(finished / 'round_1' / 'normal' / 'epoch_2.pth')
    folder, _ = FinishedSteps((finished, tmp_path / 'c')).find('round_1/normal', READS)
    assert folder == tmp_path / 'c'
    assert FinishedSteps((finished,)).find('round_1/normal', READS) is None
    assert f'round_1/normal: not taken from {finished}: {finished}/round_1/normal/epoch_2.pth ' in told()[-1]


def test_a_step_that_ran_with_other_code_of_the_user_is_not_taken(tmp_path, told):
    journal = Journal(tmp_path / 'a')
    journal.record('round_1/query', READS, {}, code={'mine': 'old'})
    steps = FinishedSteps((tmp_path / 'a',))
    assert steps.find('round_1/query', READS, {'mine': 'old'})
    for code in ({'mine': 'new'}, {}, {'mine': 'old', 'another': 'one'}):
        assert steps.find('round_1/query', READS, code) is None
    assert told()[0].endswith('its code of mine differs')


def test_what_a_killed_run_with_other_settings_left_is_replaced(finished, tmp_path):
    ours = tmp_path / 'b' / 'round_1' / 'normal'
    ours.mkdir(parents=True)
    for name in ('epoch_2.pth', 'epoch_1.pth'):  # it was killed between its last epoch and its measurement
        (ours / name).write_text('of a higher learning rate')
    steps = Steps(tmp_path / 'b', (finished,))
    entry = steps.do('round_1/normal', READS, work=None)
    assert entry['taken_from'] == str(finished)
    assert sorted(path.name for path in ours.iterdir()) == ['bank', 'epoch_2.pth']
    assert (ours / 'epoch_2.pth').read_text() == 'epoch_2.pth'
    assert Journal(tmp_path / 'b').find('round_1/normal', READS)['files'] == entry['files']


def test_what_people_made_stays_when_a_query_is_taken_over(tmp_path):
    journal = Journal(tmp_path / 'a')
    labels = tmp_path / 'a' / 'labels' / 'round_0.json'
    labels.parent.mkdir(parents=True)
    labels.write_text('new')
    journal.record('initial', READS, {'labels': labels})
    drawn, old = tmp_path / 'b' / 'initial' / 'labelled' / 'frame.json', tmp_path / 'b' / 'labels' / 'round_0.json'
    for path in (drawn, old):
        path.parent.mkdir(parents=True)
        path.write_text('by people, or old')
    Steps(tmp_path / 'b', (tmp_path / 'a',)).do('initial', READS, work=None)
    assert drawn.exists()
    assert old.read_text() == 'new'


def test_a_step_names_the_version_that_did_it(finished, tmp_path):
    steps = Steps(tmp_path / 'c')
    made = steps.do('final/normal', READS, lambda: {'files': {}})
    assert made['version'] == own_version()
    taken = Steps(tmp_path / 'd', (tmp_path / 'c', finished)).do('final/normal', READS, work=None)
    assert taken['version'] == own_version()
    unknown = Steps(tmp_path / 'e', (finished,)).do('round_1/normal', READS, work=None)
    assert unknown['version'] == ''  # recorded before steps named it


def test_across_file_systems_files_are_copied(finished, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, 'Invalid cross-device link')

    monkeypatch.setattr(os, 'link', refuse)
    take_over(*FinishedSteps((finished,)).find('round_1/normal', READS), tmp_path / 'b')
    copy = tmp_path / 'b' / 'round_1' / 'normal' / 'epoch_2.pth'
    assert copy.read_text() == 'epoch_2.pth'
    assert not copy.samefile(finished / 'round_1' / 'normal' / 'epoch_2.pth')


def test_what_read_something_else_is_not_taken(finished):
    steps = FinishedSteps((finished,))
    assert steps.find('round_1/normal', {**READS, 'weights': 'abc'}) is None
    assert steps.find('final/normal', READS) is None


def test_a_folder_without_an_experiment_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r'reuse: .* holds no journal\.json'):
        FinishedSteps((tmp_path,))


def test_results_of_a_folder_are_recorded_one_by_one(tmp_path):
    parts = [tmp_path / 'predictions' / f'part-{number}.parquet' for number in range(2)]
    parts[0].parent.mkdir()
    for part in parts:
        part.write_text(part.name)
    Journal(tmp_path).record('predict', {}, {'predictions': parts}, write=True)
    entry = read_json(tmp_path / 'journal.json')['steps'][0]
    assert entry['predictions'] == 'predictions'
    assert list(entry['files']) == ['predictions/part-0.parquet', 'predictions/part-1.parquet']
