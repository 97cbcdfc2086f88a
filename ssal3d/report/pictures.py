"""Pictures for a page: bird's-eye views, bars and curves, as PNG."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS = ('#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#17becf', '#8c564b', '#e377c2')
TRUE, QUERY, REFERENCE = '#2ca02c', '#1f77b4', '#ff7f0e'
MARK = '#d62728'  # around what is to be looked at
MOST_POINTS = 12_000


def as_png(figure: Figure, dpi: int = 80) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=dpi, metadata={'Software': None})
    return buffer.getvalue()


def birds_eye_view(
    points: NDArray[np.floating],
    boxes: Mapping[str, tuple[NDArray[np.floating], str]],
    title: str = '',
) -> bytes:
    """Draw a frame from above, x (ahead) to the right.

    Args:
        points: ``(N, >=3)`` scan, m.
        boxes: ``(K, 7)`` gravity-centred boxes with their colour, by what they are.
        title: Above the picture.
    """
    figure = Figure(figsize=(6, 4.2), layout='constrained')
    axes = figure.subplots()
    shown = points[:: max(1, -(-len(points) // MOST_POINTS))]
    height = np.clip(shown[:, 2], -2.5, 1.0)
    axes.scatter(shown[:, 0], shown[:, 1], c=height, s=0.4, cmap='Greys', vmin=-4, vmax=1, linewidths=0)
    for name, (some, colour) in boxes.items():
        _draw_boxes(axes, some, colour, f'{name} ({len(some)})')
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    axes.set(xlim=(max(low[0], -75), min(high[0], 75)), ylim=(max(low[1], -40), min(high[1], 40)), aspect='equal')
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    if boxes:
        axes.legend(fontsize=7, loc='upper right')
    return as_png(figure)


def close_up(
    points: NDArray[np.floating],
    boxes: Mapping[str, tuple[NDArray[np.floating], str]],
    box: Sequence[float],
    title: str = '',
) -> bytes:
    """Draw what surrounds a box from above, with a circle around it; its longer side fills a quarter of the picture.

    Args:
        points: ``(N, >=3)`` scan, m.
        boxes: As for `birds_eye_view`.
        box: (x, y, z, dx, dy, dz, yaw) to look at.
        title: Above the picture.
    """
    figure = Figure(figsize=(4.5, 4.5), layout='constrained')
    axes = figure.subplots()
    reach = min(max(2 * max(box[3:5]), 5.0), 40.0)
    low, high = np.subtract(box[:2], reach), np.add(box[:2], reach)
    near = points[((points[:, :2] >= low) & (points[:, :2] <= high)).all(axis=1)]
    axes.scatter(
        near[:, 0], near[:, 1], c=np.clip(near[:, 2], -2.5, 1.0), s=2, cmap='Greys', vmin=-4, vmax=1, linewidths=0
    )
    for name, (some, colour) in boxes.items():
        _draw_boxes(axes, some, colour, name)
    turn = np.linspace(0, 2 * np.pi, 60)
    radius = max(np.hypot(box[3], box[4]) / 2 * 1.3, 0.8)
    axes.plot(box[0] + radius * np.cos(turn), box[1] + radius * np.sin(turn), color=MARK, linewidth=1.2)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect='equal')
    axes.set_title(title, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, loc='upper right')
    return as_png(figure)


def _draw_boxes(axes: Axes, boxes: NDArray[np.floating], colour: str, label: str) -> None:
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1), (1, 1)]) / 2
    for number, (x, y, _, length, width, _, yaw) in enumerate(boxes):
        turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
        corners = signs * (length, width) @ turn + (x, y)
        axes.plot(*corners.T, color=colour, linewidth=1.3, label=label if number == 0 else None)
        nose = np.array([(length / 2, 0)]) @ turn + (x, y)
        axes.plot(*np.concatenate((nose, [(x, y)])).T, color=colour, linewidth=0.8)
    if not len(boxes):
        axes.plot([], [], color=colour, label=label)


def grouped_bars(rows: Mapping[str, Mapping[str, float]], unit: str) -> bytes:
    """Draw bars by group, one colour for each row.

    Args:
        rows: Values by group, by row.
        unit: Label of the axis.
    """
    groups = list(dict.fromkeys(name for values in rows.values() for name in values))
    figure = Figure(figsize=(7, 3), layout='constrained')
    axes = figure.subplots()
    width = 0.8 / max(len(rows), 1)
    for number, (row, values) in enumerate(rows.items()):
        places = np.arange(len(groups)) + (number - (len(rows) - 1) / 2) * width
        bars = axes.bar(places, [values.get(name, 0) for name in groups], width, label=row, color=COLOURS[number % 8])
        axes.bar_label(bars, fmt='%.0f', fontsize=6)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(unit)
    axes.legend(fontsize=7)
    return as_png(figure)


def histogram(pool: Sequence[float], chosen: Sequence[float], label: str) -> bytes:
    """Draw how a value is distributed in the pool and in the chosen frames.

    Args:
        pool: Values of all frames.
        chosen: Values of the chosen ones.
        label: What the value is.
    """
    figure = Figure(figsize=(6, 2.6), layout='constrained')
    axes = figure.subplots()
    edges = np.histogram_bin_edges([*pool, *chosen], bins=24).tolist()
    axes.hist(pool, edges, color='#bbbbbb', label='pool', density=True)
    axes.hist(chosen, edges, color=QUERY, alpha=0.6, label='chosen', density=True)
    axes.set(xlabel=label, ylabel='share')
    axes.legend(fontsize=7)
    return as_png(figure)
