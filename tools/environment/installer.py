"""Installing packages with uv, from wherever pip of this machine would take them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

UV = '0.13.9'
# What MMDetection3D and its dependencies ask for and neither they nor we import to train, predict and evaluate on
# point clouds; 1.5 GB in all. The opencv with windows gives way to the one without: both put files into one folder.
NEVER_IMPORTED = (
    'open3d', 'plyfile', 'tensorboard', 'jupyter', 'descartes', 'black', 'flake8', 'plotly',
    'parameterized', 'opencv-python',
)  # fmt: skip
# Caps in their metadata that do not hold: the code runs with newer releases.
WIDER = ('numpy>=1.26.4,<3', 'matplotlib>=3.8', 'shapely>=2')


class InstallError(Exception):
    """A package could not be installed; holds what the installer printed."""


class Installer:
    """Installs into one virtual environment.

    Args:
        python: The environment's interpreter.
        folder: Where to keep the list of overrides.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self.python = python
        self._bring_pip()
        self.overrides = folder / 'overrides.txt'
        self.uv = self._uv()
        self.sources = pip_sources(self._pip_settings())

    def install(self, *requirements: str, backend: str = '', wider: Sequence[str] = WIDER) -> None:
        """Install requirements.

        Args:
            requirements: As pip takes them, and options of uv.
            backend: Take torch's packages from the index of this build: ``'cpu'``, ``'cu126'``, ``'auto'``; empty for
                the sources that pip would use.
            wider: Requirements that replace those in the metadata of other packages.

        Raises:
            InstallError: If it fails.
        """
        never = (f"{name} ; sys_platform == 'never'" for name in NEVER_IMPORTED)
        self.overrides.write_text('\n'.join([*never, *wider]) + '\n')
        options = ['--overrides', str(self.overrides), *self.sources]
        options += ['--torch-backend', backend] if backend else []
        self._run('install', '--python', str(self.python), *options, *requirements)

    def uninstall(self, *names: str) -> None:
        """Remove distributions that are installed.

        Args:
            names: Their names; none is fine.
        """
        if names:
            self._run('uninstall', '--python', str(self.python), *names)

    def _run(self, command: str, *arguments: str) -> None:
        result = subprocess.run([*self.uv, 'pip', command, '--quiet', *arguments], capture_output=True, text=True)
        if result.returncode:
            raise InstallError(result.stderr.strip() or result.stdout.strip())

    def _bring_pip(self) -> None:
        """Install pip into an environment that somebody made without it, as uv does."""
        if not ask(self.python, 'import pip; print(pip.__version__)'):
            result = subprocess.run([self.python, '-m', 'ensurepip'], capture_output=True, text=True)
            if result.returncode:
                raise InstallError(f'{self.python} has no pip and cannot get it: {result.stderr.strip()}')

    def _uv(self) -> list[str]:
        """Return the command of uv in the environment; pip brings it, from the user's own index."""
        uv = self.python.with_name('uv')
        if not uv.exists():
            command = [self.python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', f'uv=={UV}']
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                raise InstallError(result.stderr.strip())
        return [str(uv)]

    def _pip_settings(self) -> str:
        command = [self.python, '-m', 'pip', 'config', 'list']
        return subprocess.run(command, capture_output=True, text=True).stdout


def pip_sources(settings: str) -> list[str]:
    r"""Turn pip's settings into options of uv, which does not read them.

    Args:
        settings: What ``pip config list`` prints: files, user and environment, later lines win.

    Returns:
        Options of ``uv pip install`` for index, extra indexes, local folders and constraints. Like pip, uv then takes
        the best version of all sources.

    >>> pip_sources("global.extra-index-url='https://a/simple'\n:env:.find-links='/wheels'")
    ['--index-strategy', 'unsafe-best-match', '--index', 'https://a/simple', '--find-links', '/wheels']
    >>> pip_sources("install.no-index='true'")
    ['--index-strategy', 'unsafe-best-match', '--no-index']
    """
    options = {
        'index-url': '--default-index',
        'extra-index-url': '--index',
        'find-links': '--find-links',
        'constraint': '--constraints',
        'trusted-host': '--allow-insecure-host',
    }
    found: dict[str, list[str]] = {}
    switches = []
    for line in settings.splitlines():
        key, _, value = line.partition('=')
        name = key.rpartition('.')[2].replace('_', '-')
        value = value.strip().strip('\'"').replace('\\n', ' ')
        if name in options:
            found[name] = value.split()
        elif name == 'no-index' and value.lower() in ('1', 'true', 'yes', 'on'):
            switches.append('--no-index')
    sources = [word for name in options for value in found.get(name, ()) for word in (options[name], value)]
    return ['--index-strategy', 'unsafe-best-match', *sources, *switches]


def environment_of(installer: Installer) -> dict[str, str]:
    """Return the environment variables for programs of the virtual environment."""
    binaries = installer.python.parent
    return {**os.environ, 'VIRTUAL_ENV': str(binaries.parent), 'PATH': f'{binaries}{os.pathsep}{os.environ["PATH"]}'}


def ask(python: Path, code: str) -> str:
    """Run a line of Python in the environment and return what it prints, or ``''`` when it fails."""
    result = subprocess.run([python, '-c', code], capture_output=True, text=True, cwd=python.parent)
    return result.stdout.strip()


def versions(python: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of distributions in the environment; those that are missing are left out."""
    code = (
        'import json, sys\nfrom importlib.metadata import version, PackageNotFoundError\nfound = {}\n'
        f'for name in {list(names)!r}:\n'
        '    try: found[name] = version(name)\n'
        '    except PackageNotFoundError: pass\n'
        'print(json.dumps(found))'
    )
    return json.loads(ask(python, code) or '{}')


def python_tag() -> str:
    """Return the tag of wheels for this interpreter, e.g. ``'cp311'``."""
    return f'cp{sys.version_info[0]}{sys.version_info[1]}'
