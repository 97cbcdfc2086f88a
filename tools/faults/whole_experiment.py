"""The smallest whole experiment in this process, for `make coverage`: tests run theirs in processes of their own."""

import os
import runpy
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.helpers.paths import ROOT, TINY
from tools.faults.killing import TRAIN, Scene


def main() -> None:
    """Run it in a folder that is removed."""
    with tempfile.TemporaryDirectory(prefix='ssal3d-whole-') as folder:
        os.environ |= Scene(Path(folder)).environment
        here = ['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False']
        sys.argv = [TRAIN, str(TINY), '--work-dir', f'{folder}/run', '--cfg-options', *here]
        runpy.run_path(str(ROOT / TRAIN), run_name='__main__')


if __name__ == '__main__':
    main()
