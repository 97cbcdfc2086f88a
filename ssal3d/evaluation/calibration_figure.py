"""Pictures of calibration: reliability diagrams, and precision and number of detections (the paper's Fig. 7)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssal3d.evaluation.calibration_report import MEAN
from ssal3d.fileio import atomic_path

_DOTS_PER_INCH = 120


def write_reliability(path: str | Path, methods: Mapping[str, Any]) -> None:
    """Write `reliability_figure` to a PNG file.

    Args:
        path: A PNG file.
        methods: ``methods`` of what `evaluate_calibration` returns.
    """
    _save(path, reliability_figure(methods))


def reliability_figure(methods: Mapping[str, Any]) -> Figure:
    """Draw a reliability diagram for each class (row) and method (column).

    Bars are the precision of the detections in a bin of confidence, lighter where they are few; on the diagonal, a
    score says how often a detection is right.

    Args:
        methods: ``methods`` of what `evaluate_calibration` returns.
    """
    classes = _classes(methods)
    figure = Figure(figsize=(3.2 * len(methods), 2.9 * len(classes)), layout='constrained')
    axes = figure.subplots(len(classes), len(methods), squeeze=False)
    for row, name in enumerate(classes):
        for column, (method, by_class) in enumerate(methods.items()):
            _draw_diagram(axes[row, column], by_class[name])
            error = by_class[name]['d_ece']
            shown = 'no detections' if error is None else f'D-ECE {error:.3f}'
            axes[row, column].set_title(f'{method}: {name}, {shown}', fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel('confidence')
    for axis in axes[:, 0]:
        axis.set_ylabel('precision')
    return figure


def write_fig7(path: str | Path, methods: Mapping[str, Any]) -> None:
    """Write `fig7_figure` to a PNG file.

    Args:
        path: A PNG file.
        methods: ``methods`` of what `evaluate_calibration` returns.
    """
    _save(path, fig7_figure(methods))


def fig7_figure(methods: Mapping[str, Any]) -> Figure:
    """Draw precision and number of detections in the four ranges of confidence, one column for each class.

    Args:
        methods: ``methods`` of what `evaluate_calibration` returns.
    """

    def draw(axis: Axes, name: str, key: str) -> None:
        _draw_bars(axis, {method: by_class[name]['fig7'] for method, by_class in methods.items()}, key)

    return range_figure(_classes(methods), draw)


def range_figure(classes: Sequence[str], draw: Callable[[Axes, str, str], None]) -> Figure:
    """Draw precision above number of detections, one column for each class.

    Args:
        classes: Titles of the columns.
        draw: Draws ``'precision'`` or ``'count'`` of a class.
    """
    figure = Figure(figsize=(3.6 * len(classes), 4.8), layout='constrained')
    axes = figure.subplots(2, len(classes), squeeze=False)
    for column, name in enumerate(classes):
        for row, key in enumerate(('precision', 'count')):
            draw(axes[row, column], name, key)
        axes[0, column].set_title(name, fontsize=10)
        axes[0, column].set_ylim(0, 1)
        axes[1, column].set_xlabel('confidence')
    axes[0, 0].set_ylabel('precision')
    axes[1, 0].set_ylabel('detections')
    axes[0, 0].legend(fontsize=8)
    return figure


def _classes(methods: Mapping[str, Any]) -> list[str]:
    return [name for name in next(iter(methods.values())) if name != MEAN]


def _draw_diagram(axis: Axes, figures: Mapping[str, Any]) -> None:
    bins = [entry for entry in figures['bins'] if entry['count']]
    most = max((entry['count'] for entry in bins), default=1)
    for entry in bins:
        width = entry['high'] - entry['low']
        alpha = 0.25 + 0.75 * entry['count'] / most
        axis.bar(
            entry['low'], entry['precision'], width, align='edge', color='tab:blue', alpha=alpha, edgecolor='white'
        )
        axis.plot(entry['confidence'], entry['precision'], 'o', color='tab:red', markersize=3)
    axis.plot((0, 1), (0, 1), color='black', linewidth=0.8, linestyle='--')
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.tick_params(labelsize=7)


def _draw_bars(axis: Axes, by_method: Mapping[str, Any], key: str) -> None:
    width = 0.8 / len(by_method)
    for number, (method, ranges) in enumerate(by_method.items()):
        heights = [np.nan if entry[key] is None else entry[key] for entry in ranges.values()]
        axis.bar(np.arange(len(heights)) + (number + 0.5) * width - 0.4, heights, width, label=method)
        axis.set_xticks(range(len(heights)), list(ranges), fontsize=8)
    axis.tick_params(axis='y', labelsize=7)


def _save(path: str | Path, figure: Figure) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=_DOTS_PER_INCH, format='png')
