"""A table of the paper with our numbers beside the printed ones."""

from collections.abc import Sequence
from typing import NamedTuple

from ssal3d.reproduce.data_sets import KITTI_METRICS as METRICS
from ssal3d.reproduce.results import Result
from ssal3d.reproduce.rows import Row
from ssal3d.reproduce.statistics import Interval, interval

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
            if (result.dataset, result.experiment) == (dataset, row.experiment):
                values.setdefault(result.metric, {})
                values[result.metric][result.seed] = result.value
        found = {metric: interval(list(seeds.values())) for metric, seeds in values.items() if seeds}
        table.append(Line(row, values, found))
    return table


def cell(value: Interval | None, digits: int = 1) -> str:
    """Return a mean with half its 95 % interval.

    >>> cell(Interval(51.26, 49.0, 53.5, 5)), cell(Interval(51.26, float('nan'), float('nan'), 1)), cell(None)
    ('51.3 ± 2.2', '51.3', '')
    """
    if value is None:
        return ''
    half = (value.high - value.low) / 2
    return f'{value.mean:.{digits}f} ± {half:.{digits}f}' if half == half else f'{value.mean:.{digits}f}'


def digits(metric: str) -> int:
    """Return the decimals that a number is shown with: AP is in %, D-ECE a share."""
    return 3 if metric.endswith('D-ECE') else 1


def short(metric: str) -> str:
    """Return a column title.

    >>> [short(name) for name in ('Car_mod_mAP', 'Veh_L1_mAP', 'Avg_L2_mAPH', 'Ped_D-ECE', 'Avg_L1_mAP_round_2')]
    ['Car', 'Veh L1', 'Avg L2 H', 'Ped', 'round 2']
    """
    parts = metric.split('_')
    if 'round' in parts:
        return ' '.join(parts[-2:])
    level = [part for part in parts[1:-1] if part != 'mod']
    return ' '.join((parts[0], *level, *(['H'] if metric.endswith('APH') else [])))


def asked_about(metrics: Sequence[str]) -> str:
    """Return the number that a table is asked about, and that its figure shows.

    It is the mean over classes in bird's-eye view where that is shown, as the pilot decided; else the first mean.

    >>> asked_about(('Car_mod_mAP', 'Avg_mod_mAP', 'Avg_mod_BEV_mAP')), asked_about(('Avg_L1_mAP', 'Avg_L2_mAP'))
    ('Avg_mod_BEV_mAP', 'Avg_L1_mAP')
    """
    means = [metric for metric in metrics if metric.startswith('Avg')]
    return next((metric for metric in means if 'BEV' in metric), means[0])


def printed(row: Row, metrics: Sequence[str] = METRICS) -> list[str]:
    """Return the paper's numbers of a row, '' where it has none."""
    return [f'{row.paper[metric]:.{min(digits(metric), 2)}f}' if metric in row.paper else '' for metric in metrics]


def _in_paper(table: Sequence[Line], metrics: Sequence[str]) -> list[str]:
    """Return the metrics that the paper prints for a row of the table."""
    return [metric for metric in metrics if any(metric in line.row.paper for line in table)]


def header(table: Sequence[Line], metrics: Sequence[str] = METRICS) -> list[str]:
    """Return the column titles that go with `body`."""
    names = [short(metric) for metric in metrics]
    return ['', 'row', 'boxes', *names, 'seeds', *(f'{short(metric)} (paper)' for metric in _in_paper(table, metrics))]


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
            *(cell(line.intervals.get(metric), digits(metric)) for metric in metrics),
            ', '.join(map(str, sorted({seed for metric in metrics for seed in line.values[metric]}))),
            *printed(line.row, _in_paper(table, metrics)),
        ]
        for line in table
    ]


def markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return text cells as a table in Markdown.

    >>> print(markdown(['row', 'AP'], [['CAL', '60.1']]), end='')
    | row | AP |
    | --- | --- |
    | CAL | 60.1 |
    """
    return ''.join(f'| {" | ".join(row)} |\n' for row in (header, ['---'] * len(header), *body))
