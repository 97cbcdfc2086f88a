"""Check the toolkit on a GPU: operators, detector, training, methods, pool pass, an experiment. Nine minutes at most.

Needs a machine with torch and the packages of the toolkit, or a folder with those packages (--site). Prints PASS or
FAIL with figures and writes them as JSON; the exit status is 1 if a check fails.

Example:
    python tools/gpu_check.py --out gpu_check
    python tools/gpu_check.py --out gpu_check --site site-packages
    python tools/gpu_check.py --out rehearsal --device cpu --small
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gpu_checks.processes import kill_all

TOOLS = Path(__file__).resolve().parent
STAGES = {  # seconds that a stage may take on a GPU, in the order of what matters most; the loop gets what is left
    'operators': 80,
    'model': 100,
    'training': 110,
    'methods': 130,
    'pool': 90,
    'loop': None,
}
KERNELS = 60  # seconds for compiling first; what is not ready then is compiled inside a stage
MINUTES = 9.0


def main() -> int:
    """Run the stages, each in a process of its own: an error of CUDA spoils a process for good."""
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.stage:
        return run_stage(arguments)
    start = time.monotonic()
    if arguments.device == 'cuda' and (trouble := without_gpu(arguments)):
        print(f'error: {trouble}; --device cpu --small rehearses the checks', file=sys.stderr)
        return 2
    deadline = start + 60 * arguments.minutes
    report = {'schema': 1, 'device': device_name(arguments), 'small': arguments.small, 'seconds': 0.0, 'results': []}
    if arguments.device == 'cuda':
        compile_kernels(arguments)
    for name in arguments.only or STAGES:
        before = report['results']
        left = deadline - time.monotonic()
        limit = left if STAGES[name] is None or arguments.device == 'cpu' else min(left, STAGES[name])
        for found in run_in_process(name, arguments, limit):
            report |= {'seconds': round(time.monotonic() - start, 1), 'results': before + found}
            write(report, arguments.out)
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


def compile_kernels(arguments: argparse.Namespace) -> None:
    """Compile the CPU's kernels on all cores, else a stage compiles them in its time; a failure fails no check."""
    cores = str(len(os.sched_getaffinity(0)))
    command = [sys.executable, '-m', 'ssal3d.ops.warm_up', '--jobs', cores]
    print('--- kernels', flush=True)
    with (arguments.out / 'kernels.txt').open('w') as log:
        process = subprocess.Popen(command, env=environment(arguments), stdout=log, stderr=subprocess.STDOUT)
    try:
        code = process.wait(KERNELS)
        print('compiled' if code == 0 else f'ended with {code}; see kernels.txt', flush=True)
    except subprocess.TimeoutExpired:
        print(f'not finished in {KERNELS} s; the stages compile the rest', flush=True)
    finally:
        kill_all(process)


def run_in_process(name: str, arguments: argparse.Namespace, limit: float) -> Iterator[list[dict]]:
    """Run a stage and yield its results whenever there are more; one that fails or takes too long is a failed check."""
    path = arguments.out / f'{name}.json'
    path.unlink(missing_ok=True)
    command = [sys.executable, str(Path(__file__).resolve()), '--stage', name, '--out', str(arguments.out)]
    command += ['--device', arguments.device, '--seconds', str(limit), *(['--small'] if arguments.small else [])]
    print(f'--- {name}', flush=True)
    if limit <= 0:
        yield [failure(name, 'no time was left')]
        return
    end = time.monotonic() + limit
    with (arguments.out / f'{name}.txt').open('w') as errors:
        process = subprocess.Popen(command, env=environment(arguments), stderr=errors)
    results: list[dict] = []
    try:
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
            if len(found := results_in(path)) > len(results):
                results = found
                yield results
        code = process.poll()
    finally:
        kill_all(process)  # with its workers; nothing is left of one that ended
    results = results_in(path)
    trouble = f'not finished in {limit:.0f} s' if code is None else f'the process ended with {code}; see {name}.txt'
    if code != 0 or not results:
        results.append(failure(name, trouble))
    yield results


def failure(name: str, trouble: str) -> dict:
    """Print and return the failure of a whole stage."""
    print(f'FAIL  {name}: {trouble}', flush=True)
    return {'stage': name, 'name': 'the stage as a whole', 'passed': False, 'text': trouble}


def results_in(path: Path) -> list[dict]:
    """Return what a stage has found so far."""
    return json.loads(path.read_text())['results'] if path.exists() else []


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


def without_gpu(arguments: argparse.Namespace) -> str:
    """Return why there is no GPU to check, in one line; nothing where torch sees one."""
    command = [sys.executable, '-c', 'import torch; print(torch.cuda.is_available())']
    asked = subprocess.run(command, env=environment(arguments), capture_output=True, text=True, check=False)
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or [f'exit status {asked.returncode}'])[-1]
        return f'torch cannot be imported ({last}); give its folder with --site, or run in the environment that has it'
    return '' if asked.stdout.split()[-1:] == ['True'] else 'torch sees no GPU, expected one; see nvidia-smi'


def device_name(arguments: argparse.Namespace) -> str:
    """Return the card with its driver, or that this was a rehearsal."""
    if arguments.device == 'cpu':
        return 'cpu (a rehearsal: times and memory mean nothing)'
    query = ['nvidia-smi', '--query-gpu=name,driver_version,memory.total', '--format=csv,noheader']
    try:
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip() or 'unknown'
    except FileNotFoundError:  # containers without the driver's tools
        return 'unknown'


def write(report: dict, out: Path) -> None:
    """Write what is known so far: a run that is cut short leaves what it finished."""
    part = out / 'gpu_check.json.part'
    part.write_text(json.dumps(report, indent=1) + '\n')
    part.replace(out / 'gpu_check.json')


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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stage is killed, too
    sys.exit(main())
