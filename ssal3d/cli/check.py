"""Look for contradictions in a config before anything is trained.

`ssal3d train` does the same before it starts. With labels at hand, the anchors are compared with the labelled boxes,
too.

Example:
    ssal3d check configs/ssal/pvrcnn_kitti.py
    ssal3d check my.py --labels data/mine/labels/round_0.json --cfg-options query.budget=300
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ssal3d.cli.arguments import Words, add_config, add_overrides, make_parser
from ssal3d.errors import UserError, command

if TYPE_CHECKING:
    from mmengine.config import Config

    from ssal3d.checks import Checked


@command
def main(argv: Words = None) -> None:
    """Check the config, print a table of what was looked at, and end with 2 if something contradicts itself."""
    parser = make_parser('check', __doc__)
    add_config(parser, 'config of an experiment, a stage or any training of MMDetection3D')
    parser.add_argument('--labels', type=Path, help='label state (default: train_cfg.initial.labels, if it is there)')
    add_overrides(parser, 'class_names="[Car]"')
    arguments = parser.parse_args(argv)

    from ssal3d import compat
    from ssal3d.configs import read_config, require_parts

    compat.apply_all()
    config = read_config(arguments.config, arguments.cfg_options)
    require_parts(config, arguments.config, 'model')
    show(config, arguments)


def show(config: 'Config', arguments: argparse.Namespace) -> None:
    """Print the outcome of every check.

    Raises:
        UserError: If there is a contradiction.
    """
    from ssal3d.checks import check_experiment
    from ssal3d.checks.labels import check_labels
    from ssal3d.terminal import console, print_table

    outcomes = check_experiment(config)
    labels = arguments.labels or _given_labels(config)
    if labels is not None:
        outcomes += check_labels(config, labels)
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    errors = sum(finding.severity == 'error' for finding in findings)
    rows = [(outcome.name, outcome.looked_at, _verdict(outcome)) for outcome in outcomes]
    print_table(arguments.config, ('check', 'looked at', 'outcome'), rows)
    for finding in findings:
        console.print(f'{finding.severity}: {finding}', highlight=False, markup=False, soft_wrap=True)
    if errors:
        raise UserError(f'{arguments.config}: {errors} contradictions, {len(findings) - errors} warnings; see above')
    warnings = f', {len(findings)} warnings' if findings else ''
    console.print(f'{arguments.config}: no contradiction{warnings}', highlight=False, markup=False)


def _verdict(outcome: 'Checked') -> str:
    count = {kind: sum(finding.severity == kind for finding in outcome.findings) for kind in ('error', 'warning')}
    said = [f'{number} {kind}{"s" if number > 1 else ""}' for kind, number in count.items() if number]
    return ', '.join(said) or 'agrees'


def _given_labels(config: 'Config') -> Path | None:
    initial = (config.get('train_cfg') or {}).get('initial') or {}
    path = initial.get('labels') and Path(initial['labels'])
    return path if path and path.is_file() else None
