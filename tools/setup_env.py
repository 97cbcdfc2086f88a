"""Make the virtual environment `.venv`: dependencies, mmcv with its operators, and this package in editable mode.

Only the standard library is used. Running it again does nothing when nothing changed; after an interruption it goes on
where it stopped (the compiled objects of mmcv are kept in `.venv/src`, the finished wheel in the user's cache).

Example:
    python3 tools/setup_env.py --spconv auto
"""

import argparse
import configparser
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
STAMP = VENV / '.ssal3d-ready'
SPCONV_BUILDS = ('cpu', 'cu118', 'cu120', 'cu121', 'cu124', 'cu126')


def main() -> None:
    """Parse the arguments and run every step that is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--spconv', default='auto', choices=('auto', *SPCONV_BUILDS), help='which spconv build to use')
    arguments = parser.parse_args()
    if not (3, 10) <= sys.version_info[:2] < (3, 14):
        sys.exit(
            f'error: Python {sys.version.split()[0]} found, 3.10 to 3.13 expected; choose one with PYTHON=python3.11'
        )
    stamp = fingerprint(arguments.spconv)
    if STAMP.exists() and STAMP.read_text() == stamp:
        return
    pins = read_pins()
    if not PYTHON.exists():
        step('creating .venv')
        venv.create(VENV, with_pip=True)
    step('torch and build tools')
    pip('install', *pins['build'])
    mmcv = next(pin for pin in pins['install'] if pin.startswith('mmcv=='))
    if output('import mmcv, mmcv._ext; print(mmcv.__version__)') != mmcv.split('==')[1]:
        pip('install', '--no-deps', str(mmcv_wheel(mmcv)))
    spconv = detect_spconv() if arguments.spconv == 'auto' else arguments.spconv
    step(f'remaining dependencies and ssal3d (spconv: {spconv})')
    pip('install', '--no-build-isolation', '-e', f'{ROOT}[{spconv},dev]')
    step('compiling the CPU kernels')
    subprocess.run([PYTHON, '-m', 'ssal3d.ops.warm_up'], check=True, cwd=ROOT)
    STAMP.write_text(stamp)
    print(f'ready: {VENV.relative_to(ROOT)}', flush=True)


def read_pins() -> dict[str, list[str]]:
    """Read the requirements from setup.cfg, the one place where they are pinned."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    return {
        'install': config['options']['install_requires'].split(),
        'build': config['options.extras_require']['build'].split(),
    }


def fingerprint(spconv: str) -> str:
    """Identify what was asked for, so that a changed pin or spconv build sets up again."""
    text = (ROOT / 'setup.cfg').read_text() + spconv + sys.version
    return hashlib.sha256(text.encode()).hexdigest()


def detect_spconv() -> str:
    """Choose the spconv build that fits the installed torch: its CUDA release, or the CPU build without a GPU."""
    cuda = output('import torch; print(torch.version.cuda if torch.cuda.is_available() else "")')
    if not cuda:
        return 'cpu'
    release = int(cuda.replace('.', '')[:3])
    fitting = [build for build in SPCONV_BUILDS[1:] if int(build[2:]) <= release]
    if sys.version_info >= (3, 12) and 'cu120' in fitting:
        fitting.remove('cu120')  # has no wheels for Python 3.12 and newer
    return fitting[-1] if fitting else 'cpu'


def mmcv_wheel(requirement: str) -> Path:
    """Return the wheel of mmcv with operators, built against the installed torch; build it if the cache lacks it."""
    torch = output('import torch; print(torch.__version__)')
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'ssal3d' / f'torch-{torch}'
    tag = f'cp{sys.version_info[0]}{sys.version_info[1]}'
    name = requirement.replace('==', '-')
    wheels = sorted(cache.glob(f'{name}-{tag}-*.whl'))
    if not wheels:
        build_mmcv(requirement, name, cache)
        wheels = sorted(cache.glob(f'{name}-{tag}-*.whl'))
    return wheels[-1]


def build_mmcv(requirement: str, name: str, cache: Path) -> None:
    """Compile mmcv from its source distribution, showing one progress line."""
    sources = VENV / 'src'
    tree = sources / name
    if not (tree / 'setup.py').exists():
        step(f'fetching {requirement}')
        pip('download', '--no-deps', '--no-binary', ':all:', '--no-build-isolation', '-d', str(sources), requirement)
        with tarfile.open(sources / f'{name}.tar.gz') as archive:
            archive.extractall(sources)  # noqa: S202 - the index's own source distribution
    step(f'compiling {requirement} (about 10 minutes on 2 cores)')
    partial = VENV / 'wheels'
    environment = {**os.environ, 'PATH': f'{VENV / "bin"}{os.pathsep}{os.environ["PATH"]}', 'MMCV_WITH_OPS': '1'}
    environment.setdefault('MAX_JOBS', str(os.cpu_count() or 1))
    command = [PYTHON, '-m', 'pip', 'wheel', '-v', '--no-build-isolation', '--no-deps', '-w', partial, tree]
    log = VENV / 'mmcv_build.log'
    with log.open('w') as file:
        process = subprocess.Popen(
            list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        show_progress(process.stdout, file)
    if process.wait():
        sys.exit(f'error: mmcv did not compile; the reason is at the end of {log.relative_to(ROOT)}')
    cache.mkdir(parents=True, exist_ok=True)
    for wheel in partial.glob('*.whl'):
        temporary = cache / f'.{wheel.name}.{os.getpid()}'
        temporary.write_bytes(wheel.read_bytes())
        os.replace(temporary, cache / wheel.name)


def show_progress(lines, log) -> None:  # noqa: ANN001
    """Copy a compiler's output to the log and show ninja's `[k/n]` counters as progress with an ETA."""
    start, terminal, shown = time.monotonic(), sys.stdout.isatty(), 0.0
    for line in lines:
        log.write(line)
        counter = re.match(r'\s*\[(\d+)/(\d+)\]', line)
        if not counter:
            continue
        done, total = map(int, counter.groups())
        now = time.monotonic()
        if terminal or now - shown > 30 or done == total:
            shown = now
            left = (now - start) / done * (total - done)
            bar = '#' * (30 * done // total)
            ending = '\r' if terminal and done < total else '\n'
            print(f'  mmcv [{bar:<30}] {done}/{total}, about {left / 60:.1f} min left', end=ending, flush=True)


def step(message: str) -> None:
    """Announce a step."""
    print(f'[set-up] {message}', flush=True)


def pip(*arguments: str) -> None:
    """Run pip of the virtual environment; a failure ends the set-up with pip's own message."""
    quiet = ('--quiet', '--disable-pip-version-check')
    result = subprocess.run([PYTHON, '-m', 'pip', *arguments, *quiet], cwd=ROOT)
    if result.returncode:
        sys.exit(f'error: pip {arguments[0]} failed; see its message above, then run the same command again')


def output(code: str) -> str:
    """Run a line of Python in the virtual environment and return what it prints, or '' when it fails."""
    result = subprocess.run([PYTHON, '-c', code], capture_output=True, text=True, cwd=VENV)
    return result.stdout.strip()


if __name__ == '__main__':
    main()
