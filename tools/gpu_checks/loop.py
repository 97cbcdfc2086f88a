"""A shortened experiment under torchrun: killed in its first training, resumed; then other seeds, if time is left."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.train_step import ROOT

from gpu_checks.processes import kill_all
from gpu_checks.record import Figures, NotHeldError, Record
from ssal3d.fileio import read_json

CONFIG = ROOT / 'configs' / 'ssal' / 'pvrcnn_sim.py'
SHORT = [
    'train_cfg.initial.query.budget=40',
    'query.budget=20',
    'stages.normal.epochs=2',  # killed after the first
    'stages.normal.repeat=2',
    'stages.cpsp.epochs=2',
    'stages.cpsp.repeat=1',
    'stages.supervised.epochs=1',
    'stages.supervised.repeat=1',
    'stages.final_cpsp.epochs=1',
    'stages.final_cpsp.repeat=1',
]
TINY = [
    'train_cfg.initial.query.budget=6',
    'query.budget=3',
    'stages.normal.repeat=1',
    'stages.cpsp.epochs=1',
    'stages.cpsp.interval=1',
    'train_dataloader.batch_size=2',
]


def shortened(small: bool) -> list[str]:
    """Return the options that shorten the experiment.

    Args:
        small: For a rehearsal: as few frames and epochs as there can be.
    """
    return [*SHORT, *(TINY if small else ['train_dataloader.batch_size=4'])]


def run(record: Record, deadline: float) -> None:
    """Simulate streets, then run, kill and resume an experiment on them.

    Args:
        record: Where results go.
        deadline: Time (monotonic) at which everything must have ended.
    """
    out = record.path.parent / 'loop'
    streets, work = out / 'streets', out / 'run'
    frames, val = ('12', '4') if record.small else ('60', '12')
    options = shortened(record.small)

    def simulate() -> None:
        _finish(
            [sys.executable, '-m', 'ssal3d', 'simulate', '--out', str(streets), '--frames', frames, '--val', val],
            out / 'simulate.txt',
            deadline,
        )
        _finish(
            [sys.executable, '-m', 'ssal3d', 'convert', 'kitti', '--root-path', str(streets)],
            out / 'convert.txt',
            deadline,
        )

    def kill() -> Figures:
        process, log = _start(_train(work, options), out / 'killed.txt', streets)
        start = time.monotonic()
        while process.poll() is None and not any(work.glob('round_1/*/epoch_1.pth')) and time.monotonic() < deadline:
            time.sleep(0.1)
        ended = process.poll()
        kill_all(process)
        if ended is not None:
            raise NotHeldError(f'it ended by itself with {ended}; see {log}')
        return {'seconds until its first checkpoint': time.monotonic() - start}

    def resume() -> Figures:
        before = {entry['step'] for entry in _steps(work)}
        stage = next(work.glob('round_1/*/epoch_1.pth'), None)
        start = time.monotonic()
        process, log = _start([*_train(work, options), '--resume'], out / 'resumed.txt', streets)
        code = _wait(process, deadline)
        if code:
            raise NotHeldError(f'ended with {code}; see {log}')
        names = [entry['step'] for entry in _steps(work)]
        if not before <= set(names) or len(set(names)) != len(names):
            raise NotHeldError(f'steps were lost or done twice: {names}')
        amid = stage and f'round_1/{stage.parent.name}' not in before
        if amid and not any('resumed epoch: 1' in path.read_text() for path in stage.parent.glob('*/*.log')):
            raise NotHeldError(f'the first training did not go on from its first epoch; see {stage.parent}')
        if not (work / 'metrics.json').exists():
            raise NotHeldError(f'no metrics.json; see {log}')
        return {'seconds': time.monotonic() - start, 'steps': len(names)}

    record.check('streets are simulated and converted', simulate)
    record.check('an experiment under torchrun starts, and is killed after an epoch of its first stage', kill)
    record.check('it is resumed to its end', resume)
    seconds = next((one.figures['seconds'] for one in record.results if 'seconds' in one.figures), None)
    seed = 1
    while seconds and record.on_gpu and deadline - time.monotonic() > 1.5 * seconds:
        record.check(
            f'seed {seed} of the same experiment', lambda seed=seed: _seed(out, options, streets, seed, deadline)
        )
        seed += 1


def _seed(out: Path, options: list[str], streets: Path, seed: int, deadline: float) -> Figures:
    work = out / f'seed_{seed}'
    process, log = _start(_train(work, [*options, f'randomness.seed={seed}']), out / f'seed_{seed}.txt', streets)
    if code := _wait(process, deadline):
        raise NotHeldError(f'ended with {code}; see {log}')
    found = read_json(work / 'metrics.json')
    return {'steps': float(len(_steps(work))), 'entries of metrics.json': float(len(found))}


def _train(work: Path, options: list[str]) -> list[str]:
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '1']
    words = ['-m', 'ssal3d', 'train', str(CONFIG), '--work-dir', str(work), '--launcher', 'pytorch']
    return [*torchrun, *words, '--cfg-options', *options]


def _start(command: list[str], log: Path, streets: Path) -> tuple[subprocess.Popen, Path]:
    """Start a command with its output in a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, 'SSAL3D_SIM': str(streets)}
    with log.open('w') as file:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT), log


def _wait(process: subprocess.Popen, deadline: float) -> int:
    try:
        return process.wait(timeout=max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        kill_all(process)
        raise NotHeldError('it did not end in time') from None


def _finish(command: list[str], log: Path, deadline: float) -> None:
    process, path = _start(command, log, log.parent)
    if code := _wait(process, deadline):
        raise NotHeldError(f'{command[3]} ended with {code}; see {path}')


def _steps(work: Path) -> list[dict]:
    journal = work / 'journal.json'
    return read_json(journal)['steps'] if journal.exists() else []
