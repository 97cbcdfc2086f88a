"""A picture of a frame of a drive, from above."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ssal3d.ops.box_geometry import bev_corners
from ssal3d.simulation.drive_frame import DriveFrame
from ssal3d.simulation.picture import save_figure

_COLOURS = {1: 'tab:blue', 2: 'tab:red', 4: 'tab:green'}  # vehicle, pedestrian, cyclist
_REACH = 55.0  # m


def write_drive_picture(path: str | Path, made: DriveFrame, title: str) -> None:
    """Draw points and labels from above to an image file; its suffix tells the format."""
    figure = Figure(figsize=(8, 8), layout='constrained')
    axes = figure.subplots()
    x, y, z = made.points[:, :3].T
    axes.scatter(x, y, s=0.2, c=np.clip(z, 0, 3), cmap='viridis', linewidths=0, rasterized=True)
    labels = made.frame.labels
    assert labels is not None
    for corners, kind, yaw, centre in zip(bev_corners(labels.boxes), labels.types, labels.boxes[:, 6], labels.boxes):
        axes.plot(*np.vstack((corners, corners[:1])).T, color=_COLOURS[int(kind)], linewidth=1)
        front = centre[:2] + np.array([np.cos(yaw), np.sin(yaw)]) * centre[3] / 2
        axes.plot(*np.stack((centre[:2], front)).T, color=_COLOURS[int(kind)], linewidth=1)
    axes.set(xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH), aspect='equal', xlabel='x [m]', ylabel='y [m]')
    figure.suptitle(title, fontsize=10)
    save_figure(path, figure)
