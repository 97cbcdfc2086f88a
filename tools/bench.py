"""Measure one part of the toolkit on this machine; the rows say what was timed and the figure to beat.

Example:
    python tools/bench.py all
    python tools/bench.py selection --frames 3612 --json selection.json
    python tools/bench.py selection --sampler crb
    python tools/bench.py selection --all
    python tools/bench.py large-selection --frames 1000000
    python tools/bench.py train-step --method threedioumatch
    python tools/bench.py fuzz kitti-labels --inputs 1000
    python tools/bench.py kills writes --experiment people --thin --work-dir kills
"""

import argparse
import importlib
import inspect
import platform
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from ssal3d.errors import UserError, command
from ssal3d.fileio import write_json
from ssal3d.terminal import print_table

NAMES = tuple(sorted(path.stem.replace('_', '-') for path in (Path(__file__).parent / 'benchmarks').glob('[a-z]*.py')))


@command
def main() -> None:
    """Run one benchmark and print (and optionally write) its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=NAMES)
    parser.add_argument(
        'part',
        nargs='?',
        help='fuzz: the reader; kills: the kind of fault; mutants: room or module; or all; all: one part',
    )
    parser.add_argument('--frames', type=int, help='size of the synthetic pool (default: the size of the benchmark)')
    parser.add_argument('--inputs', type=int, help='fuzz: damaged inputs of each reader (default: 20000)')
    parser.add_argument('--seed', type=int, help='fuzz, mutants: others for another seed (default: 0)')
    parser.add_argument('--first', type=int, help='fuzz: number of the first input (default: 0)')
    parser.add_argument('--experiment', help='kills: tiny or people (default: both)')
    parser.add_argument('--kills', type=int, help='kills: at random times, of each experiment (default: 60)')
    parser.add_argument('--sample', type=int, help='mutants: of each module; 0 takes all (default: 12)')
    parser.add_argument('--thin', action='store_true', help='kills: one for each kind of file and place')
    parser.add_argument('--work-dir', type=Path, help='kills, mutants: keep the results here')
    parser.add_argument('--sampler', help='selection: sampler to measure, e.g. crb (default: cal)')
    parser.add_argument('--alike', action='store_true', help='large-selection: frames that are much alike')
    parser.add_argument('--folder', type=Path, help='large-selection: keep the pool here, or take it from here')
    parser.add_argument('--method', help='train-step: semi-supervised method to measure, e.g. threedioumatch')
    parser.add_argument('--all', action='store_true', help='selection, train-step: measure every sampler or method')
    parser.add_argument('--record', action='store_true', help='all: make what is measured the baseline')
    parser.add_argument('--json', type=Path, help='also write the rows here')
    arguments = parser.parse_args()
    module = importlib.import_module(f'benchmarks.{arguments.name.replace("-", "_")}')
    accepted = inspect.signature(module.run).parameters
    options = {
        key: value
        for key, value in vars(arguments).items()
        if key not in ('name', 'json') and value is not None and value is not False
    }
    for option in options:
        if option not in accepted:
            shown = f"'{arguments.part}'" if option == 'part' else f'--{option}'
            raise UserError(f'{shown} does not belong to the benchmark {arguments.name}; see --help')
    if 'frames' in accepted:
        options.setdefault('frames', module.DEFAULT_FRAMES)
    rows = module.run(**options)
    print_table(
        f'{arguments.name} ({platform.processor() or platform.machine()})',
        ('part', 'value', 'unit', 'at most'),
        [
            (row['part'], f'{row["value"]:.4g}', row['unit'], f'{row["target"]:.4g}' if 'target' in row else '')
            for row in rows
        ],
    )
    if arguments.json:
        write_json(arguments.json, {'schema': 1, 'benchmark': arguments.name, 'rows': rows})


if __name__ == '__main__':
    main()
