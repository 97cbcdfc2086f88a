"""The journal: what counts as done, what may be taken from another experiment."""

import os

import pytest

from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.loop.journal import FinishedSteps, Journal, take_over

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
def test_a_lost_or_changed_file_is_an_error(finished, tmp_path, damage):
    ((_, entry),) = [FinishedSteps((finished,)).find('round_1/normal', READS)]
    damage(finished / 'round_1' / 'normal' / 'epoch_2.pth')
    with pytest.raises(UserError, match=r'epoch_2\.pth (is missing|was changed)'):
        Journal(finished).find('round_1/normal', READS)
    with pytest.raises(UserError, match=r'reuse: .*epoch_2\.pth (is missing|was changed)'):
        take_over(finished, entry, tmp_path / 'b')


def test_a_step_is_taken_over_by_link(finished, tmp_path):
    source, entry = FinishedSteps((finished,)).find('round_1/normal', READS)
    for _ in range(2):  # killed in between: again
        take_over(source, entry, tmp_path / 'b')
    for name in ('epoch_2.pth', 'bank/gen-000000/meta.json'):
        ours, theirs = (folder / 'round_1' / 'normal' / name for folder in (tmp_path / 'b', finished))
        assert ours.samefile(theirs)


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
