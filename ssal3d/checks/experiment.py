"""All checks of a config, before anything is trained."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssal3d.checks.anchors import check_anchors
from ssal3d.checks.class_settings import check_class_settings, check_classes
from ssal3d.checks.finding import Checked, Finding
from ssal3d.checks.heads import check_heads
from ssal3d.checks.names import check_names, earlier_values
from ssal3d.checks.network import check_network
from ssal3d.checks.options import check_options
from ssal3d.checks.ranges import check_range
from ssal3d.checks.stages import check_numbers, check_stages, check_start
from ssal3d.checks.subject import Subject
from ssal3d.checks.voxels import check_voxels
from ssal3d.errors import UserError
from ssal3d.log import tell

Check = Callable[[Subject], Checked]
CHECKS: tuple[Check, ...] = (
    *(check_names, check_options, check_classes, check_class_settings, check_heads),
    *(check_range, check_voxels, check_network, check_anchors),
    *(check_numbers, check_start, check_stages),
)
OF_STAGES: tuple[Check, ...] = (check_heads, check_range, check_voxels, check_network, check_anchors)


def check_experiment(config: Config) -> list[Checked]:
    """Look for contradictions in the config of an experiment, of one of its stages or of any training.

    Nothing is read but configs: no data, no labels.

    Args:
        config: The resolved config. What its file says is compared with it, if it knows its file.

    Returns:
        The outcome of every check, in order.
    """
    content = config.to_dict()
    subject = Subject(content, _earlier(config))
    outcomes = [check(subject) for check in CHECKS]
    known = {finding for outcome in outcomes for finding in outcome.findings}
    for name, stage in subject.used_stages.items():
        if not stage.get('options'):
            continue
        changed = Config(content).copy()
        changed.merge_from_dict(dict(stage['options']))
        found = [finding for check in OF_STAGES for finding in check(Subject(changed.to_dict())).findings]
        new = [
            Finding(f'stages.{name}.options -> {finding.key}', finding.found, finding.expected, finding.severity)
            for finding in found
            if finding not in known
        ]
        outcomes.append(Checked(f'options of {name}', ', '.join(stage['options']), tuple(new)))
    return outcomes


def refuse_contradictions(config: Config) -> None:
    """Check a config and print what is wrong with it.

    Args:
        config: The resolved config.

    Raises:
        UserError: If something contradicts itself; warnings are only printed.
    """
    findings = [finding for outcome in check_experiment(config) for finding in outcome.findings]
    for finding in findings:
        tell(str(finding), logging.ERROR if finding.severity == 'error' else logging.WARNING)
    refuse(findings)


def refuse(findings: list[Finding]) -> None:
    """Raise the first error of several findings.

    Raises:
        UserError: If there is one.
    """
    errors = [finding for finding in findings if finding.severity == 'error']
    if errors:
        more = f' ({len(errors) - 1} more contradictions stand above)' if len(errors) > 1 else ''
        raise UserError(f'{errors[0]}{more}')


def _earlier(config: Config) -> tuple[Mapping[str, Any], ...]:
    """Return what the files of a config say; nothing if it has none."""
    path = config.filename
    return earlier_values(path) if path and Path(path).is_file() else ()
