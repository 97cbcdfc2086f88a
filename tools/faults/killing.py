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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssal3d.annotation.formats.plain import write_frame_json
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import read_annotated_boxes
from tests.helpers.experiments import run_warm
from tests.helpers.paths import ROOT, TINY
from tests.helpers.street import write_street
from tools.faults.same_end import differences, steps_of

SCRIPT, TRAIN = 'tools/faults/killed_run.py', 'tools/train.py'
CLASSES = ('Pedestrian', 'Cyclist', 'Car')
PEOPLE = f"""_base_ = '{TINY}'
train_cfg = dict(
    annotator=dict(_delete_=True, type='FileAnnotator', format='json'),
    initial=dict(query=dict(unit='frames', budget=3)),
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
        ledger_of(work_dir).unlink(missing_ok=True)
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
        told = json.dumps({'work_dir': str(work_dir), 'ledger': str(ledger_of(work_dir)), 'thin': self.thin, **fault})
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
        ledger = ledger_of(folder)
        fault = {'mode': mode, 'ballast': str(ballast), 'forbidden': str(forbidden), 'ledger': str(ledger)}
        for _ in range(MOST_RUNS):
            before = len(ledger.read_text().splitlines()) if ledger.exists() else 0
            result = scene.run(config, work_dir, fault)
            after = ledger.read_text().splitlines()
            ballast.unlink(missing_ok=True)
            if forbidden.exists():
                with suppress(FileNotFoundError):  # a folder that was to be renamed when it is whole
                    Path(forbidden.read_text()).chmod(0o755)
                forbidden.unlink()
            hit = after[-1].split('\t') if len(after) > before else None
            if hit:
                outcome.hits[hit[0]] += 1
                problem = refused_badly(result, hit[0])
                if problem:
                    outcome.differences.append(f'{hit[2]}: {problem}')
            elif result.returncode:
                outcome.differences.append(f'exit {result.returncode}: {result.stderr.strip()[-500:]}')
                break
            if result.returncode == 0 and not hit and not scene.label(work_dir):
                break
        outcome.differences += differences(work_dir, scene.undisturbed(config))
    return outcome


def refused_badly(result: Any, kind: str = '') -> str:
    """Return what is wrong with how a run ended that could not write; empty if nothing is.

    Args:
        result: What is known of the finished process.
        kind: What could not be written. Without its page an experiment ends all the same, but says so.
    """
    lines = result.stderr.strip().splitlines()
    if kind == 'report':
        told = 'no page was written' in result.stderr + (result.stdout or '')
        return '' if told and result.returncode == 0 else f'exit {result.returncode}, the missing page is not told'
    if result.returncode != 2:
        return f'exit {result.returncode}, expected 2: {" ".join(lines)[-300:]}'
    if 'Traceback' in result.stderr or not lines or not lines[-1].startswith('error: '):
        return f'no single line: {" ".join(lines)[-300:]}'
    return ''


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
    before = steps_of(work_dir)
    while first.poll() is None:
        if steps_of(work_dir) != before:  # it is past its start and holds the folder
            result = scene.run(config, work_dir)
            if first.poll() is not None and result.returncode == 0:
                return
            if result.returncode != 2 or 'another run is writing here' not in result.stderr:
                yield f'exit {result.returncode}: {result.stderr.strip()[-300:]}'
            hits['refused'] += 1
        time.sleep(1)


def ledger_of(work_dir: Path) -> Path:
    """Return the file that remembers which writes of an experiment were hit."""
    return work_dir.parent / f'{work_dir.name}.ledger'


def _hits(work_dir: Path) -> Counter:
    ledger = ledger_of(work_dir)
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
