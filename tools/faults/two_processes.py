"""Experiments in two processes of which one is killed, or the launcher that started them."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError
from tests.helpers.paths import ROOT
from tools.faults.killing import SCRIPT, TRAIN, Outcome, Scene, ledger_of
from tools.faults.same_end import differences, steps_of


def kill_one_of_two(scene: Scene, config: Path) -> Outcome:
    """Kill one rank of two, again and again, then the launcher alone, of another experiment each time."""
    outcome = Outcome(f'two processes ({config.stem})')
    reference = scene.fresh(f'two_undisturbed_{config.stem}')
    code, errors = _both(scene, config, reference)
    if code:
        raise UserError(f'{reference}: exit {code}: {errors[-1500:]}')
    work_dir = scene.fresh(f'two_killed_{config.stem}')
    for rank, iterations in ((0, 3), (1, 5), (1, 2), (0, 7)):
        code, errors = _both(scene, config, work_dir, {'mode': 'rank', 'rank': rank, 'iterations': iterations})
        outcome.hits[f'rank {rank} after {len(steps_of(work_dir))} steps'] += code != 0
        if code and 'Signal 9' not in errors:
            outcome.differences.append(f'exit {code} without a kill: {errors[-500:]}')
    outcome.differences += _end_of_both(scene, config, work_dir, reference, outcome.hits)
    for number, place in enumerate(_places_to_kill(reference)):
        work_dir = scene.fresh(f'two_orphaned_{config.stem}_{number}')
        hit = False
        while not hit and len(steps_of(work_dir)) < len(steps_of(reference)):
            process = _start_both(scene, config, work_dir)
            while process.poll() is None and not (work_dir / place).exists():
                time.sleep(0.05)
            hit = process.poll() is None
            process.kill()
            process.wait()
            scene.label(work_dir)
        outcome.hits[f'launcher alone at {place}'] += hit
        outcome.differences += _end_of_both(scene, config, work_dir, reference, outcome.hits)
    return outcome


def _end_of_both(scene: Scene, config: Path, work_dir: Path, reference: Path, hits: Counter) -> Iterator[str]:
    """Resume until the experiment is finished; yield in what it differs."""
    code, errors = _both(scene, config, work_dir)
    while code and 'another run is writing here' in errors:  # the processes that lost their launcher still train
        hits['refused while the orphans train'] += 1
        time.sleep(2)
        code, errors = _both(scene, config, work_dir)
    if code:
        yield f'exit {code}: {errors[-500:]}'
    yield from differences(work_dir, reference)


def _places_to_kill(reference: Path) -> list[str]:
    """Return what appears when the launcher is killed: the first predictions, the first epoch of the last stage."""
    predictions, *_ = sorted(path.relative_to(reference) for path in reference.glob('round_1/predictions_*'))
    *_, epoch = sorted(
        (path for path in reference.glob('round_1/*/epoch_1.pth')), key=lambda path: path.stat().st_mtime
    )
    return [str(predictions), str(epoch.relative_to(reference))]


def _start_both(scene: Scene, config: Path, work_dir: Path, fault: Mapping[str, Any] | None = None) -> subprocess.Popen:
    """Start or resume an experiment in two processes."""
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    words = [str(config), '--work-dir', str(work_dir), '--resume', '--no-check', '--launcher', 'pytorch']
    told = {'work_dir': str(work_dir), 'ledger': str(ledger_of(work_dir)), **(fault or {})}
    environment = {**scene.environment, **({'SSAL3D_FAULT': json.dumps(told)} if fault else {})}
    command = [*launcher, SCRIPT if fault else TRAIN, *words]
    with open(_errors_of(work_dir), 'w') as errors:  # no pipe, which would hold up those who outlive their launcher
        pipes: dict[str, Any] = {'stdout': subprocess.DEVNULL, 'stderr': errors}
        return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)


def _both(scene: Scene, config: Path, work_dir: Path, fault: Mapping[str, Any] | None = None) -> tuple[int, str]:
    """Resume in two processes until the experiment fails or is finished; return the exit status and the errors."""
    while True:
        code = _start_both(scene, config, work_dir, fault).wait(timeout=900)
        if code or not scene.label(work_dir):
            return code, _errors_of(work_dir).read_text()


def _errors_of(work_dir: Path) -> Path:
    return work_dir.with_name(f'{work_dir.name}.errors')
