"""Reproduce tables of the paper: train their rows with several seeds, and show our numbers beside the printed ones.

Rows share what they have in common, so a table costs much less than its rows; a run may be interrupted at any time.

Example:
    ssal3d reproduce list table1
    ssal3d reproduce run table1 --dataset sim --rows 2 --seeds 0
    ssal3d reproduce run benchmark --dataset sim --seeds 0 1 2 --jobs 2
    ssal3d reproduce show benchmark --dataset sim --figure benchmark.png
"""

import argparse
import os
from pathlib import Path

from ssal3d.cli.arguments import Words, make_parser
from ssal3d.errors import UserError, command
from ssal3d.terminal import console, print_table


@command
def main(argv: Words = None) -> None:
    """List, run or show a table."""
    parser = make_parser('reproduce', __doc__)
    parser.add_argument('action', choices=('list', 'run', 'show', 'config'), help='config prints the config of a row')
    parser.add_argument('table', help='table1, table3, table4, table5, table7 or benchmark')
    parser.add_argument('--dataset', choices=('sim', 'kitti'), default='sim', help='simulated streets, or KITTI')
    parser.add_argument('--rows', type=int, nargs='+', default=(), help='numbers of rows (default: all)')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='seeds to run or show (default: 0)')
    parser.add_argument('--jobs', type=int, help='experiments side by side (default: one per GPU, or per core without)')
    parser.add_argument('--work-dir', help='folder of runs and simulations (default: work_dirs/reproduce)')
    parser.add_argument('--results', help='CSV file of results (default: results.csv in the work dir)')
    parser.add_argument('--figure', help='with show: draw the table into this image, every seed a dot')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='changes to every config')
    arguments = parser.parse_args(argv)
    _ACTIONS[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> None:
    from ssal3d.reproduce import read_rows
    from ssal3d.reproduce.rows import TITLES
    from ssal3d.reproduce.table import METRICS, printed

    rows = read_rows(arguments.table, arguments.rows)
    names = [f'{metric.split("_")[0]} (paper)' for metric in METRICS]
    table = [(row.number, row.label, row.experiment, *printed(row)) for row in rows]
    print_table(TITLES[rows[0].table], ('', 'row', 'experiment', *names), table)


def _config(arguments: argparse.Namespace) -> None:
    for experiment in _experiments(arguments):
        print(experiment.config_text())


def _run(arguments: argparse.Namespace) -> None:
    from ssal3d.reproduce.data import prepare
    from ssal3d.reproduce.experiments import is_finished
    from ssal3d.reproduce.jobs import Jobs
    from ssal3d.reproduce.results import collect, merge

    experiments = _experiments(arguments)
    todo = [experiment for experiment in experiments if not is_finished(experiment)]
    console.print(f'{len(todo)} of {len(experiments)} experiments to run', highlight=False)
    places = {seed: prepare(arguments.dataset, _work_dir(arguments) / 'sim', seed) for seed in {e.seed for e in todo}}
    jobs = Jobs(
        todo,
        lambda experiment: [*places[experiment.seed], *arguments.cfg_options],
        arguments.jobs or _usual_jobs(),
        lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True),
        lambda: merge(_results(arguments), collect(arguments.dataset, experiments)),
    )
    failed = jobs.run()
    _show(arguments)
    if failed:
        raise UserError(f'{len(failed)} experiments failed, the first is {failed[0].folder}; see its log')


def _show(arguments: argparse.Namespace) -> None:
    from ssal3d.reproduce import read_rows, table
    from ssal3d.reproduce.results import collect, merge
    from ssal3d.reproduce.rows import TITLES

    rows = read_rows(arguments.table, arguments.rows)
    found = merge(_results(arguments), collect(arguments.dataset, _experiments(arguments)))
    shown = table.lines(rows, found, arguments.dataset)
    title = f'{TITLES[rows[0].table]}: 3D AP (R40, moderate, %), mean ± half the 95 % interval over seeds'
    print_table(title, table.header(), table.body(shown))
    if arguments.dataset == 'sim':
        console.print('ours: simulated streets, a small detector; the paper: KITTI, PV-RCNN', highlight=False)
    if arguments.figure:
        table.draw(shown, Path(arguments.figure))


_ACTIONS = {'list': _list, 'config': _config, 'run': _run, 'show': _show}


def _experiments(arguments: argparse.Namespace) -> list:
    """Return the experiments of the rows and seeds, each once."""
    from ssal3d.reproduce import read_rows
    from ssal3d.reproduce.experiments import Experiment

    base = f'ssal3d::paper/{arguments.dataset}.py'
    root = _work_dir(arguments) / arguments.dataset
    found: dict = {}
    for seed in arguments.seeds:
        for row in read_rows(arguments.table, arguments.rows):
            folder = root / f'seed_{seed}' / row.experiment
            found.setdefault(folder, Experiment(row, seed, folder, base))
    return list(found.values())


def _work_dir(arguments: argparse.Namespace) -> Path:
    return Path(arguments.work_dir or 'work_dirs/reproduce').resolve()


def _results(arguments: argparse.Namespace) -> Path:
    return Path(arguments.results) if arguments.results else _work_dir(arguments) / 'results.csv'


def _usual_jobs() -> int:
    import torch

    return torch.cuda.device_count() or len(os.sched_getaffinity(0))
