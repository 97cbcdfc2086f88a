"""Pictures of tables: every seed a dot, learning curves over rounds (Fig. 6), precision by confidence (Fig. 7)."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssal3d.errors import UserError
from ssal3d.evaluation.calibration import FIG7_EDGES
from ssal3d.evaluation.calibration_figure import range_figure
from ssal3d.fileio import atomic_path
from ssal3d.reproduce.rows import FIG_6, FIG_7
from ssal3d.reproduce.table import Line, asked_about, digits, short

CLASSES = {'Veh': 'Vehicle', 'Ped': 'Pedestrian', 'Cyc': 'Cyclist'}
_RANGES = tuple(f'{low:.1f}-{high:.1f}' for low, high in pairwise(FIG7_EDGES))


def draw(table: Sequence[Line], path: Path, metrics: Sequence[str]) -> None:
    """Draw a table as its kind wants it.

    Args:
        table: From `ssal3d.reproduce.table.lines`.
        path: Image to write; its suffix tells the format.
        metrics: The numbers that the table shows; of a plain table the one is drawn that `asked_about` names.

    Raises:
        UserError: If nothing is measured yet.
    """
    name = table[0].row.table
    shown = [line for line in table if any(line.values[metric] for metric in metrics)]
    if not shown:
        raise UserError(f'--figure: no row of {name} is measured yet; `ssal3d reproduce run {name}` measures them')
    if name == FIG_6:
        figure = draw_curves(shown, metrics)
    elif name == FIG_7:
        figure = draw_ranges(shown)
    else:
        metric = asked_about(metrics)
        figure = draw_dots([line for line in shown if line.values[metric]], metric)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip('.') or 'png', dpi=120)


def draw_dots(shown: Sequence[Line], metric: str) -> Figure:
    """Draw every seed of every row as a dot, and the mean with its interval.

    Args:
        shown: Rows for which it is measured.
        metric: Which number.
    """
    figure = Figure(figsize=(7, 1.1 + 0.35 * max(1, len(shown))), layout='constrained')
    axes = figure.subplots()
    for place, line in enumerate(shown):
        mean = line.intervals[metric]
        if mean.low == mean.low:
            axes.plot([mean.low, mean.high], [place, place], '-', color='tab:grey', alpha=0.5)
        axes.plot(mean.mean, place, '|', color='black', markersize=14, label='' if place else 'mean, 95 %')
    for number, seed in enumerate(sorted({seed for line in shown for seed in line.values[metric]})):
        measured = [
            (line.values[metric][seed], place) for place, line in enumerate(shown) if seed in line.values[metric]
        ]
        axes.plot(*zip(*measured), 'o', color=f'C{number}', alpha=0.8, markersize=5, label=f'seed {seed}')
    axes.set_yticks(range(len(shown)), [line.row.label for line in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(f'{short(metric)}{"" if digits(metric) > 1 else " (%)"}')
    axes.grid(axis='x', alpha=0.3)
    figure.legend(loc='outside upper right', ncols=6, fontsize='small', frameon=False)
    return figure


def draw_curves(shown: Sequence[Line], metrics: Sequence[str]) -> Figure:
    """Draw the mean over seeds against the mean number of labelled boxes, one curve for each row, thin ones for seeds.

    Args:
        shown: Rows with a value after every round.
        metrics: ``<metric>_round_1``, ``<metric>_round_2``, ...
    """
    figure = Figure(figsize=(6.5, 4.5), layout='constrained')
    axes = figure.subplots()
    for number, line in enumerate(shown):
        measured = [metric for metric in metrics if line.values[metric]]
        boxes = [f'boxes_round_{metric.rpartition("_")[2]}' for metric in measured]
        colour = f'C{number}'
        for seed in sorted(line.values[measured[0]]):
            points = [
                (line.values[size][seed], line.values[metric][seed])
                for size, metric in zip(boxes, measured)
                if seed in line.values[metric]
            ]
            axes.plot(*np.array(points).T, '-', color=colour, alpha=0.25, linewidth=0.8)
        means = [(line.intervals[size].mean, line.intervals[metric].mean) for size, metric in zip(boxes, measured)]
        axes.plot(*np.array(means).T, 'o-', color=colour, label=f'{line.row.pretrain} + {line.row.sampler}')
    axes.set(xlabel='labelled boxes', ylabel=f'{metrics[0].partition("_round")[0].replace("_", " ")} (%)')
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small')
    return figure


def draw_ranges(shown: Sequence[Line]) -> Figure:
    """Draw precision and number of detections in the four ranges of confidence: means over seeds, seeds as dots.

    Args:
        shown: Rows with a calibration.
    """
    keys = {name: key for key, name in CLASSES.items()}
    return range_figure(list(keys), lambda axis, name, kind: _draw_bars(axis, shown, keys[name], kind))


def _draw_bars(axis: Axes, shown: Sequence[Line], key: str, kind: str) -> None:
    width = 0.8 / len(shown)
    for number, line in enumerate(shown):
        metrics = [f'{key}_{range_}_{kind}' for range_ in _RANGES]
        places = np.arange(len(metrics)) + (number + 0.5) * width - 0.4
        heights = [line.intervals[metric].mean if metric in line.intervals else np.nan for metric in metrics]
        axis.bar(places, heights, width, label=line.row.pretrain)
        for place, metric in zip(places, metrics):
            seeds = list(line.values.get(metric, {}).values())
            axis.plot([place] * len(seeds), seeds, '.', color='black', markersize=2)
    axis.set_xticks(range(len(_RANGES)), _RANGES, fontsize=8)
    axis.tick_params(axis='y', labelsize=7)
