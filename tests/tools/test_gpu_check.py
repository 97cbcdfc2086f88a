"""`tools/gpu_check.py` without a GPU: its stages fit the configs, what is finished counts, nothing is left running."""

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ssal3d.configs import read_config
from ssal3d.fileio import read_json

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def load(monkeypatch):
    """Import a module of `tools`."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module


@pytest.fixture
def record(load, tmp_path):
    """Make the record of a stage with the small or the full-size detector."""
    load('benchmarks.train_step')
    return lambda small=True: load('gpu_checks.record').Record('stage', tmp_path / 's.json', torch.device('cpu'), small)


@pytest.mark.parametrize('stage', ['operators', 'model', 'training', 'pool'])
def test_a_rehearsal_of_a_stage_passes(load, record, stage, monkeypatch):
    monkeypatch.delenv('SSAL3D_TEST_DATA', raising=False)  # a machine with a GPU has the synthetic scan alone
    made = record()
    load(f'gpu_checks.{stage}').run(made)
    assert [(found.name, found.text) for found in made.results if not found.passed] == []
    assert len(made.results) == {'operators': 15, 'model': 4, 'training': 4, 'pool': 1}[stage]


def test_actions_are_timed_in_turns(load, record, monkeypatch):
    made, called = record(), []
    monkeypatch.setattr(type(made), 'on_gpu', True)
    monkeypatch.setattr(made, 'synchronise', lambda: called.append('|'))
    times = made.times([lambda: called.append('a'), lambda: called.append('b')], 3)
    assert ''.join(called) == 'abab' + 3 * '|a||b|'
    assert times.shape == (2, 3)
    assert (times >= 0).all()


@pytest.mark.parametrize(('slower', 'passes'), [(1.03, True), (1.07, False)])
def test_our_step_is_judged_by_the_median_of_the_ratios(load, record, monkeypatch, slower, passes):
    made, training, drift = record(), load('gpu_checks.training'), np.linspace(0.2, 0.3, 25)
    ours = drift * slower
    ours[::6] *= 4  # five steps that something else disturbed
    monkeypatch.setattr(type(made), 'on_gpu', True)
    monkeypatch.setattr(training, '_steps', lambda *_: None)
    monkeypatch.setattr(made, 'times', lambda *_: np.stack([drift, ours]))
    made.check('in turns', lambda: training._in_turns(made, 2))
    (found,) = made.results
    assert found.passed == passes, found.text
    if passes:
        assert found.figures['of stock'] == pytest.approx(slower)
        assert found.figures['at least'] <= found.figures['of stock'] <= found.figures['at most']
    else:
        assert found.text.startswith('1.070 of stock (1.070 to 1.070), 1.05 allowed')


def test_stock_and_ours_are_the_same_detector_of_full_size(load, record):
    inputs, made = load('gpu_checks.inputs'), record(small=False)
    stock, ours = (inputs.build(inputs.model_config(made, stock=stock), made.device) for stock in (True, False))
    assert type(stock).__name__ == 'PointVoxelRCNN'
    assert not [name for name, part in stock.named_modules() if type(part).__name__.startswith('Active')]
    assert {name: value.shape for name, value in stock.state_dict().items()} == {
        name: value.shape for name, value in ours.state_dict().items()
    }


@pytest.mark.parametrize('method', ['threedioumatch', 'joint3d', 'nal', 'hssda'])
@pytest.mark.parametrize('small', [True, False])
def test_every_method_is_built_in_both_sizes(load, record, method, small):
    training, made = load('gpu_checks.training'), record(small)
    assert set(training.METHODS) >= {method}
    model = training.method_model(made, method)
    assert hasattr(model, 'student')
    assert sum(value.numel() for value in model.student.parameters()) > (1e5 if small else 1e7)


@pytest.mark.parametrize('small', [True, False])
def test_the_options_that_shorten_the_experiment_exist(load, record, small):
    record()
    loop = load('gpu_checks.loop')
    config = read_config(loop.CONFIG)
    for option in loop.shortened(small):
        place, key = option.split('=')[0].rpartition('.')[::2]
        assert key in at(config, place), option


def at(config, place):
    for part in place.split('.'):
        config = config[part]
    return config


def alive(pid):
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


CHILD = 'import subprocess, sys; p = subprocess.Popen(["sleep", "60"], start_new_session=True); print(p.pid, flush=True); p.wait()'


def test_a_worker_with_a_session_of_its_own_is_killed_too(load):
    processes = load('gpu_checks.processes')
    process = subprocess.Popen([sys.executable, '-c', CHILD], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    assert alive(worker)
    processes.kill_all(process)
    assert process.returncode == -9
    until = time.monotonic() + 10
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)
    processes.kill_all(process)  # it has ended: nothing happens


SCRIPT = """
import json, pathlib, sys, time
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
path = pathlib.Path(words['--out']) / f'{words["--stage"]}.json'
results = []
for number in range(2):
    results.append({'stage': words['--stage'], 'name': f'check {number}', 'passed': True, 'text': ''})
    path.with_suffix('.part').write_text(json.dumps({'results': results}))
    path.with_suffix('.part').rename(path)
    time.sleep(0.6)
{END}
"""


@pytest.fixture
def driver(load, tmp_path, monkeypatch):
    """Run the driver with a script in the place of its stages; returns its exit status and its report."""
    module = load('gpu_check')

    def run(end, *options):
        script = tmp_path / 'stage.py'
        script.write_text(SCRIPT.replace('{END}', end))
        monkeypatch.setattr(module, '__file__', str(script))
        out = tmp_path / 'out'
        monkeypatch.setattr(sys, 'argv', ['gpu_check.py', '--out', str(out), '--device', 'cpu', '--small', *options])
        return module.main(), read_json(out / 'gpu_check.json')

    return run


def test_what_every_stage_found_is_one_report(driver):
    status, report = driver('', '--only', 'operators', 'model')
    assert status == 0
    assert [(found['stage'], found['name']) for found in report['results']] == [
        (stage, f'check {number}') for stage in ('operators', 'model') for number in range(2)
    ]


def test_what_is_finished_when_time_runs_out_counts(driver, capfd):
    status, report = driver('time.sleep(60)', '--only', 'operators', 'model', '--minutes', '0.05')
    assert status == 1
    assert [(found['name'], found['passed'], found['text']) for found in report['results']] == [
        ('check 0', True, ''),
        ('check 1', True, ''),
        ('the stage as a whole', False, 'not finished in 3 s'),
        ('the stage as a whole', False, 'no time was left'),
    ]
    assert 'FAIL  operators: not finished in 3 s' in capfd.readouterr().out


def test_a_stage_that_fails_as_a_whole_is_a_failed_check(driver):
    status, report = driver('sys.exit(3)', '--only', 'pool')
    assert status == 1
    assert report['results'][-1]['text'] == 'the process ended with 3; see pool.txt'


def test_the_report_is_there_before_a_stage_ends(load, driver, tmp_path, monkeypatch):
    module, seen = load('gpu_check'), []
    write = module.write

    def noted(report, out):
        write(report, out)
        seen.append(len(read_json(out / 'gpu_check.json')['results']))

    monkeypatch.setattr(module, 'write', noted)
    driver('', '--only', 'operators')
    assert seen[:2] == [1, 2]


@pytest.mark.parametrize(
    ('torch_module', 'said'),
    [
        ('class cuda:\n    is_available = staticmethod(lambda: False)\n', 'torch sees no GPU, expected one'),
        ('import no_such_module', "torch cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"),
    ],
)
def test_without_a_gpu_nothing_is_checked(load, monkeypatch, tmp_path, capfd, torch_module, said):
    module = load('gpu_check')
    (tmp_path / 'torch.py').write_text(torch_module)
    monkeypatch.setattr(module, 'environment', lambda _: {**os.environ, 'PYTHONPATH': str(tmp_path)})
    monkeypatch.setattr(sys, 'argv', ['gpu_check.py', '--out', str(tmp_path / 'out')])
    assert module.main() == 2
    error = capfd.readouterr().err
    assert error.startswith('error: ')
    assert said in error
    assert error.count('\n') == 1
    assert not (tmp_path / 'out' / 'gpu_check.json').exists()


def test_the_stages_leave_time_on_a_gpu(load):
    module = load('gpu_check')
    limits = [seconds for seconds in module.STAGES.values() if seconds is not None]
    assert sum(limits) <= 60 * module.MINUTES - 30
    assert module.MINUTES <= 9


@pytest.mark.parametrize(
    ('command', 'said'),
    [
        ('pass', 'compiled'),
        ('raise SystemExit(3)', 'ended with 3; see kernels.txt'),
        ('import time; time.sleep(60)', 'not finished in 1 s; the stages compile the rest'),
    ],
)
def test_on_a_gpu_kernels_are_compiled_before_the_stages_and_cannot_fail_a_check(
    driver, load, monkeypatch, tmp_path, capfd, command, said
):
    module = load('gpu_check')
    warm_up = tmp_path / 'ssal3d' / 'ops' / 'warm_up.py'
    warm_up.parent.mkdir(parents=True)
    warm_up.write_text(command)
    for folder in (warm_up.parent, warm_up.parents[1]):
        (folder / '__init__.py').touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, 'KERNELS', 1)
    monkeypatch.setattr(module, 'without_gpu', lambda _: '')
    monkeypatch.setattr(module, 'environment', lambda _: {**os.environ, 'PYTHONPATH': str(tmp_path)})
    status, report = driver('', '--only', 'model', '--device', 'cuda')
    assert status == 0
    assert len(report['results']) == 2
    out = capfd.readouterr().out
    assert out.index('--- kernels') < out.index(said) < out.index('--- model')
