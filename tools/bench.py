"""Measure one part of the toolkit on this machine; the rows say what was timed and the figure to beat.

Example:
    python tools/bench.py selection --frames 3612 --json selection.json
    python tools/bench.py selection --sampler crb
    python tools/bench.py selection --all
    python tools/bench.py train-step --method threedioumatch
"""

import argparse
import importlib
import inspect
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from ssal3d.errors import UserError, command
from ssal3d.fileio import write_json
from ssal3d.terminal import print_table

NAMES = tuple(sorted(path.stem.replace('_', '-') for path in (Path(__file__).parent / 'benchmarks').glob('[a-z]*.py')))


@command
def main() -> None:
    """Run one benchmark and print (and optionally write) its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=NAMES)
    parser.add_argument('--frames', type=int, help='size of the synthetic pool (default: the size of the benchmark)')
    parser.add_argument('--sampler', help='selection: sampler to measure, e.g. crb (default: cal)')
    parser.add_argument('--method', help='train-step: semi-supervised method to measure, e.g. threedioumatch')
    parser.add_argument('--all', action='store_true', help='selection, train-step: measure every sampler or method')
    parser.add_argument('--json', type=Path, help='also write the rows here')
    arguments = parser.parse_args()
    module = importlib.import_module(f'benchmarks.{arguments.name.replace("-", "_")}')
    options = {key: getattr(arguments, key) for key in ('sampler', 'method', 'all') if getattr(arguments, key)}
    for option in options:
        if option not in inspect.signature(module.run).parameters:
            raise UserError(f'--{option} does not belong to the benchmark {arguments.name}; see --help')
    rows = module.run(arguments.frames or module.DEFAULT_FRAMES, **options)
    print_table(
        f'{arguments.name} ({platform.processor() or platform.machine()})',
        ('part', 'value', 'unit', 'at most'),
        [(row['part'], f'{row["value"]:.4g}', row['unit'], row.get('target', '')) for row in rows],
    )
    if arguments.json:
        write_json(arguments.json, {'schema': 1, 'benchmark': arguments.name, 'rows': rows})


if __name__ == '__main__':
    main()
