"""Check the toolkit on a GPU: operators, detector, training, methods, pool pass, a whole experiment. Nine minutes at most.

Needs a machine with torch and the packages of the toolkit, or a folder with those packages (--site). Prints PASS or FAIL
with figures and writes them as JSON; the exit status is 1 if a check fails.

Example:
    python tools/gpu_check.py --out gpu_check
    python tools/gpu_check.py --out gpu_check --site site-packages
    python tools/gpu_check.py --out rehearsal --device cpu --small
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
STAGES = {  # seconds that a stage may take on a GPU, in the order of what matters most; the loop gets what is left
    'operators': 100,
    'model': 100,
    'training': 90,
    'methods': 130,
    'pool': 90,
    'loop': None,
}
MINUTES = 9.0


def main() -> int:
    """Run the stages, each in a process of its own: an error of CUDA spoils a process for good."""
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.stage:
        return run_stage(arguments)
    start = time.monotonic()
    deadline = start + 60 * arguments.minutes
    results: list[dict] = []
    for name in arguments.only or STAGES:
        left = deadline - time.monotonic()
        limit = left if STAGES[name] is None or arguments.device == 'cpu' else min(left, STAGES[name])
        results += run_in_process(name, arguments, limit)
    report = {
        'schema': 1,
        'device': device_name(arguments),
        'small': arguments.small,
        'seconds': round(time.monotonic() - start, 1),
        'results': results,
    }
    (arguments.out / 'gpu_check.json').write_text(json.dumps(report, indent=1) + '\n')
    return summary(report, arguments.out)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('gpu_check'), help='folder of results (default: gpu_check)')
    parser.add_argument('--site', type=Path, help='folder of Python packages to use beside those that are installed')
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'), help='cpu: rehearse (default: cuda)')
    parser.add_argument('--small', action='store_true', help='the small detector: rehearse the checks in minutes')
    parser.add_argument('--only', nargs='+', choices=tuple(STAGES), help='only these stages')
    parser.add_argument('--minutes', type=float, default=MINUTES, help=f'time for everything (default: {MINUTES:g})')
    parser.add_argument('--stage', choices=tuple(STAGES), help=argparse.SUPPRESS)
    parser.add_argument('--seconds', type=float, default=600, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_process(name: str, arguments: argparse.Namespace, limit: float) -> list[dict]:
    """Run a stage and return its results; one that fails as a whole or takes too long is a failed check."""
    path = arguments.out / f'{name}.json'
    path.unlink(missing_ok=True)
    command = [sys.executable, str(Path(__file__).resolve()), '--stage', name, '--out', str(arguments.out)]
    command += ['--device', arguments.device, '--seconds', str(limit), *(['--small'] if arguments.small else [])]
    print(f'--- {name}', flush=True)
    trouble = None
    with (arguments.out / f'{name}.txt').open('w') as errors:
        try:
            code = subprocess.run(command, env=environment(arguments), stderr=errors, timeout=max(limit, 5)).returncode
            trouble = f'the process ended with {code}; see {name}.txt' if code else None
        except subprocess.TimeoutExpired:
            trouble = f'not finished in {limit:.0f} s'
    results = json.loads(path.read_text())['results'] if path.exists() else []
    if trouble or not results:
        results.append({'stage': name, 'name': 'the stage as a whole', 'passed': False, 'text': trouble or 'no result'})
        print(f'FAIL  {name}: {results[-1]["text"]}', flush=True)
    return results


def environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the environment of a stage: this repository, then the folder of packages."""
    paths = [str(TOOLS.parent), str(TOOLS), *([str(arguments.site.resolve())] if arguments.site else [])]
    found = {
        'PYTHONPATH': os.pathsep.join([*paths, *filter(None, [os.environ.get('PYTHONPATH')])]),
        'NUMBA_CACHE_DIR': str((arguments.out / 'numba').resolve()),
        'PYTHONWARNINGS': 'ignore',
        'PYTORCH_CUDA_ALLOC_CONF': 'expandable_segments:True',
    }
    if arguments.device == 'cpu':
        found |= {'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', '1')}
    return {**os.environ, **found}


def run_stage(arguments: argparse.Namespace) -> int:
    """Run the checks of one stage in this process."""
    import logging

    import torch
    from gpu_checks import loop, model, operators, pool, training
    from gpu_checks.record import Record

    import ssal3d.register  # noqa: F401 - mends upstream before anything of it is used
    from ssal3d import compat

    compat.apply_preferences()
    logging.disable(logging.WARNING)
    record = Record(
        arguments.stage, arguments.out / f'{arguments.stage}.json', torch.device(arguments.device), arguments.small
    )
    deadline = time.monotonic() + arguments.seconds - 5
    actions = {
        'operators': lambda: operators.run(record),
        'model': lambda: model.run(record),
        'training': lambda: training.run(record),
        'methods': lambda: training.run_methods(record),
        'pool': lambda: pool.run(record),
        'loop': lambda: loop.run(record, deadline),
    }
    actions[arguments.stage]()
    return 0


def device_name(arguments: argparse.Namespace) -> str:
    """Return the card with its driver, or that this was a rehearsal."""
    if arguments.device == 'cpu':
        return 'cpu (a rehearsal: times and memory mean nothing)'
    query = ['nvidia-smi', '--query-gpu=name,driver_version,memory.total', '--format=csv,noheader']
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip() or 'unknown'


def summary(report: dict, out: Path) -> int:
    """Print what failed, and return the exit status."""
    failed = [result for result in report['results'] if not result['passed']]
    print(
        f'\n{report["device"]}: {len(report["results"]) - len(failed)} passed, {len(failed)} failed, {report["seconds"]:.0f} s'
    )
    for result in failed:
        print(f'FAIL  {result["stage"]}: {result["name"]}  {result["text"]}')
    print(f'figures: {out / "gpu_check.json"}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
