"""What a table is asked, fixed before its rows are run, and what the seeds answer."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssal3d.reproduce.data_sets import BEV_METRICS, CALIBRATION_METRICS
from ssal3d.reproduce.rows import BENCHMARK, SCORES, WITHOUT_PARTS, Row
from ssal3d.reproduce.statistics import Comparison, compare, mixed_model
from ssal3d.reproduce.table import Line, asked_about, digits, short

# Of the crossed design, with the level that the others are compared to.
FACTORS = {'pretrain': 'Normal', 'sampler': 'Random', 'final': 'supervised'}
FEWEST = 3  # seeds from which on a level per seed can be estimated
NORMAL = 1.96  # standard errors of half a 95 % interval


class Question(NamedTuple):
    """Do some experiments reach more than others, on average within a seed?

    Attributes:
        text: The question for people.
        first: Experiments that are averaged.
        second: Those that they are compared with.
        metrics: Numbers that are averaged.
    """

    text: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    metrics: tuple[str, ...]


class Answer(NamedTuple):
    """What the seeds say.

    Attributes:
        question: The question.
        differences: First minus second, by seed; of the seeds that have all experiments.
        comparison: Their mean and how sure it is; p values are corrected over all questions of the table.
    """

    question: Question
    differences: dict[int, float]
    comparison: Comparison


def questions(rows: Sequence[Row], metrics: Sequence[str]) -> list[Question]:
    """Return the questions of a table, see docs/benchmark.md; none for the others.

    Args:
        rows: All rows of the table.
        metrics: What the table shows; `asked_about` says which of them the questions are about, where classes are not.
    """
    table = rows[0].table
    if table == BENCHMARK:
        return _crossed(rows)
    if table == '8':
        by_pretrain = {row.pretrain: row.experiment for row in rows}
        pair = (by_pretrain['CPSP'],), (by_pretrain['Normal'],)
        return [Question(f'CPSP against Normal, {short(name)}', *pair, (name,)) for name in CALIBRATION_METRICS[:-1]]
    mean = asked_about(metrics)
    if table in WITHOUT_PARTS:  # its last row has all parts
        *lacking, whole = rows
        return [
            Question(f'all parts against {row.variant}', (whole.experiment,), (row.experiment,), (mean,))
            for row in lacking
        ]
    if table not in ('6', SCORES):
        return []
    usual, *changed = rows
    texts = [
        f'{row.rounds} rounds against {usual.rounds}' if table == '6' else f'{row.variant} against scores as predicted'
        for row in changed
    ]
    return [Question(text, (row.experiment,), (usual.experiment,), (mean,)) for text, row in zip(texts, changed)]


def _crossed(rows: Sequence[Row]) -> list[Question]:
    """Return Q1 to Q4 of the benchmark."""

    def having(**wanted: str) -> tuple[str, ...]:
        crossed = [row for row in rows if row.final != 'longer']
        return tuple(
            row.experiment for row in crossed if all(getattr(row, key) == value for key, value in wanted.items())
        )

    mean, small = (BEV_METRICS[-1],), BEV_METRICS[1:3]
    queries = [(having(sampler='CAL'), having(sampler=other), other) for other in ('Random', 'Entropy')]
    return [
        Question('Q1a: final CPSP against supervised', having(final='CPSP'), having(final='supervised'), mean),
        *(
            Question(f'{name}: final CPSP against longer, {first}', (f'{first}-CPSP',), (f'{first}-longer',), mean)
            for name, first in (('Q1b', 'Normal-Random'), ('Q1c', 'CPSP-CAL'))
        ),
        *(Question(f'Q2: query CAL against {other}', first, second, mean) for first, second, other in queries),
        Question('Q3: pre-training CPSP against Normal', having(pretrain='CPSP'), having(pretrain='Normal'), mean),
        *(Question(f'Q4: Q2 for Ped and Cyc, {other}', first, second, small) for first, second, other in queries),
    ]


def answers(asked: Sequence[Question], table: Sequence[Line]) -> list[Answer]:
    """Answer what was measured; questions without a seed that has all of their experiments are left out.

    Args:
        asked: From `questions`.
        table: From `ssal3d.reproduce.table.lines`.
    """
    values = {line.row.experiment: line.values for line in table}

    def of(experiments: tuple[str, ...], metrics: tuple[str, ...]) -> dict[int, float]:
        """Return the mean of each seed that has all numbers."""
        found = [values.get(name, {}).get(metric, {}) for name in experiments for metric in metrics]
        common = set.intersection(*map(set, found))
        return {seed: float(np.mean([by_seed[seed] for by_seed in found])) for seed in sorted(common)}

    measured = []
    for entry in asked:
        first, second = of(entry.first, entry.metrics), of(entry.second, entry.metrics)
        if pairs := {seed: (first[seed], second[seed]) for seed in first if seed in second}:
            measured.append((entry, pairs))
    comparisons = compare([tuple(zip(*pairs.values(), strict=True)) for _, pairs in measured])
    return [
        Answer(entry, {seed: first - second for seed, (first, second) in pairs.items()}, comparison)
        for (entry, pairs), comparison in zip(measured, comparisons)
    ]


def effects(table: Sequence[Line], metric: str) -> dict[str, tuple[float, float]]:
    """Return the effect of each level of the crossed factors, with half its 95 % interval, by its name.

    From a linear mixed model with a random level per seed, over the seeds that have all rows of the design. A random
    query does not look at the model, so those after other pre-trainings are copies of runs and left out: counted twice,
    they would make everything look surer than it is.

    Args:
        table: From `ssal3d.reproduce.table.lines`, of the benchmark.
        metric: Which number.
    """
    crossed = [
        line
        for line in table
        if line.row.final != 'longer' and (line.row.sampler != 'Random' or line.row.pretrain == FACTORS['pretrain'])
    ]
    seeds = set.intersection(*(set(line.values.get(metric, {})) for line in crossed)) if crossed else set()
    if len(seeds) < FEWEST or any(len({getattr(line.row, factor) for line in crossed}) < 2 for factor in FACTORS):
        return {}
    cells = [(line, seed) for line in crossed for seed in sorted(seeds)]
    columns = {factor: [getattr(line.row, factor) for line, _ in cells] for factor in FACTORS}
    columns |= {'value': [line.values[metric][seed] for line, seed in cells], 'seed': [seed for _, seed in cells]}
    found = {}
    for against in (FACTORS, FACTORS | {'sampler': 'Entropy'}):
        terms = [f'C({factor}, Treatment("{usual}"))' for factor, usual in against.items()]
        with warnings.catch_warnings():
            warnings.simplefilter(
                'ignore'
            )  # where seeds do not differ, their spread lies on the edge of what is possible
            fitted = mixed_model(columns, 'value ~ ' + ' + '.join(terms))
        for name, (effect, error) in fitted.items():
            level = name.rpartition('[T.')[2].rstrip(']')
            for factor, usual in against.items():
                if name.startswith(f'C({factor}') and level != FACTORS[factor]:
                    found[f'{factor} {level} against {usual}'] = effect, NORMAL * error
    return found


def header() -> list[str]:
    """Return the column titles that go with `body`."""
    return ['question', 'difference (95 % interval)', 'by seed', 'p', 'p (Holm)', 'seeds needed']


def body(found: Sequence[Answer]) -> list[list[str]]:
    """Return a line of text cells for every answer; seeds are named where not all questions have the same."""
    table, is_named = [], len({tuple(answer.differences) for answer in found}) > 1
    for question, differences, comparison in found:
        places = digits(question.metrics[0])
        mean, low, high, _ = comparison.difference
        text = f'{mean:+.{places}f}' + (f' ({low:+.{places}f} to {high:+.{places}f})' if low == low else '')
        table.append(
            [
                question.text,
                text,
                ', '.join(
                    (f'{seed}: ' if is_named else '') + f'{value:+.{places}f}' for seed, value in differences.items()
                ),
                *(f'{value:.2g}' if value == value else '' for value in (comparison.p, comparison.adjusted)),
                f'{comparison.seeds_needed:.0f}' if comparison.seeds_needed == comparison.seeds_needed else '',
            ]
        )
    return table
