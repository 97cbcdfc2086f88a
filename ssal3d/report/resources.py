"""What a page says of cost and origin: time, memory, environment, commands to repeat."""

import shlex
from collections.abc import Sequence

from ssal3d.report.experiment import Experiment
from ssal3d.report.html import section, table, text
from ssal3d.terminal import duration

SECONDS = {'load': 'loading', 'forward': 'detector', 'write': 'writing'}


def cost_section(experiment: Experiment) -> str:
    """Return the section about time and memory."""
    rows, total = [], 0.0
    for name, step in experiment.steps.items():
        seconds = step.get('seconds')
        taken = 'taken_from' in step
        total += 0 if taken or seconds is None else seconds
        shown = 'taken over' if taken else '–' if seconds is None else duration(seconds)
        rows.append((name, shown, _memory(experiment, name), _timing(step.get('timing'))))
    words = (
        f'{len(rows)} steps took {duration(total)} here. Memory is the most that a GPU had allocated during training; a run '
        'on the CPU does not record it.'
    )
    return section('cost', 'Time and memory', [text(words), table(('step', 'time', 'GPU memory', 'of which'), rows)])


def repeat_section(experiments: Sequence[Experiment]) -> str:
    """Return the section about environment and commands."""
    commands = [str(experiment.card.get('command', '')) for experiment in experiments]
    folders = shlex.join(str(experiment.folder) for experiment in experiments)
    first = experiments[0]
    return section(
        'repeat',
        'Repeat it',
        [
            text('Every experiment, and this page:'),
            *(text(command, 'pre') for command in [*filter(None, commands), f'ssal3d report {folders}']),
            text(f'Seeds: {", ".join(str(experiment.card.get("seed")) for experiment in experiments)}.'),
            table(('package', 'version'), first.card.get('versions', {}).items()),
        ],
    )


def _memory(experiment: Experiment, stage: str) -> str:
    most = max((line['memory'] for line in experiment.scalars(stage) if 'memory' in line), default=0)
    return f'{most / 1024:.1f} GiB' if most else '–'


def _timing(timing: dict | None) -> str:
    parts = [f'{word} {timing[key]:.1f} s' for key, word in SECONDS.items() if key in timing] if timing else []
    return ', '.join(parts)
