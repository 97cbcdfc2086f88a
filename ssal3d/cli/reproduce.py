"""Reproduce tables of the paper: train their rows with several seeds, and show our numbers beside the printed ones.

Rows share what they have in common, so a table costs much less than its rows; a run may be interrupted at any time.

Example:
    ssal3d reproduce list table1
    ssal3d reproduce run table1 --dataset sim --rows 2 --seeds 0
    ssal3d reproduce run benchmark --dataset sim --seeds 0 1 2 --jobs 2
    ssal3d reproduce show benchmark --dataset sim --figure benchmark.png
    ssal3d reproduce run table6 --seeds 0 1 2
    ssal3d reproduce show fig7 --seeds 0 1 2 --figure fig7.png
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssal3d.cli.arguments import Words, make_parser
from ssal3d.errors import UserError, command
from ssal3d.fileio import atomic_path
from ssal3d.terminal import console, print_table

if TYPE_CHECKING:
    from ssal3d.reproduce.results import Result


@command
def main(argv: Words = None) -> None:
    """List, run or show a table."""
    parser = make_parser('reproduce', __doc__)
    parser.add_argument('action', choices=('list', 'run', 'show', 'config'), help='config prints the config of a row')
    parser.add_argument('table', help='table1 to table8, fig6, fig7, benchmark or scores')
    parser.add_argument(
        '--dataset',
        help='kitti, kitti-pillars (a few hundred frames on a CPU), waymo, or a simulation: sim instead of KITTI, sim-360 '
        'or sim-360-pvrcnn instead of Waymo (default: sim or sim-360)',
    )
    parser.add_argument('--rows', type=int, nargs='+', default=(), help='numbers of rows (default: all)')
    parser.add_argument('--seeds', type=int, nargs='+', help='seeds to run (default: 0) or to show (default: all)')
    parser.add_argument('--jobs', type=int, help='experiments side by side (default: one per GPU, or per core without)')
    parser.add_argument('--work-dir', help='folder of runs and simulations (default: work_dirs/reproduce)')
    parser.add_argument(
        '--results',
        help='CSV file: run adds its results (default: results.csv in the work dir), show reads it and not the work dir',
    )
    parser.add_argument('--figure', help='with show: draw the table into this image, every seed a dot')
    parser.add_argument('--markdown', help='with show: write what is shown into this file, too')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='changes to every config; with show as with run',
    )
    arguments = parser.parse_args(argv)
    _ACTIONS[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> None:
    from ssal3d.reproduce import read_rows
    from ssal3d.reproduce.data_sets import metrics_of
    from ssal3d.reproduce.rows import TITLES
    from ssal3d.reproduce.table import printed, short

    rows = read_rows(arguments.table, arguments.rows)
    metrics = metrics_of(rows[0].table, _data_set(arguments))
    names = [f'{short(metric)} (paper)' for metric in metrics]
    table = [(row.number, row.label, row.experiment, *printed(row, metrics)) for row in rows]
    print_table(TITLES[rows[0].table], ('', 'row', 'experiment', *names), table)


def _config(arguments: argparse.Namespace) -> None:
    for experiment in _experiments(arguments):
        print(experiment.config_text())


def _run(arguments: argparse.Namespace) -> None:
    from ssal3d.reproduce.data import prepare
    from ssal3d.reproduce.experiments import is_finished
    from ssal3d.reproduce.jobs import Jobs

    experiments = _experiments(arguments)
    if not experiments:
        raise UserError(f'no row of {arguments.table} can be trained; choose another --dataset')
    data = experiments[0].data
    todo = [experiment for experiment in experiments if not is_finished(experiment)]
    console.print(f'{len(todo)} of {len(experiments)} experiments to run', highlight=False)
    places = {seed: prepare(data.frames, _work_dir(arguments) / data.frames, seed) for seed in {e.seed for e in todo}}
    jobs = Jobs(
        todo,
        lambda experiment: places[experiment.seed],
        arguments.jobs or _usual_jobs(),
        lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True),
        lambda: _collected(arguments, experiments),
    )
    failed = jobs.run()
    _print(arguments, _collected(arguments, experiments))
    if failed:
        raise UserError(f'{len(failed)} experiments failed, the first is {failed[0].folder}; see its log')


def _show(arguments: argparse.Namespace) -> None:
    from ssal3d.reproduce.experiments import has_ended, is_finished
    from ssal3d.reproduce.results import read

    experiments, path = _experiments(arguments), _results(arguments)
    if not arguments.results:  # the file may hold runs with other settings; those of the folders are told from them
        _print(arguments, _collected(arguments, experiments))
        if others := [each for each in experiments if has_ended(each) and not is_finished(each)]:
            console.print(f'not shown, as they ran with other settings: {len(others)} runs, e.g. {others[0].folder}')
    elif path.is_file():
        _print(arguments, read(path))
    else:
        raise UserError(f'{path}: no such file; without --results the runs of --work-dir are shown')


def _collected(arguments: argparse.Namespace, experiments: Sequence[Any]) -> 'list[Result]':
    """Return what those experiments that are finished measured; the CSV file gets it, too."""
    from ssal3d.reproduce.results import collect, merge

    found = collect(_data_set(arguments).name, experiments)
    merge(_results(arguments), found)
    return found


def _print(arguments: argparse.Namespace, results: 'Sequence[Result]') -> None:
    from ssal3d.reproduce import questions, read_rows, table
    from ssal3d.reproduce.data_sets import BEV_METRICS, metrics_of, unit_of
    from ssal3d.reproduce.figures import draw
    from ssal3d.reproduce.rows import BENCHMARK, TITLES

    rows = read_rows(arguments.table, arguments.rows)
    name, data = rows[0].table, _data_set(arguments)
    metrics = metrics_of(name, data)
    results = [result for result in results if not arguments.seeds or result.seed in arguments.seeds]
    shown = table.lines(rows, results, data.name, metrics)
    title = f'{TITLES[name]}: {unit_of(name, data)}, mean ± half the 95 % interval over seeds'
    parts = [(title, table.header(shown, metrics), table.body(shown, metrics))]
    asked = table.lines(rows, [found for found in results if found.seed not in data.tuned_on], data.name, metrics)
    if answers := questions.answers(questions.questions(read_rows(arguments.table), metrics), asked):
        parts.append(('what the seeds say, compared within seeds', questions.header(), questions.body(answers)))
    if effects := questions.effects(asked, BEV_METRICS[-1]) if name == BENCHMARK else {}:
        cells = [[text, f'{effect:+.1f} ± {half:.1f}'] for text, (effect, half) in effects.items()]
        parts.append(
            ('effects in a mixed model with a level per seed', ['factor', table.short(BEV_METRICS[-1])], cells)
        )
    for part in parts:
        print_table(*part)
    if data.about:
        console.print(data.about, highlight=False)
    if arguments.markdown:
        text = '\n'.join(f'**{title}**\n\n{table.markdown(header, body)}' for title, header, body in parts)
        with atomic_path(Path(arguments.markdown)) as temporary:
            temporary.write_text(text, encoding='utf-8')
    if arguments.figure:
        draw(shown, Path(arguments.figure), metrics)


_ACTIONS = {'list': _list, 'config': _config, 'run': _run, 'show': _show}


def _experiments(arguments: argparse.Namespace) -> list:
    """Return the experiments of the rows and seeds, each once."""
    from ssal3d.reproduce import read_rows
    from ssal3d.reproduce.experiments import Experiment

    rows, data = read_rows(arguments.table, arguments.rows), _data_set(arguments)
    for row in rows:
        if lacking := data.lacks(row):
            note = f'row {row.number}, {row.label}: left out, {lacking} needs a detector with two stages'
            console.print(note, highlight=False, markup=False, soft_wrap=True)
    rows = [row for row in rows if not data.lacks(row)]
    root = _work_dir(arguments) / data.name
    found: dict = {}
    for seed in arguments.seeds or (_seeds_of(root) if arguments.action == 'show' else []) or [0]:
        for row in rows:
            folder = root / f'seed_{seed}' / row.experiment
            found.setdefault(folder, Experiment(row, seed, folder, data, tuple(arguments.cfg_options)))
    return list(found.values())


def _seeds_of(root: Path) -> list[int]:
    """Return the seeds that were run in a folder."""
    names = [path.name.removeprefix('seed_') for path in root.glob('seed_*')]
    return sorted(int(name) for name in names if name.isdigit())


def _data_set(arguments: argparse.Namespace) -> Any:
    from ssal3d.reproduce import read_rows
    from ssal3d.reproduce.data_sets import data_set

    return data_set(arguments.dataset, read_rows(arguments.table, arguments.rows)[0].table)


def _work_dir(arguments: argparse.Namespace) -> Path:
    return Path(arguments.work_dir or 'work_dirs/reproduce').resolve()


def _results(arguments: argparse.Namespace) -> Path:
    return Path(arguments.results) if arguments.results else _work_dir(arguments) / 'results.csv'


def _usual_jobs() -> int:
    import torch

    return torch.cuda.device_count() or len(os.sched_getaffinity(0))
