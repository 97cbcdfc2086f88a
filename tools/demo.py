"""The whole of S-SSAL in one command, with pauses allowed: get frames, convert them, run the experiment, show a page.

Simulated streets need nothing else; a rival with a random query shares everything before the query.

Example:
    python tools/demo.py                            simulated streets, a pillar detector, minutes
    python tools/demo.py --full                     simulated streets, a small PV-RCNN, about half an hour
    python tools/demo.py --data data/kitti_mini     real frames
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError, command
from ssal3d.fileio import read_json, write_json
from ssal3d.report import read_experiment, write_report
from ssal3d.report.comparison import group
from ssal3d.report.experiment import MEASURES
from ssal3d.report.learned import stage_rows
from ssal3d.terminal import console, print_table

ROOT = Path(__file__).resolve().parents[1]
# Without a GPU; a process keeps one core busy.
TWO_PROCESSES = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', '--local-ranks-filter', '0')


@dataclass(frozen=True)
class Demo:
    """What a demo runs.

    Attributes:
        config: The experiment.
        rival: An experiment that differs in its query only, or ''.
        frames: Frames to simulate, those of the val split included.
        val: Frames of the val split.
        processes: Processes without a GPU; a rival has a core of its own.
    """

    config: str
    rival: str = ''
    frames: int = 0
    val: int = 0
    processes: int = 2


QUICK = Demo('configs/ssal/pillars_sim_demo.py', 'configs/ssal/pillars_sim_demo_random.py', 450, 150, processes=1)
FULL = Demo('configs/ssal/pvrcnn_sim.py', '', 900, 300)
REAL = Demo('configs/ssal/pvrcnn_kitti_mini.py', processes=1)


@command
def main() -> int:
    """Run the commands that a user would type, and show them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', help='folder in the KITTI object layout, only read (default: simulate streets)')
    parser.add_argument('--full', action='store_true', help='the small PV-RCNN instead of the pillar detector')
    parser.add_argument(
        '--work-dir', help='folder of all that is written (default: work_dirs/demo, demo_full, demo_real)'
    )
    parser.add_argument('--config', help='another experiment')
    arguments, options = parser.parse_known_args()
    if arguments.data is not None and not (Path(arguments.data) / 'training').is_dir():
        raise UserError(
            f'{arguments.data or "no folder"}: expected training/velodyne, label_2, calib and ImageSets; '
            'run: make demo DATA=<folder in the KITTI object layout>'
        )
    demo = REAL if arguments.data else FULL if arguments.full else QUICK
    kind = '_real' if arguments.data else '_full' if arguments.full else ''
    work = Path(arguments.work_dir or f'work_dirs/demo{kind}').resolve()
    config, rival = arguments.config or demo.config, '' if arguments.config else demo.rival
    done = {'config': config, 'options': options, 'data': arguments.data}
    if not _is_done(work, done):
        data = _get_data(demo, arguments.data, work / 'data')
        run = _start(_training(demo, config, work / 'run', options), data)
        if rival:
            _compete(
                run, _training(demo, rival, work / 'rival', _with(options, f'train_cfg.reuse={work / "run"}')), data
            )
        _finish(run)
        folders = [work / 'run', *([work / 'rival'] if rival else [])]
        write_report(folders, work / 'report.html')
        made = {'folders': [folder.name for folder in folders], 'settings': _settings(config)}
        write_json(work / 'demo.json', {'schema': 1, **done, **made})
    _show(work)
    return 0


def _with(options: list[str], override: str) -> list[str]:
    """Return options with one more override of the config."""
    place = options.index('--cfg-options') + 1 if '--cfg-options' in options else None
    return [*options[:place], override, *options[place:]] if place else [*options, '--cfg-options', override]


def _is_done(work: Path, wanted: dict) -> bool:
    """Return whether this very demo finished here before, with the settings that its config has now."""
    if not (work / 'demo.json').exists():
        return False
    found = read_json(work / 'demo.json')
    same = all(found.get(key) == value for key, value in wanted.items())
    return same and found.get('settings') == _settings(wanted['config'])


def _settings(config: str) -> str:
    from ssal3d.reproduce.experiments import settings_digest  # imports MMDetection3D: seconds

    return settings_digest(config)


def _get_data(demo: Demo, real: str | None, data: Path) -> dict[str, str]:
    """Simulate or convert; return the environment variable that tells the config where the data are."""
    if real:
        _run(['tools/create_data.py', 'kitti', '--root-path', str(Path(real).resolve()), '--out-dir', str(data)])
        return {'SSAL3D_KITTI': str(data)}
    _run(['tools/simulate.py', '--out', str(data), '--frames', str(demo.frames), '--val', str(demo.val)])
    _run(['tools/create_data.py', 'kitti', '--root-path', str(data)])
    return {'SSAL3D_SIM': str(data)}


def _training(demo: Demo, config: str, work: Path, options: list[str]) -> list[str]:
    """Return the command that runs an experiment, from where it was interrupted."""
    import torch

    several = demo.processes > 1 and not torch.cuda.is_available()
    launch, launcher = (TWO_PROCESSES, 'pytorch') if several else ((), 'none')
    return [*launch, 'tools/train.py', config, '--launcher', launcher, '--work-dir', str(work), '--resume', *options]


def _compete(run: subprocess.Popen, rival: list[str], data: dict[str, str]) -> None:
    """Run the rival beside the experiment as soon as what both share is done; its story goes to a file."""
    work = Path(rival[rival.index('--work-dir') + 1])
    journal = Path(rival[rival.index('--work-dir') + 1]).with_name('run') / 'journal.json'
    while run.poll() is None and not _is_shared(journal):
        time.sleep(1)
    if run.poll():
        return
    log = work.with_name('rival.log')
    with log.open('w') as file:
        other = _start(rival, data, stdout=file, stderr=subprocess.STDOUT)
        console.print(f'the rival with a random query runs beside it, see {log}', highlight=False, soft_wrap=True)
        if _wait(run) == 0 and _wait(other):
            console.print(log.read_text()[-2000:], highlight=False, markup=False)
            sys.exit(other.returncode)
    if other.poll() is None:
        other.terminate()


def _is_shared(journal: Path) -> bool:
    """Return whether the pre-training that both experiments share is finished."""
    return journal.exists() and any(step['step'] == 'round_1/cpsp' for step in read_json(journal)['steps'])


def _run(arguments: list[str], **environment: str) -> None:
    """Run one of our commands; its failure is ours."""
    _finish(_start(arguments, environment))


def _start(arguments: list[str], environment: dict[str, str], **streams: Any) -> subprocess.Popen:
    shown = [f'{name}={value}' for name, value in environment.items()]
    console.print(f'[bold]$ {" ".join([*shown, "python", *arguments])}', highlight=False, soft_wrap=True)
    variables = {**os.environ, 'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', '1'), **environment}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=variables, **streams)


def _wait(process: subprocess.Popen) -> int:
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()  # it got the signal, too, and says what it kept
        raise


def _finish(process: subprocess.Popen) -> None:
    if code := _wait(process):
        sys.exit(code)


def _show(work: Path) -> None:
    """Print one table of all detectors, and where the page is."""
    groups = group([read_experiment(work / name) for name in read_json(work / 'demo.json')['folders']])
    measures = MEASURES[groups[0].first.metric]
    names = [*groups[0].first.classes, 'mean']
    rows = []
    for label, (some, stage) in stage_rows(groups).items():
        experiment = some.first  # the only one: a demo has one seed
        found = [experiment.average_precision(stage, measure) for measure in measures]
        rows.append(
            (label, experiment.boxes_of_stage[stage], *(values.get(name) for values in found for name in names))
        )
    header = ('detector', 'boxes', *(f'{name} {measure.title}' for measure in measures for name in names))
    print_table('AP on the val split, moderate, R40, in %', header, rows)
    console.print(f'the page about it: {work / "report.html"}', highlight=False, soft_wrap=True)


if __name__ == '__main__':
    main()
