"""`ssal3d select`: what it refuses, in one line and before anything is written."""

import json

import pytest

from ssal3d.cli.select import main
from ssal3d.data.label_state import LabelState
from ssal3d.predictions.synthetic import CLASSES, synthetic_pool, write_predictions


@pytest.fixture
def folder(tmp_path, monkeypatch):
    pool = synthetic_pool(12)
    write_predictions(pool, tmp_path / 'pool')
    (tmp_path / 'ids.txt').write_text('\n'.join(pool.frame_ids.tolist()))
    LabelState.empty(CLASSES, 'pool', pool.frame_ids.tolist()).write(tmp_path / 'labels.json')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, name, *words, code=0, source=('--predictions', 'pool'), out='query.json'):
    settings = ('--labels', 'labels.json', '--unit', 'frames', '--budget', '2', '--out', out)
    with pytest.raises(SystemExit) as ended:
        main([name, *source, *settings, *words])
    error = capsys.readouterr().err
    assert ended.value.code == code, error
    if code:
        assert error.count('\n') == 1, error
    return error


@pytest.mark.parametrize('name', ['entropy', 'confidence', 'cal'])
def test_a_sampler_that_reads_predictions_takes_no_bare_frame_ids(capsys, folder, name):
    error = run(capsys, f'ssal3d::active/{name}_kitti.py', code=2, source=('--frames', 'ids.txt'))
    assert 'Sampler reads them; give --predictions' in error
    assert not (folder / 'query.json').exists()


def test_a_random_query_needs_frame_ids_only(capsys, folder):
    run(capsys, 'ssal3d::active/random_kitti.py', source=('--frames', 'ids.txt'))
    assert len(json.loads((folder / 'query.json').read_text())['frames']) == 2


def test_force_writes_over_queries_and_nothing_else(capsys, folder):
    part = next((folder / 'pool').glob('part-*.parquet'))
    for path in (folder / 'labels.json', folder / 'ids.txt', part):
        before = path.read_bytes()
        assert 'this file is no query' in run(
            capsys, 'ssal3d::active/random_kitti.py', '--force', code=2, out=str(path)
        )
        assert path.read_bytes() == before
    run(capsys, 'ssal3d::active/random_kitti.py')
    before = (folder / 'query.json').read_bytes()
    run(capsys, 'ssal3d::active/random_kitti.py', '--force', '--seed', '5')
    assert (folder / 'query.json').read_bytes() != before


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ("randomness = dict(seed='abc')", "found randomness.seed='abc', expected a whole number from 0"),
        ('randomness = dict(seed=-1)', 'found randomness.seed=-1'),
        ('randomness = 3', 'found randomness=3, expected a dictionary'),
        ('active_sampler = 3', 'active sampler: found 3, expected dict(type=..., ...)'),
    ],
)
def test_settings_of_another_type_are_one_line(capsys, folder, line, message):
    lines = ["active_sampler = dict(type='RandomSampler')", 'query = dict(budget=2)', line]
    (folder / 'config.py').write_text('\n'.join(lines))
    assert message in run(capsys, 'config.py', code=2)


def test_a_config_that_leaves_the_seed_open_as_mmengine_does_has_seed_0(capsys, folder):
    lines = ["active_sampler = dict(type='RandomSampler')", 'query = dict(budget=2)', 'randomness = dict(seed=None)']
    (folder / 'config.py').write_text('\n'.join(lines))
    run(capsys, 'config.py')
    assert json.loads((folder / 'query.json').read_text())['seed'] == 0


@pytest.mark.parametrize('words', [('--seed', '-1'), ('--round', '-1')])
def test_numbers_below_0_are_refused(capsys, folder, words):
    assert f'{words[0]}: found -1' in run(capsys, 'ssal3d::active/random_kitti.py', *words, code=2)
