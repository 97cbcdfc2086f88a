"""Experiments that are killed, run out of disk or may not write, and go on: they must end as if nothing had happened.

The experiments are the smallest that go through every step (tests/configs/tiny.py), on a made-up street. They run in
forks of one process that has imported everything.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssal3d.annotation.formats.plain import write_frame_json
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import read_annotated_boxes
from ssal3d.fileio import read_json
from tests.helpers.experiments import run_warm
from tests.helpers.paths import ROOT, TINY
from tests.helpers.street import write_street

SCRIPT, TRAIN = 'tools/faults/killed_run.py', 'tools/train.py'
CLASSES = ('Pedestrian', 'Cyclist', 'Car')
PEOPLE = f"""_base_ = '{TINY}'
train_cfg = dict(
    annotator=dict(_delete_=True, type='FileAnnotator', format='json'),
    rounds=[dict(pretrain=['normal', 'hssda'])],
    final=['supervised'],
    held_out_report=False,
)
"""
MOST_RUNS = 600  # of one experiment
TMPFS = '256m'


@dataclass
class Outcome:
    """What became of one kind of fault.

    Attributes:
        name: Of the kind.
        hits: Faults that happened, by what was written.
        differences: What is not as in the undisturbed experiment.
    """

    name: str
    hits: Counter = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


class Scene:
    """A street, and its undisturbed experiments.

    Args:
        folder: Where everything goes; what an earlier scene left there is used again.
        thin: Whether one fault for each kind of file and place is enough: names are compared without their numbers.
    """

    def __init__(self, folder: Path, thin: bool = False) -> None:
        self.folder, self.thin = folder.resolve(), thin
        self.street = self.folder / 'street'
        if not (self.street / 'kitti_infos_train.pkl').exists():
            shutil.rmtree(self.street, ignore_errors=True)
            write_street(self.street)
            convert = [sys.executable, 'tools/create_data.py', 'kitti', '--root-path', str(self.street)]
            options = ['--workers', '1', '--image-size', '128', '128']
            subprocess.run([*convert, *options], check=True, cwd=ROOT, capture_output=True)
        self._finished: set[Path] = set()
        self.people = self.folder / 'people.py'
        self.people.write_text(PEOPLE)

    def fresh(self, name: str) -> Path:
        """Return the place of a work dir of which nothing is left, nor of its ledger."""
        work_dir = self.folder / name
        shutil.rmtree(work_dir, ignore_errors=True)
        _ledger(work_dir).unlink(missing_ok=True)
        return work_dir

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a run."""
        return {**os.environ, 'SSAL3D_KITTI': str(self.street), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}

    def undisturbed(self, config: Path) -> Path:
        """Run an experiment that nothing disturbs, once; return its work dir."""
        work_dir = self.folder / f'undisturbed_{config.stem}'
        if config not in self._finished:
            self.go_on(config, work_dir)
            self._finished.add(config)
        return work_dir

    def run(self, config: Path, work_dir: Path, fault: Mapping[str, Any] | None = None) -> Any:
        """Start or resume an experiment in a fork; with a fault, if one is given."""
        words = [str(config), '--work-dir', str(work_dir), '--resume', '--no-check']
        if fault is None:
            return _again(TRAIN, words, self.environment)
        told = json.dumps({'work_dir': str(work_dir), 'ledger': str(_ledger(work_dir)), 'thin': self.thin, **fault})
        return _again(SCRIPT, words, {**self.environment, 'SSAL3D_FAULT': told})

    def go_on(self, config: Path, work_dir: Path) -> None:
        """Resume until the experiment is finished; whoever labels does so in between.

        Raises:
            UserError: If a run fails.
        """
        for _ in range(5):
            result = self.run(config, work_dir)
            if result.returncode:
                raise UserError(f'{work_dir}: resuming failed with {result.returncode}: {result.stderr[-1500:]}')
            if not self.label(work_dir):
                return

    def label(self, work_dir: Path) -> int:
        """Label what was handed out, as a person would; return how many frames."""
        count = 0
        for path in sorted(work_dir.glob('**/to_label/labels/*.json')):
            done = path.parent.parent.parent / 'labelled' / path.name
            if not done.exists():
                truth = read_annotated_boxes(self.street / 'kitti_infos_train.pkl', [path.stem], CLASSES)
                named = [CLASSES[label] for label in truth.labels.tolist()]
                cuboids = [Cuboid(name, tuple(box)) for name, box in zip(named, truth.boxes.tolist(), strict=True)]
                write_frame_json(done, LabelFrame(path.stem, tuple(cuboids)))
                count += 1
        return count


def _again(script: str, words: list[str], environment: Mapping[str, str]) -> Any:
    """Run a script in a fork; once more if the process that forks was ended by somebody else."""
    try:
        return run_warm(script, words, environment)
    except subprocess.TimeoutExpired:
        return run_warm(script, words, environment)


def kill_at_writes(scene: Scene, config: Path) -> Outcome:
    """Kill an experiment before and after each of its writes, one after the other."""
    outcome = Outcome(f'killed at a write ({config.stem})')
    work_dir = scene.fresh(f'writes_{config.stem}')
    for _ in range(MOST_RUNS):
        result = scene.run(config, work_dir, {'mode': 'writes'})
        if result.returncode == 0 and not scene.label(work_dir):
            break
        if result.returncode not in (0, -signal.SIGKILL):
            outcome.differences.append(f'exit {result.returncode}: {result.stderr.strip()[-500:]}')
            break
    else:
        outcome.differences.append(f'not finished after {MOST_RUNS} runs')
    outcome.hits = _hits(work_dir)
    outcome.differences += differences(work_dir, scene.undisturbed(config))
    return outcome


def kill_at_random(scene: Scene, config: Path, kills: int, seed: int = 0) -> Outcome:
    """Kill experiments at random times until there were enough kills."""
    outcome, chance, number = Outcome(f'killed at a random time ({config.stem})'), random.Random(seed), 0  # noqa: S311
    while outcome.hits['any time'] < kills and number < kills:
        work_dir = scene.fresh(f'random_{config.stem}_{number}')
        number += 1
        for _ in range(MOST_RUNS):
            seconds = chance.uniform(0.2, 2.0) * chance.choice((1, 3, 8))
            result = scene.run(config, work_dir, {'mode': 'seconds', 'seconds': seconds})
            outcome.hits['any time'] += result.returncode == -signal.SIGKILL
            if result.returncode == 0 and not scene.label(work_dir):
                break
            if result.returncode not in (0, -signal.SIGKILL):
                outcome.differences.append(f'exit {result.returncode}: {result.stderr.strip()[-500:]}')
                break
        outcome.differences += differences(work_dir, scene.undisturbed(config))
        shutil.rmtree(work_dir)
    return outcome


def refuse_writes(scene: Scene, config: Path, mode: str) -> Outcome:
    """Fill the disk, or forbid the folder, at each write; every run must end with one line and exit 2.

    Args:
        scene: The street.
        config: The experiment.
        mode: ``'full'`` or ``'read-only'``.
    """
    outcome = Outcome(f'{"disk full" if mode == "full" else "read-only folder"} ({config.stem})')
    folder = scene.fresh(f'{mode}_{config.stem}')
    with _small_disk(folder, mode) as disk:
        work_dir, ballast, forbidden = disk / 'run', disk / 'ballast', scene.folder / f'forbidden_{config.stem}'
        ledger = _ledger(folder)
        fault = {'mode': mode, 'ballast': str(ballast), 'forbidden': str(forbidden), 'ledger': str(ledger)}
        for _ in range(MOST_RUNS):
            before = len(ledger.read_text().splitlines()) if ledger.exists() else 0
            result = scene.run(config, work_dir, fault)
            after = ledger.read_text().splitlines()
            ballast.unlink(missing_ok=True)
            if forbidden.exists():
                Path(forbidden.read_text()).chmod(0o755)
                forbidden.unlink()
            hit = after[-1].split('\t') if len(after) > before else None
            if hit:
                outcome.hits[hit[0]] += 1
                problem = refused_badly(result)
                if problem:
                    outcome.differences.append(f'{hit[2]}: {problem}')
            elif result.returncode:
                outcome.differences.append(f'exit {result.returncode}: {result.stderr.strip()[-500:]}')
                break
            if result.returncode == 0 and not hit and not scene.label(work_dir):
                break
        outcome.differences += differences(work_dir, scene.undisturbed(config))
    return outcome


def refused_badly(result: Any) -> str:
    """Return what is wrong with how a run ended that could not write; empty if nothing is."""
    lines = result.stderr.strip().splitlines()
    if result.returncode != 2:
        return f'exit {result.returncode}, expected 2: {" ".join(lines)[-300:]}'
    if 'Traceback' in result.stderr or not lines or not lines[-1].startswith('error: '):
        return f'no single line: {" ".join(lines)[-300:]}'
    return ''


def kill_one_of_two(scene: Scene, config: Path) -> Outcome:
    """Kill one rank of two, and the launcher alone."""
    outcome = Outcome(f'two processes ({config.stem})')
    reference = scene.fresh(f'two_undisturbed_{config.stem}')
    code, errors = _both(scene, config, reference)
    if code:
        raise UserError(f'{reference}: exit {code}: {errors[-1500:]}')
    work_dir = scene.fresh(f'two_killed_{config.stem}')
    for rank, iterations in ((0, 3), (1, 5), (1, 2)):
        code, errors = _both(scene, config, work_dir, {'mode': 'rank', 'rank': rank, 'iterations': iterations})
        outcome.hits[f'rank {rank}'] += code != 0
        if code and 'Signal 9' not in errors:
            outcome.differences.append(f'exit {code} without a kill: {errors[-500:]}')
    for step in _steps_to_kill(reference):
        process = _start_both(scene, config, work_dir)
        while process.poll() is None and not (work_dir / step).exists():
            time.sleep(0.1)
        process.kill()
        outcome.hits['launcher alone'] += process.wait() == -signal.SIGKILL
        code, errors = _both(scene, config, work_dir)
        while code and 'another run is writing here' in errors:  # the processes that lost their launcher still train
            outcome.hits['refused while the orphans train'] += 1
            time.sleep(2)
            code, errors = _both(scene, config, work_dir)
        if code:
            outcome.differences.append(f'exit {code}: {errors[-500:]}')
            break
    outcome.differences += differences(work_dir, reference)
    return outcome


def _steps_to_kill(reference: Path) -> list[str]:
    """Return what appears while the launcher dies: the first predictions, the first epoch of the stage after them."""
    predictions, *_ = sorted(path.relative_to(reference) for path in reference.glob('round_1/predictions_*'))
    *_, epoch = sorted(
        (path for path in reference.glob('round_1/*/epoch_1.pth')), key=lambda path: path.stat().st_mtime
    )
    return [str(predictions), str(epoch.relative_to(reference))]


def _start_both(scene: Scene, config: Path, work_dir: Path, fault: Mapping[str, Any] | None = None) -> subprocess.Popen:
    """Start or resume an experiment in two processes."""
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    words = [str(config), '--work-dir', str(work_dir), '--resume', '--no-check', '--launcher', 'pytorch']
    told = {'work_dir': str(work_dir), 'ledger': str(_ledger(work_dir)), **(fault or {})}
    environment = {**scene.environment, **({'SSAL3D_FAULT': json.dumps(told)} if fault else {})}
    command = [*launcher, SCRIPT if fault else TRAIN, *words]
    pipes: dict[str, Any] = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.PIPE, 'text': True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)


def _both(scene: Scene, config: Path, work_dir: Path, fault: Mapping[str, Any] | None = None) -> tuple[int, str]:
    """Resume in two processes until the experiment fails or is finished; return the exit status and the errors."""
    while True:
        process = _start_both(scene, config, work_dir, fault)
        _, errors = process.communicate(timeout=900)
        if process.returncode or not scene.label(work_dir):
            return process.returncode, errors


def two_runs(scene: Scene, config: Path) -> Outcome:
    """Start a second run in the folder of one that trains: it is refused, and the first ends as ever."""
    outcome = Outcome(f'two runs in one folder ({config.stem})')
    work_dir = scene.fresh(f'two_runs_{config.stem}')
    command = [sys.executable, TRAIN, str(config), '--work-dir', str(work_dir), '--resume']
    labelled = 1
    while labelled:
        pipes: dict[str, Any] = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.PIPE}
        first = subprocess.Popen(command, cwd=ROOT, env=scene.environment, **pipes)
        outcome.differences += _refuse_second(scene, config, work_dir, first, outcome.hits)
        if first.wait():
            outcome.differences.append(f'the first run: exit {first.returncode}: {first.stderr.read()[-500:]!r}')
            break
        labelled = scene.label(work_dir)
    outcome.differences += differences(work_dir, scene.undisturbed(config))
    return outcome


def _refuse_second(scene: Scene, config: Path, work_dir: Path, first: subprocess.Popen, hits: Counter) -> Iterator[str]:
    """Start second runs while the first one runs; yield what is wrong with how they end."""
    before = _steps(work_dir)
    while first.poll() is None:
        if _steps(work_dir) != before:  # it is past its start and holds the folder
            result = scene.run(config, work_dir)
            if first.poll() is not None and result.returncode == 0:
                return
            if result.returncode != 2 or 'another run is writing here' not in result.stderr:
                yield f'exit {result.returncode}: {result.stderr.strip()[-300:]}'
            hits['refused'] += 1
        time.sleep(1)


def differences(work_dir: Path, undisturbed: Path) -> list[str]:
    """Return in what two experiments differ: steps, labelled frames, weights, banks and label stores."""
    found = []
    steps, expected = (_steps(folder) for folder in (work_dir, undisturbed))
    if steps != expected:
        return [f'steps {steps}, expected {expected}']
    for path in sorted(undisturbed.glob('labels/round_?.json')):
        frames = LabelState.read(work_dir / 'labels' / path.name).frames
        if frames != LabelState.read(path).frames:
            found.append(f'{path.name}: other labelled frames')
    for path in sorted(undisturbed.rglob('epoch_*.pth')):
        name = path.relative_to(undisturbed)
        if not (work_dir / name).exists():
            found.append(f'{name} is missing')
            continue
        state, other = (_weights(folder / name) for folder in (work_dir, undisturbed))
        if set(state) != set(other) or not all(torch.equal(state[key], other[key]) for key in other):
            found.append(f'{name}: other weights')
    for path in sorted(undisturbed.rglob('CURRENT')):
        name = path.relative_to(undisturbed)
        found += _generations(work_dir / name, path, str(name))
    leftovers = [path for path in work_dir.rglob('.*.tmp')]
    return found + [f'left over: {path.relative_to(work_dir)}' for path in leftovers[:3]]


def _generations(current: Path, expected: Path, name: str) -> Iterator[str]:
    """Yield in what the current generations of two stores differ."""
    if not current.exists() or current.read_text() != expected.read_text():
        yield f'{name}: another generation is current'
        return
    folder, other = (path.parent / path.read_text().strip() for path in (current, expected))
    for path in sorted(other.glob('*.npy')):
        if not np.array_equal(np.load(folder / path.name), np.load(path)):
            yield f'{name}: {path.name} differs'


def _steps(work_dir: Path) -> list[str]:
    path = work_dir / 'journal.json'
    return [step['step'] for step in read_json(path)['steps']] if path.exists() else []


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location='cpu', weights_only=False)['state_dict']  # our own file


def _ledger(work_dir: Path) -> Path:
    return work_dir.parent / f'{work_dir.name}.ledger'


def _hits(work_dir: Path) -> Counter:
    ledger = _ledger(work_dir)
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return Counter(line.split('\t')[0] for line in lines)


@contextmanager
def _small_disk(folder: Path, mode: str) -> Iterator[Path]:
    """Yield a folder; for full disks one on a small file system of its own.

    Raises:
        UserError: If this process may not make one.
    """
    folder.mkdir()
    if mode != 'full':
        yield folder
        return
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={TMPFS}', 'tmpfs', str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        raise UserError(f'{folder}: cannot mount a small file system ({mounted.stderr.strip()}); run as root')
    try:
        yield folder
    finally:
        subprocess.run(['umount', str(folder)], check=True)
