"""The realism report as a figure: every quantity's two distributions over each other."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ssal3d.simulation.picture import save_figure
from ssal3d.simulation.realism import Quantity

_COLUMNS = 6


def write_report(path: str | Path, quantities: list[Quantity]) -> None:
    """Draw all quantities, worst first, to an image file."""
    rows = -(-len(quantities) // _COLUMNS)
    figure = Figure(figsize=(2.5 * _COLUMNS, 1.75 * rows), layout='constrained')
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis, quantity in zip(axes, quantities):
        for values, colour, kind in ((quantity.real, 'black', 'real'), (quantity.simulated, 'tab:orange', 'simulated')):
            inside = np.clip(values, quantity.bins[0], quantity.bins[-1])
            weights = np.full(len(values), 1 / max(len(values), 1))
            axis.hist(inside, quantity.bins, weights=weights, histtype='step', color=colour, label=kind)
        axis.set_title(f'{quantity.name}: {quantity.distance:.2f}', fontsize=7.5)
        axis.tick_params(labelsize=6)
        axis.set_yticks([])
    for axis in axes[len(quantities) :]:
        axis.axis('off')
    axes[0].legend(fontsize=6)
    save_figure(path, figure)
