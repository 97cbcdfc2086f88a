"""The compiled mmcv: a wheel with operators, built against the installed torch and kept in the user's cache."""

import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from environment.installer import Installer, InstallError, ask, environment_of, python_tag
from environment.machine import compile_jobs, cuda_home, gpus

# The C++ and CUDA headers that torch no longer ships, and where their content is now.
MOVED_HEADERS = {
    '<THC/THCAtomics.cuh>': '<ATen/cuda/Atomic.cuh>',
    '<THC/THCDeviceUtils.cuh>': '<ATen/cuda/DeviceUtils.cuh>',
}
# NVIDIA's compiler as packages, where the machine has none; those of CUDA 12 hold ptxas but no nvcc.
COMPILER = ('nvidia-cuda-nvcc', 'nvidia-cuda-crt', 'nvidia-nvvm', 'nvidia-cuda-cccl', 'nvidia-cuda-runtime')


@dataclass(frozen=True)
class Target:
    """What mmcv is compiled for.

    Attributes:
        torch: Full version of torch, e.g. ``'2.13.0+cu126'``.
        cuda: CUDA release of torch, e.g. ``'12.6'``; empty without CUDA.
        architectures: Compute capabilities, e.g. ``'8.0;9.0+PTX'``; empty without CUDA.
    """

    torch: str
    cuda: str
    architectures: str

    @property
    def key(self) -> str:
        """Name of the folder in the cache: everything that makes one wheel differ from another."""
        parts = (f'torch-{self.torch}', f'cuda-{self.cuda or "none"}', self.architectures.replace(';', '_'))
        return '-'.join(filter(None, parts))


def target(python: Path) -> Target:
    """Return what to compile for: torch's CUDA, and the architectures of `TORCH_CUDA_ARCH_LIST` or of the GPUs here."""
    torch, _, cuda = ask(python, 'import torch; print(torch.__version__, torch.version.cuda or "")').partition(' ')
    if not cuda:
        return Target(torch, '', '')
    present = [capability for capability in gpus() if capability]
    named = os.environ.get('TORCH_CUDA_ARCH_LIST', '').replace(' ', ';')
    return Target(torch, cuda, named or ';'.join(present) or '7.5;8.0;8.6;9.0+PTX')


def mmcv_wheel(installer: Installer, requirement: str, sources: Path, log: Path) -> Path:
    """Return the wheel of mmcv with operators; build it if the cache lacks it.

    Args:
        installer: Installer of the environment, with torch in it.
        requirement: E.g. ``'mmcv==2.1.0'``.
        sources: Folder for the source tree; objects that are compiled already are used again.
        log: Where the compiler's output goes.

    Raises:
        InstallError: If it cannot be fetched or does not compile.
    """
    aim = target(installer.python)
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'ssal3d' / aim.key
    name = requirement.replace('==', '-')
    pattern = f'{name}-{python_tag()}-*.whl'
    if not list(cache.glob(pattern)):
        tree = fetch(installer, requirement, sources / aim.key)
        build(installer, aim, tree, log, cache)
    return sorted(cache.glob(pattern))[-1]


def fetch(installer: Installer, requirement: str, folder: Path) -> Path:
    """Return the source tree of a release, from the index's source distribution."""
    name = requirement.replace('==', '-')
    tree = folder / name
    if not (tree / 'setup.py').exists():
        options = ('--no-deps', '--no-binary', ':all:', '--no-build-isolation', '--quiet', '-d', str(folder))
        command = [installer.python, '-m', 'pip', 'download', *options, requirement]
        if subprocess.run(command, env=environment_of(installer)).returncode:
            raise InstallError(f'the source distribution of {requirement} cannot be fetched; see above')
        with tarfile.open(folder / f'{name}.tar.gz') as archive:
            archive.extractall(folder)  # noqa: S202 - the index's own source distribution
    for source in tree.rglob('*.cu*'):
        text = source.read_text(errors='surrogateescape')
        mended = text
        for old, new in MOVED_HEADERS.items():
            mended = mended.replace(old, new)
        if mended != text:
            source.write_text(mended, errors='surrogateescape')
    return tree


def build(installer: Installer, aim: Target, tree: Path, log: Path, cache: Path) -> None:
    """Compile the source tree, showing one progress line, and put the wheel into the cache."""
    partial = log.parent / 'wheels'
    environment = {**environment_of(installer), 'MMCV_WITH_OPS': '1', 'FORCE_CUDA': '1' if aim.cuda else '0'}
    environment.setdefault('MAX_JOBS', str(compile_jobs(bool(aim.cuda))))
    if aim.cuda:
        environment['TORCH_CUDA_ARCH_LIST'] = aim.architectures
        environment['CUDA_HOME'] = str(cuda_home(aim.cuda) or packaged_compiler(installer, aim.cuda, log.parent))
    options = ('-v', '--no-build-isolation', '--no-deps', '-w', str(partial), str(tree))
    command = [str(installer.python), '-m', 'pip', 'wheel', *options]
    with log.open('w') as file:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        show_progress(process.stdout, file)
    if process.wait():
        raise InstallError(f'mmcv did not compile; the reason is at the end of {log}')
    cache.mkdir(parents=True, exist_ok=True)
    for wheel in partial.glob('*.whl'):
        temporary = cache / f'.{wheel.name}.{os.getpid()}'
        temporary.write_bytes(wheel.read_bytes())
        os.replace(temporary, cache / wheel.name)


def packaged_compiler(installer: Installer, cuda: str, folder: Path) -> Path:
    """Install NVIDIA's compiler from its packages and return a folder laid out like a CUDA toolkit.

    Args:
        installer: Installer of the environment.
        cuda: CUDA release of torch, e.g. ``'12.6'``.
        folder: Where to lay it out.

    Raises:
        InstallError: If there are no packages with the compiler of this release.
    """
    if int(cuda.split('.')[0]) < 13:
        raise InstallError(
            f'compiling mmcv for CUDA {cuda} needs its nvcc: install the CUDA toolkit {cuda} and set CUDA_HOME, or '
            'choose a torch whose compiler comes as packages, e.g. `make setup TORCH=cu130` where the driver allows it'
        )
    installer.install(*(f'{name}=={cuda}.*' for name in COMPILER))
    packages = Path(ask(installer.python, 'import nvidia; print(list(nvidia.__path__)[0])'))
    home = folder / f'cuda-{cuda}'
    for part, target_name in (('bin', 'bin'), ('include', 'include'), ('nvvm', 'nvvm'), ('lib', 'lib64')):
        for source in sorted(packages.glob(f'*/{part}')):
            link_tree(source, home / target_name)
    for library in sorted((home / 'lib64').glob('lib*.so.*')):  # the linker asks for names without a version
        plain = library.with_name(library.name.split('.so.')[0] + '.so')
        if not plain.exists():
            plain.symlink_to(library.name)
    return home


def link_tree(source: Path, aim: Path) -> None:
    """Link every file below a folder into another, so that several packages look like one installation."""
    for path in sorted(source.rglob('*')):
        if not path.is_dir():
            link = aim / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(path)


def show_progress(lines: Iterable[str], log: TextIO) -> None:
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
