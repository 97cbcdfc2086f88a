"""A table of the paper with our numbers beside the printed ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ssal3d.reproduce.results import Result
from ssal3d.reproduce.rows import Row
from ssal3d.reproduce.statistics import Comparison, Interval, compare, interval

METRICS = ('Car_mod_mAP', 'Ped_mod_mAP', 'Cyc_mod_mAP', 'Avg_mod_mAP')
BOXES = 'boxes'


class Line(NamedTuple):
    """A row of a table with what was measured.

    Attributes:
        row: The row.
        values: By metric, by seed.
        intervals: By metric; without those that nobody measured.
    """

    row: Row
    values: dict[str, dict[int, float]]
    intervals: dict[str, Interval]


def lines(rows: Sequence[Row], results: Sequence[Result], dataset: str, metrics: Sequence[str] = METRICS) -> list[Line]:
    """Put results beside the rows that they belong to.

    Args:
        rows: Rows of a table.
        results: All results.
        dataset: ``'sim'`` or ``'kitti'``.
        metrics: Which numbers.
    """
    table = []
    for row in rows:
        values: dict[str, dict[int, float]] = {metric: {} for metric in (*metrics, BOXES)}
        for result in results:
            if (result.dataset, result.experiment) == (dataset, row.experiment) and result.metric in values:
                values[result.metric][result.seed] = result.value
        found = {metric: interval(list(seeds.values())) for metric, seeds in values.items() if seeds}
        table.append(Line(row, values, found))
    return table


def cell(value: Interval | None) -> str:
    """Return a mean with half its 95 % interval.

    >>> cell(Interval(51.26, 49.0, 53.5, 5)), cell(Interval(51.26, float('nan'), float('nan'), 1)), cell(None)
    ('51.3 ± 2.2', '51.3', '')
    """
    if value is None:
        return ''
    half = (value.high - value.low) / 2
    return f'{value.mean:.1f} ± {half:.1f}' if half == half else f'{value.mean:.1f}'


def printed(row: Row, metrics: Sequence[str] = METRICS) -> list[str]:
    """Return the paper's numbers of a row, '' where it has none."""
    return [f'{row.paper[metric]:.1f}' if metric in row.paper else '' for metric in metrics]


def header(metrics: Sequence[str] = METRICS) -> list[str]:
    """Return the column titles that go with `body`."""
    names = [metric.split('_')[0] for metric in metrics]
    return ['', 'row', 'boxes', *names, 'seeds', *(f'{name} (paper)' for name in names)]


def body(table: Sequence[Line], metrics: Sequence[str] = METRICS) -> list[list[str]]:
    """Return a line of text cells for every row.

    Args:
        table: From `lines`.
        metrics: Which numbers.
    """
    return [
        [
            str(line.row.number),
            line.row.label,
            f'{line.intervals[BOXES].mean:.0f}' if BOXES in line.intervals else '',
            *(cell(line.intervals.get(metric)) for metric in metrics),
            ', '.join(map(str, sorted(line.values[metrics[-1]]))),
            *printed(line.row, metrics),
        ]
        for line in table
    ]


def markdown(table: Sequence[Line], metrics: Sequence[str] = METRICS) -> str:
    """Return the table in Markdown.

    Args:
        table: From `lines`.
        metrics: Which numbers.
    """
    rows = [header(metrics), ['---'] * len(header(metrics)), *body(table, metrics)]
    return ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def against(table: Sequence[Line], first: str, second: str, metric: str = METRICS[-1]) -> Comparison | None:
    """Compare two experiments over the seeds that both have; None without a common seed.

    Args:
        table: From `lines`.
        first: Name of an experiment.
        second: Name of another one.
        metric: Which number.
    """
    values = {line.row.experiment: line.values[metric] for line in table}
    common = sorted(set(values.get(first, {})) & set(values.get(second, {})))
    if not common:
        return None
    pair = ([values[first][seed] for seed in common], [values[second][seed] for seed in common])
    return compare([pair])[0]


def draw(table: Sequence[Line], path: Path, metric: str = METRICS[-1]) -> None:
    """Draw every seed of every row as a dot, the mean with its interval, and the paper's number.

    Args:
        table: From `lines`.
        path: Image to write.
        metric: Which number.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    shown = [line for line in table if line.values[metric]]
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.35 * max(1, len(shown))), layout='constrained')
    for place, line in enumerate(shown):
        values = list(line.values[metric].values())
        mean = line.intervals[metric]
        axes.plot(values, [place] * len(values), 'o', color='tab:blue', alpha=0.5, label='' if place else 'a seed')
        if mean.low == mean.low:
            axes.plot([mean.low, mean.high], [place, place], '-', color='tab:blue')
        axes.plot(mean.mean, place, '|', color='tab:blue', markersize=14, label='' if place else 'mean, 95 %')
    axes.set_yticks(range(len(shown)), [line.row.label for line in shown])
    axes.invert_yaxis()
    axes.set_xlabel(f'{metric.replace("_", " ")} (%)')
    axes.grid(axis='x', alpha=0.3)
    if shown:
        axes.legend(loc='best', fontsize='small')
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
