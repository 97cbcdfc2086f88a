"""Make the virtual environment `.venv`: every dependency, and this package in editable mode.

Only Python's standard library and pip are used to start with; pip brings uv, uv installs the rest. On a machine without
a GPU nothing is compiled: mmcv comes as `mmcv-lite` and our own CPU kernels take the place of its operators. On a
machine with an NVIDIA driver, torch is the build that fits the driver and mmcv is compiled against it. Running it again
does nothing when nothing changed; after an interruption it goes on where it stopped.

Example:
    python3 tools/setup_env.py --torch cu126 --ops compiled
"""

import argparse
import configparser
import hashlib
import json
import re
import subprocess
import sys
import time
import venv
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from environment.installer import WIDER, Installer, InstallError, ask, versions
from environment.machine import cores, gpus
from environment.mmcv_wheel import mmcv_wheel

ROOT = Path(__file__).resolve().parent.parent
SPCONV_BUILDS = ('cpu', 'cu118', 'cu120', 'cu121', 'cu124', 'cu126')
EXTRAS = ('train', 'sim', 'report', 'reproduce', 'waymo', 'clouds', 'bags', 'dev')


def main() -> None:
    """Parse the arguments and run every step that is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--torch', default='auto', help='build or version of torch: cpu, cu126, 2.11.0, 2.11.0+cu126; auto: by driver'
    )
    parser.add_argument(
        '--spconv', default='auto', choices=('auto', 'none', *SPCONV_BUILDS), help='build of spconv; auto: by torch'
    )
    parser.add_argument(
        '--ops',
        default='auto',
        choices=('auto', 'lite', 'compiled'),
        help="mmcv's operators: lite takes our CPU kernels, compiled builds mmcv; auto: compiled for a GPU, or where --torch names a CUDA build",
    )
    parser.add_argument(
        '--dependencies',
        default='newest',
        choices=('newest', 'oldest'),
        help='oldest: the lowest versions that setup.cfg allows, in .venv-oldest',
    )
    arguments = parser.parse_args()
    if not (3, 10) <= sys.version_info[:2] < (3, 14):
        fail(f'Python {sys.version.split()[0]} found, 3.10 to 3.13 expected; choose one with PYTHON=python3.11')
    environment = Environment(arguments)
    if environment.is_ready():
        return
    start = time.monotonic()
    try:
        environment.make()
    except InstallError as error:
        fail(f'{error}\nset-up did not finish; mend this and run the same command again')
    print(f'ready: {environment.folder.name}, {time.monotonic() - start:.0f} s', flush=True)


class Environment:
    """The virtual environment that was asked for.

    Args:
        arguments: Options of the command.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.torch, self.spconv, self.ops = arguments.torch, arguments.spconv, arguments.ops
        self.oldest = arguments.dependencies == 'oldest'
        self.folder = ROOT / ('.venv-oldest' if self.oldest else '.venv')
        self.python = self.folder / 'bin' / 'python'
        self.stamp = self.folder / '.ssal3d-ready'
        sources = [ROOT / 'setup.cfg', *sorted(ROOT.glob('tools/environment/*.py'))]
        pins = hashlib.sha256(b''.join(path.read_bytes() for path in sources)).hexdigest()
        self.wanted = {'options': vars(arguments), 'pins': pins, 'python': sys.version, 'gpus': gpus()}

    def is_ready(self) -> bool:
        """Return whether it is there as wanted; one made where there was a GPU also serves where there is none."""
        if not self.stamp.exists() or not self.python.exists():
            return False
        try:
            made = json.loads(self.stamp.read_text())
        except ValueError:
            return False
        return made == self.wanted or (not self.wanted['gpus'] and made == {**self.wanted, 'gpus': made.get('gpus')})

    def make(self) -> None:
        """Run every step, then leave the stamp."""
        self.stamp.unlink(missing_ok=True)
        if not self.python.exists():
            step(f'creating {self.folder.name}')
            venv.create(self.folder, with_pip=True)
        step('torch')
        self.install_torch()
        cuda = self.cuda()
        if self.wanted['gpus'] and torch_choice(self.torch)[1] != 'cpu':
            self.check_gpu()
        compiled = self.ops == 'compiled' or (self.ops == 'auto' and bool(cuda))
        spconv = spconv_build(cuda) if self.spconv == 'auto' else self.spconv
        step(f'mmcv {"with" if compiled else "without"} compiled operators, spconv {spconv}, everything else')
        self.remove_others(compiled, spconv)
        if compiled:
            self.compile_mmcv(bool(cuda))
        extras = [*EXTRAS, 'ops' if compiled else 'lite', *([] if spconv == 'none' else [spconv])]
        lowest = ['--resolution', 'lowest-direct'] if self.oldest else []
        # The oldest NumPy is within every package's caps: packages that came later must fit it.
        wider = [requirement for requirement in WIDER if not (self.oldest and requirement.startswith('numpy'))]
        self.installer.install(*lowest, '-e', f'{ROOT}[{",".join(extras)}]', wider=wider)
        step('CPU kernels')
        command = [str(self.python), '-m', 'ssal3d.ops.warm_up', '--jobs', str(cores())]
        if subprocess.run(command, cwd=ROOT).returncode:
            raise InstallError('the CPU kernels do not compile; see above')
        self.stamp.write_text(json.dumps(self.wanted, indent=1))

    @cached_property
    def installer(self) -> Installer:
        """The installer, once there is an interpreter."""
        return Installer(self.python, self.folder)

    @cached_property
    def pins(self) -> dict[str, list[str]]:
        """Requirements of the set-up from setup.cfg, the one place where they are pinned."""
        config = configparser.ConfigParser()
        config.read(ROOT / 'setup.cfg')
        return {name: config['options.extras_require'][name].split() for name in ('build', 'ops', 'oldest')}

    def install_torch(self) -> None:
        """Install torch: the build that was asked for, or the one that fits the machine.

        torch's own index has builds for each CUDA release and for CPUs. Where it cannot be reached, torch comes from
        where pip of this machine takes its packages.
        """
        version, backend = torch_choice(self.torch)
        named = backend != 'auto'
        backend = ('auto' if self.wanted['gpus'] else 'cpu') if backend == 'auto' else backend
        pins = self.pins['oldest' if self.oldest else 'build']
        requirement = f'torch=={version}' if version else next(pin for pin in pins if pin.startswith('torch'))
        try:
            self.installer.install(requirement, backend=backend)
        except InstallError as error:
            if named and backend != 'cpu':
                raise InstallError(f'{requirement} for {backend} cannot be installed: {error}') from error
            self.installer.install(requirement)

    def cuda(self) -> str:
        """Return the CUDA release that mmcv and spconv shall serve: torch's; ``''`` on a machine that needs none.

        Where there is no GPU and nobody asked for CUDA, torch may still be a CUDA build: the only one to be had.
        """
        wanted = self.wanted['gpus'] or torch_choice(self.torch)[1] not in ('auto', 'cpu')
        return ask(self.python, 'import torch; print(torch.version.cuda or "")') if wanted else ''

    def check_gpu(self) -> None:
        """End the set-up if torch cannot use the GPU that the driver reports: nobody wants a CPU environment there."""
        code = 'import torch\ntry: torch.cuda.init()\nexcept Exception as error: print(error)'
        if reason := ask(self.python, code):
            found = versions(self.python, ['torch'])['torch']
            fail(
                f'this machine has a GPU, but torch {found} cannot use it: {" ".join(reason.split())}; update the '
                'driver, or choose a build for it, e.g. `make setup TORCH=cu126`; TORCH=cpu leaves the GPU alone'
            )

    def compile_mmcv(self, with_cuda: bool) -> None:
        """Install mmcv with operators, from the cache or newly compiled."""
        (mmcv,) = self.pins['ops']
        self.installer.install(*self.pins['build'][1:])
        code = 'import mmcv._ext, mmcv; from mmcv.ops import get_compiling_cuda_version as cuda; print(mmcv.__version__, cuda())'
        found, _, cuda = ask(self.python, code).partition(' ')
        if found != mmcv.split('==')[1] or (with_cuda and cuda == 'not available'):
            step(f'compiling {mmcv} (about 10 minutes on 2 cores without CUDA, longer with it)')
            wheel = mmcv_wheel(self.installer, mmcv, self.folder / 'src', self.folder / 'mmcv_build.log')
            self.installer.install('--no-deps', '--reinstall', str(wheel))

    def remove_others(self, compiled: bool, spconv: str) -> None:
        """Remove the builds that would lie in the same folders as the chosen ones."""
        builds = ['spconv', *(f'spconv-{build}' for build in SPCONV_BUILDS[1:])]
        kept = 'spconv' if spconv == 'cpu' else f'spconv-{spconv}'
        present = versions(self.python, [*builds, 'mmcv-lite' if compiled else 'mmcv'])
        unwanted = set(present) - {kept}
        if unwanted & set(builds):
            unwanted |= {kept} & set(present)  # removing the other one removes files of both
        if unwanted:
            self.installer.uninstall(*sorted(unwanted))


def torch_choice(text: str) -> tuple[str, str]:
    """Split what was asked for into a version (``''``: the pinned one) and a build (``'auto'``: by the machine).

    >>> torch_choice('2.11.0+cu126'), torch_choice('2.11.0'), torch_choice('cu126'), torch_choice('auto')
    (('2.11.0', 'cu126'), ('2.11.0', 'auto'), ('', 'cu126'), ('', 'auto'))
    """
    version, _, build = text.rpartition('+')
    return (build, 'auto') if re.fullmatch(r'\d[\d.]*', build) else (version, build)


def spconv_build(cuda: str) -> str:
    """Choose the build of spconv for torch's CUDA release: the newest that is not newer, the CPU build without CUDA.

    Without a build that fits there is none: MMDetection3D then uses mmcv's own sparse convolutions on the GPU.

    >>> spconv_build('13.0'), spconv_build('11.8'), spconv_build(''), spconv_build('11.3')
    ('cu126', 'cu118', 'cpu', 'none')
    """
    if not cuda:
        return 'cpu'
    major, minor = cuda.split('.')[:2]
    fitting = [build for build in SPCONV_BUILDS[1:] if (int(build[2:4]), int(build[4:])) <= (int(major), int(minor))]
    if sys.version_info >= (3, 12) and 'cu120' in fitting:
        fitting.remove('cu120')  # has no wheels for Python 3.12 and newer
    return fitting[-1] if fitting else 'none'


def step(message: str) -> None:
    """Announce a step."""
    print(f'[set-up] {message}', flush=True)


def fail(message: str) -> NoReturn:
    """End the set-up with a message."""
    sys.exit(f'error: {message}')


if __name__ == '__main__':
    main()
