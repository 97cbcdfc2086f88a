"""Which commands there are, and under which name the running one was called."""

import re
import sys
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        module: Module whose ``main(argv)`` runs it.
        script: Its file in ``tools/``, or '' if there is none.
        summary: One line for ``ssal3d --help``, the first line of the module's docstring.
    """

    module: str
    script: str
    summary: str


COMMANDS: dict[str, Command] = {
    'select': Command(
        'ssal3d.cli.select',
        'al_select',
        'Select the frames to label next from prediction files; needs no GPU, no model and no data set.',
    ),
    'train': Command(
        'ssal3d.cli.train', 'train', 'Train: a whole S-SSAL experiment, one of its stages, or any MMDetection3D config.'
    ),
    'check': Command('ssal3d.cli.check', '', 'Look for contradictions in a config before anything is trained.'),
    'test': Command('ssal3d.cli.test', 'test', "Measure a trained detector with a config's test data and metrics."),
    'predict': Command(
        'ssal3d.cli.predict',
        'predict_pool',
        'Predict the unlabelled pool and write the prediction contract (Parquet) that every sampler reads.',
    ),
    'calibrate': Command(
        'ssal3d.cli.calibrate',
        'calibrate_scores',
        'Calibrate the scores of a prediction folder on labelled frames, between prediction and query.',
    ),
    'evaluate': Command('ssal3d.cli.evaluate', 'evaluate', 'Evaluate saved detections.'),
    'create-data': Command(
        'ssal3d.cli.create_data',
        'create_data',
        "Convert a data set for training: check every frame, reduce the scans, write MMDetection3D's annotation files.",
    ),
    'suggest': Command(
        'ssal3d.cli.suggest',
        '',
        'Suggest classes, range, voxels and anchors for own data from its labelled frames; --out writes a config.',
    ),
    'simulate': Command(
        'ssal3d.cli.simulate',
        'simulate',
        "Simulate LiDAR frames of streets, labelled: KITTI's object layout, or converted Waymo with --preset waymo.",
    ),
    'labels': Command('ssal3d.cli.labels', 'labels', 'Carry a query to the people who label, and their boxes back.'),
    'report': Command(
        'ssal3d.cli.report',
        'report',
        'Write a page about experiments: what was labelled and why, and how good the detectors became.',
    ),
    'show': Command(
        'ssal3d.cli.show',
        'show',
        'Draw the frames of a query, of predictions or of a label state as PNG: what models saw, what people labelled.',
    ),
    'plan': Command(
        'ssal3d.cli.plan', '', 'Plan: boxes and hours for a target, from the learning curve of experiments so far.'
    ),
    'reproduce': Command(
        'ssal3d.cli.reproduce',
        'reproduce',
        'Reproduce tables of the paper: train their rows with several seeds, and show our numbers beside the printed ones.',
    ),
    'env': Command('ssal3d.env', '', 'What this installation consists of: versions, devices, workarounds in use.'),
}
ALIASES = {'convert': 'create-data'}


def in_repository() -> bool:
    """Whether this process runs a script of ``tools/``."""
    return Path(sys.argv[0]).name in {f'{command.script}.py' for command in COMMANDS.values()}


def as_called(text: str) -> str:
    """Return a text in which commands are named as the user of this process names them.

    Args:
        text: Text with ``ssal3d <command>``, and ``-m ssal3d <command>`` where a launcher starts Python.
    """
    return re.sub(r'(-m )?\bssal3d ([a-z-]+)', _as_script, text) if in_repository() else text


def _as_script(found: re.Match[str]) -> str:
    command = COMMANDS.get(found[2])
    if command is None or not command.script:
        return found[0]
    return f'{"" if found[1] else "python "}tools/{command.script}.py'
