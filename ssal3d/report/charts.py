"""Charts of a page as SVG: curves, bars, distributions, reliability. The same numbers give the same bytes."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ('#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#17becf', '#8c564b', '#e377c2')
MANY_BARS = 4  # rows of bars from which on their numbers have no room
FEW_NAMES = 3  # that a legend holds without covering the curves
NAME_COLUMNS = 2  # of a legend below the axes
WIDTH = 4.8  # inches; a phone shows them about as large as they are
SETTINGS: Any = {
    'svg.hashsalt': 'ssal3d',
    'svg.fonttype': 'none',  # text stays text: small, sharp, can be searched
    'text.parse_math': False,  # a class may be called '$x$'
    'font.size': 8,
    'axes.spines.top': False,
    'axes.spines.right': False,
}


class Curve:
    """A line over boxes with the band of several runs.

    Args:
        name: What it is called.
        runs: For each run ``(boxes, AP)`` of its points in order; points of the same place in the runs belong together.
        dashed: Whether the line is dashed.
        colour: Its colour.
    """

    def __init__(
        self, name: str, runs: Sequence[Sequence[tuple[float, float]]], colour: str, dashed: bool = False
    ) -> None:
        self.name, self.colour, self.dashed = name, colour, dashed
        length = min(len(points) for points in runs)
        values = np.array([points[:length] for points in runs], dtype=np.float64).reshape(len(runs), length, 2)
        self.boxes: list[float] = values[:, :, 0].mean(0).tolist()
        self.mean: list[float] = values[:, :, 1].mean(0).tolist()
        self.low: list[float] = values[:, :, 1].min(0).tolist()
        self.high: list[float] = values[:, :, 1].max(0).tolist()


def learning_curve(curves: Sequence[Curve], unit: str) -> bytes:
    """Draw AP over annotated boxes.

    Args:
        curves: One for each line, with its runs.
        unit: Label of the vertical axis.
    """

    def draw(axes: Axes) -> None:
        for curve in curves:
            style = '--' if curve.dashed else '-'
            axes.plot(curve.boxes, curve.mean, style, marker='o', markersize=4, color=curve.colour, label=curve.name)
            if curve.low != curve.high:
                axes.fill_between(curve.boxes, curve.low, curve.high, color=curve.colour, alpha=0.15, linewidth=0)
        axes.set(xlabel='annotated boxes', ylabel=unit)
        axes.grid(alpha=0.3)

    return _chart(draw, 3.0)


def grouped_bars(rows: Mapping[str, Mapping[str, float]], unit: str) -> bytes:
    """Draw bars by group, one colour for each row.

    Args:
        rows: Values by group, by row.
        unit: Label of the axis.
    """
    groups = list(dict.fromkeys(name for values in rows.values() for name in values))

    def draw(axes: Axes) -> None:
        width = 0.8 / max(len(rows), 1)
        for number, (row, values) in enumerate(rows.items()):
            places = np.arange(len(groups)) + (number - (len(rows) - 1) / 2) * width
            shown = [place for place, name in enumerate(groups) if name in values]  # what was not measured is not 0
            heights = [values[groups[place]] for place in shown]
            bars = axes.bar(places[shown], heights, width, label=row, color=COLOURS[number % len(COLOURS)])
            if len(rows) <= MANY_BARS:
                axes.bar_label(bars, fmt='%.0f', fontsize=6)
        axes.set_xticks(range(len(groups)), groups)
        axes.set_ylabel(unit)

    return _chart(draw, 2.7)


def histogram(pool: Sequence[float], chosen: Sequence[float], label: str) -> bytes:
    """Draw how a value is distributed in the pool and in the chosen frames.

    Args:
        pool: Values of all frames.
        chosen: Values of the chosen ones.
        label: What the value is.
    """

    def draw(axes: Axes) -> None:
        edges = np.histogram_bin_edges([*pool, *chosen], bins=24).tolist()
        for values, name, colour in ((pool, 'pool', '#aaaaaa'), (chosen, 'chosen', COLOURS[0])):
            weights = np.full(len(values), 100 / max(len(values), 1)).tolist()
            axes.hist(values, edges, weights=weights, color=colour, alpha=0.6, label=f'{name} ({len(values)} frames)')
        axes.set(xlabel=label, ylabel='share of frames, %')

    return _chart(draw, 2.2)


def as_svg(draw: Callable[[], Figure]) -> bytes:
    """Return a figure as SVG.

    Args:
        draw: Makes the figure.
    """
    with rc_context(SETTINGS):
        buffer = io.BytesIO()
        draw().savefig(buffer, format='svg', metadata={'Date': None, 'Creator': None})
        return buffer.getvalue()


def _chart(draw: Callable[[Axes], None], height: float) -> bytes:
    def make() -> Figure:
        figure = Figure(figsize=(WIDTH, height), layout='constrained')
        axes = figure.subplots()
        draw(axes)
        _legend(axes)
        return figure

    return as_svg(make)


def _legend(axes: Axes) -> None:
    """Explain the colours: within the axes, or below where many names would cover what is drawn."""
    handles, names = axes.get_legend_handles_labels()
    # Given by hand: Matplotlib leaves out names that begin with an underscore.
    names = [f'\u200b{name}' if name.startswith('_') else name for name in names]
    if len(names) > FEW_NAMES:
        figure = axes.get_figure(root=True)
        assert isinstance(figure, Figure)
        figure.set_figheight(figure.get_figheight() + 0.15 * -(-len(names) // NAME_COLUMNS))
        figure.legend(handles, names, fontsize=6, loc='outside lower center', ncols=NAME_COLUMNS, frameon=False)
    elif handles:
        axes.legend(handles, names, fontsize=6)
