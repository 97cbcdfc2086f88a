"""All checks of a config, before anything is trained."""

import logging
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from ssal3d.checks.anchors import check_anchors
from ssal3d.checks.class_settings import check_class_settings, check_classes
from ssal3d.checks.finding import Checked, Finding
from ssal3d.checks.heads import check_heads
from ssal3d.checks.names import NOTHING, check_names, earlier_values, read_names
from ssal3d.checks.network import check_network
from ssal3d.checks.options import check_options
from ssal3d.checks.ranges import check_range
from ssal3d.checks.stages import check_numbers, check_stages, check_start
from ssal3d.checks.subject import Subject
from ssal3d.checks.unused_names import unused_names
from ssal3d.checks.voxels import check_voxels
from ssal3d.errors import UserError, one_line
from ssal3d.log import tell

Check = Callable[[Subject], Checked]
CHECKS: tuple[Check, ...] = (
    *(check_names, check_options, check_classes, check_class_settings, check_heads),
    *(check_range, check_voxels, check_network, check_anchors),
    *(check_numbers, check_start, check_stages),
)
OF_STAGES: tuple[Check, ...] = (check_options, check_heads, check_range, check_voxels, check_network, check_anchors)

WRONG_TYPE = 'a value of another type than the check can read'


def check_experiment(config: Config) -> list[Checked]:
    """Look for contradictions in the config of an experiment, of one of its stages or of any training.

    Nothing is read but configs: no data, no labels.

    Args:
        config: The resolved config. What its file says is compared with it, if it knows its file.

    Returns:
        The outcome of every check, in order.
    """
    content = config.to_dict()
    path = config.filename if config.filename and Path(config.filename).is_file() else None
    subject = Subject(content, *((earlier_values(path), unused_names(path)) if path else ()))
    outcomes = [_run(check, subject) for check in CHECKS]
    findings = {finding for outcome in outcomes for finding in outcome.findings}
    if any(WRONG_TYPE in finding.found for finding in findings):
        return outcomes  # what stages change cannot be told either
    for name, stage in subject.used_stages.items():
        if not stage.get('options'):
            continue
        changed = Config(content).copy()
        changed.merge_from_dict(dict(stage['options']))
        found = [finding for check in OF_STAGES for finding in _run(check, Subject(changed.to_dict())).findings]
        found += [Finding(key, *NOTHING) for key in changed if key not in (*content, *read_names())]
        new = [
            Finding(f'stages.{name}.options -> {finding.key}', finding.found, finding.expected, finding.severity)
            for finding in found
            if finding not in findings
        ]
        outcomes.append(Checked(f'options of {name}', ', '.join(stage['options']), tuple(new)))
    return outcomes


def _run(check: Check, subject: Subject) -> Checked:
    """Run a check; a value whose type it cannot read is a finding, not the end of all checks."""
    try:
        return check(subject)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        name = check.__name__.removeprefix('check_').replace('_', ' ')
        found = f'{WRONG_TYPE} ({type(error).__name__}: {one_line(error)[:120]})'
        expected = 'numbers, lists and dictionaries where the shipped configs have them'
        return Checked(name, 'nothing could be compared', (Finding(name, found, expected),))


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
