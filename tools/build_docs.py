"""Build the documentation as a site: the pages of docs/, the API from the docstrings, the tutorial with its outputs.

Broken links, missing anchors, names that the docstrings lack and parameters that do not exist end it with exit code 1.
The tools for it are installed into the virtual environment when they are missing.

Example:
    python tools/build_docs.py --serve
"""

import argparse
import configparser
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from environment.installer import Installer, InstallError

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / 'build' / 'docs'


def main() -> None:
    """Parse the arguments, install, run the notebooks, build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'site', help='folder of the site (default: site)')
    parser.add_argument('--skip-notebooks', action='store_true', help='do not run them; outputs of an earlier run stay')
    parser.add_argument('--serve', action='store_true', help='serve the site on this machine and follow changes')
    arguments = parser.parse_args()
    try:
        install()
    except InstallError as error:
        sys.exit(f'error: {error}\nthe tools for the documentation could not be installed')
    if not arguments.skip_notebooks:
        for notebook in sorted((ROOT / 'docs').glob('*.ipynb')):
            print(f'[docs] running {notebook.name}', flush=True)
            run_notebook(notebook)
    command = ['serve'] if arguments.serve else ['build', '--site-dir', str(arguments.out.resolve())]
    environment = {**os.environ, 'NO_MKDOCS_2_WARNING': '1'}  # Material advertises its successor otherwise
    sys.exit(subprocess.run([sys.executable, '-m', 'mkdocs', *command], cwd=ROOT, env=environment).returncode)


def install() -> None:
    """Install the extra `docs` of setup.cfg into the environment of this interpreter, unless it is there.

    Raises:
        InstallError: If it fails.
    """
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    wanted = config['options.extras_require']['docs'].split()
    folder = Path(sys.prefix)
    stamp = folder / '.ssal3d-docs'
    pins = hashlib.sha256('\n'.join(wanted).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != pins:
        print('[docs] installing', *wanted, flush=True)
        Installer(Path(sys.executable), folder).install(*wanted)
        stamp.write_text(pins)


def run_notebook(path: Path) -> None:
    """Run a notebook in `build/docs`, where its outputs stay."""
    BUILD.mkdir(parents=True, exist_ok=True)
    copy = shutil.copy(path, BUILD)
    command = [sys.executable, '-m', 'nbconvert', '--to', 'notebook', '--execute', '--inplace', copy]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'{done.stderr}\nerror: {path.relative_to(ROOT)} does not run; see above')


if __name__ == '__main__':
    main()
