"""Several experiments beside each other: those that differ in their seed alone are one, with a band."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.journal_steps import READS
from ssal3d.report.charts import COLOURS, Curve
from ssal3d.report.experiment import MEASURES, Experiment, Measure

SEEDS = ('seed', 'randomness')
UNMEASURED = 'no AP that this page knows'  # only metrics of another evaluation


@dataclass(frozen=True)
class Group:
    """Experiments with the same settings.

    Attributes:
        name: What a page calls them.
        runs: One for each seed.
    """

    name: str
    runs: tuple[Experiment, ...]

    @property
    def first(self) -> Experiment:
        """The run whose details are shown."""
        return self.runs[0]

    def values(self, stage: str, measure: Measure) -> list[float]:
        """Return the mean AP of a stage in every run that has it."""
        precisions = (run.average_precision(stage, measure) for run in self.runs if stage in run.stages)
        return [overall(by_class) for by_class in precisions if by_class]


def group(experiments: Sequence[Experiment]) -> list[Group]:
    """Group experiments by their settings, in the order of the first of each.

    Raises:
        UserError: If two of one group have the same seed: they are one run, and a band over them means nothing.
    """
    found: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        found.setdefault(settings(experiment), []).append(experiment)
    for runs in found.values():
        _refuse_equal_seeds(runs)
    names = [_name(runs[0]) for runs in found.values()]
    for position, (name, runs) in enumerate(zip(list(names), found.values())):
        if names.count(name) > 1 or name in names[:position]:
            names[position] = f'{name} ({runs[0].folder.name})'
    return [Group(name, tuple(runs)) for name, runs in zip(names, found.values())]


def _refuse_equal_seeds(runs: Sequence[Experiment]) -> None:
    seen: dict[int, Experiment] = {}
    for run in runs:
        seed = run.card.get('seed')
        if seed is None:  # drawn anew by every run
            continue
        if seed in seen:
            raise UserError(
                f'{run.folder}: found the settings and the seed {seed} of {seen[seed].folder}, expected another seed or '
                'other settings (experiments that share their first steps differ later); name one of the two'
            )
        seen[seed] = run


def settings(experiment: Experiment) -> str:
    """Return what an experiment depends on but for its seed, as text to be compared.

    It is what its steps wrote down before they began; weights, labels and predictions follow from it.
    """
    found: dict[str, Any] = {'name': experiment.name}
    for name in experiment.steps:
        path = experiment.folder / READS / f'{name}.json'
        if path.is_file():
            reads = read_json(path, schema=False)
            found[name] = {
                key: reads[key] for key in ('training', 'sampler', 'query', 'pool', 'settings') if key in reads
            }
    return json.dumps(_without_seeds(found), sort_keys=True)


def detectors(experiment: Experiment) -> dict[str, list[str]]:
    """Return the stages of an experiment by what they were trained for: ``round_1``, ..., ``final``.

    Where final models were trained after every round, the pre-training of the later rounds is left out: a curve goes
    from the first model through the final ones.
    """
    found: dict[str, list[str]] = {}
    for name in experiment.stages:
        found.setdefault(name.partition('/')[0], []).append(name)
    finals = [name for name in found if is_final(name)]
    if len(finals) > 1:
        first = next(iter(found))
        found = {name: found[name] for name in found if name == first or name in finals}
    return found


def is_final(training: str) -> bool:
    """Whether a stage or its group belongs to the final models."""
    return training.startswith('final')


def curves(groups: Sequence[Group], measure: Measure) -> list[Curve]:
    """Return two lines for each group: the first stage of every training, on labels alone, and its last stage.

    Args:
        groups: Runs of one experiment with different seeds each.
        measure: What is drawn.
    """
    lines = []
    for number, some in enumerate(groups):
        for place, name, dashed in ((0, 'first stage', True), (-1, 'last stage', False)):
            runs = [_points(run, place, measure) for run in some.runs]
            if all(runs) and (dashed is False or any(len(stages) > 1 for stages in detectors(some.first).values())):
                label = f'{some.name}: {name}' if len(groups) > 1 else name
                lines.append(Curve(label, runs, COLOURS[number % len(COLOURS)], dashed))
    return lines


def first_measure(groups: Sequence[Group]) -> Measure:
    """Return the measure that curves and words are about."""
    return MEASURES[groups[0].first.metric][0]


def overall(by_class: Mapping[str, float]) -> float:
    """Return the mean AP that was measured, or of the classes."""
    return by_class['mean'] if 'mean' in by_class else float(np.mean(list(by_class.values())))


def _points(run: Experiment, place: int, measure: Measure) -> list[tuple[float, float]]:
    stages = [names[place] for names in detectors(run).values()]
    precisions = ((stage, run.average_precision(stage, measure)) for stage in stages)
    return [(run.boxes_of_stage[stage], overall(by_class)) for stage, by_class in precisions if by_class]


def _name(experiment: Experiment) -> str:
    return f'{experiment.name} ({experiment.sampler})' if experiment.sampler else experiment.name


def _without_seeds(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_seeds(value) for key, value in content.items() if key not in SEEDS}
    return [_without_seeds(value) for value in content] if isinstance(content, list) else content


def spread(values: Iterable[float]) -> str:
    """Return a mean AP in words, with the range of several values, or that nothing is measured.

    >>> spread([30.0, 34.0])
    '32.0 (30.0 to 34.0)'
    """
    numbers = list(values)
    return mean_and_range(numbers) if numbers else UNMEASURED


def mean_and_range(values: Sequence[float], decimals: int = 1) -> str:
    """Return the mean of values, with their range where they differ.

    >>> mean_and_range([30.0, 34.0]), mean_and_range([351, 351], decimals=0)
    ('32.0 (30.0 to 34.0)', '351')
    """
    mean, low, high = (f'{value:.{decimals}f}' for value in (np.mean(values), min(values), max(values)))
    return mean if low == high else f'{mean} ({low} to {high})'


def difference(values: Sequence[float], others: Sequence[float]) -> float:
    """Return how much greater the mean of values is, as a reader finds it by subtracting what `spread` shows.

    >>> round(difference([57.84], [56.36]), 1)
    1.4
    """
    mean, other = (round(float(np.mean(numbers)), 1) for numbers in (values, others))
    return round(mean - other, 1)
