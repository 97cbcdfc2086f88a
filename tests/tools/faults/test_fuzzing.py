"""Readers fed with damaged files: a short run over all of them, and what the harness notices."""

import os
from pathlib import Path

import numpy as np
import pytest

from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from tools.faults import fuzzing
from tools.faults.fuzzing import Example, Reader, fuzz
from tools.faults.mutations import mutate
from tools.faults.readers import reader_names, readers

INPUTS = 150
NEEDS = {
    'points': ('pypcd4', 'trimesh'),
    'mcap': ('mcap_protobuf', 'mcap_ros2', 'foxglove_schemas_protobuf'),
    'recording': ('mcap_protobuf', 'mcap_ros2', 'foxglove_schemas_protobuf'),
    'waymo-records': ('google.protobuf', 'google_crc32c'),
    'waymo-objects': ('google.protobuf',),
}


@pytest.mark.parametrize('name', reader_names())
def test_damaged_files_are_read_or_refused_in_one_line(name):
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module)
    outcome = fuzz(next(readers([name])), INPUTS)
    assert outcome.findings == []
    assert outcome.valid + outcome.refused == outcome.inputs == INPUTS
    assert outcome.valid, 'no damaged file of this kind is ever read: the damage is too great to say anything'
    assert outcome.refused


def reader(read, check=lambda found: None):
    return Reader('made up', read, [Example('x.json', b'{"schema": 1, "number": 5, "name": "a"}', 'json')], check)


def found_by(read, check=lambda found: None, inputs=40):
    return [finding.what for finding in fuzz(reader(read, check), inputs).findings]


def damaged_only(act):
    """Return a reader that does something wrong with every damaged file."""

    def read(at: Path):
        content = (at / 'x.json').read_bytes()
        return content if content == reader(None).examples[0].content else act(content)

    return read


def test_an_error_that_is_no_user_error_is_found():
    def read(at):
        return read_json(at / 'x.json')['number'] + 1

    kinds = {what.split(' at ')[0] for what in found_by(read)}
    assert {'KeyError', 'TypeError'} <= kinds


def test_garbage_that_is_returned_is_found():
    def check(found):
        assert isinstance(found['number'], int), 'no number'

    assert any(what.startswith('AssertionError') for what in found_by(lambda at: read_json(at / 'x.json'), check))


def test_an_endless_loop_is_found(monkeypatch):
    monkeypatch.setattr(fuzzing, 'CPU_SECONDS', 0.1)

    def endless(content):
        while True:
            try:
                sum(range(1000))
            except Exception:  # what a reader of a damaged file may do
                continue

    (found,) = found_by(damaged_only(endless), inputs=2)
    assert found.startswith('TooLongError at test_fuzzing.py')


def test_a_crash_of_a_library_is_found_and_the_count_goes_on():
    outcome = fuzz(reader(damaged_only(lambda content: os.abort() if b'5' in content else content)), 40)
    assert [finding.what for finding in outcome.findings] == ['crash with status -6']
    assert 1 < outcome.findings[0].count < 40


def test_a_process_that_does_not_get_on_is_ended(monkeypatch):
    import time

    monkeypatch.setattr(fuzzing, 'HUNG_SECONDS', 0.3)
    assert found_by(damaged_only(lambda content: time.sleep(60)), inputs=2) == ['hang']


def test_memory_without_bounds_is_found():
    assert 'MemoryError' in found_by(damaged_only(lambda content: np.ones(1 << 33)), inputs=1)[0]


@pytest.mark.parametrize(('text', 'problem'), [('a' * 5000, 'characters'), ('', 'empty')])
def test_messages_are_looked_at(monkeypatch, text, problem):
    monkeypatch.setattr('ssal3d.errors.LONGEST_LINE', 10_000)

    def refuse(content):
        raise UserError(text)

    (finding,) = fuzz(reader(damaged_only(refuse)), 3).findings
    assert problem in finding.text


def test_a_reader_that_refuses_sound_files_is_not_counted():
    def refuse(at):
        raise UserError('never')

    with pytest.raises(UserError, match='never'):
        fuzz(reader(refuse), 1)


@pytest.mark.parametrize('kind', ['json', 'text', 'binary'])
def test_the_same_seed_gives_the_same_damage(kind):
    import random

    content = b'{"a": [1, 2.5, "text"], "b": {"c": null}}\n'
    first, second = ([mutate(content, kind, random.Random(number)) for number in range(200)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 120
    assert first.count(content) < 20
