"""A picture of a frame: from above, and as the camera sees the points, with the labels."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssal3d.data.kitti_objects import KittiObjects
from ssal3d.errors import UserError
from ssal3d.fileio import atomic_path
from ssal3d.simulation.camera import IMAGE_SIZE, ROTATION, TRANSLATION, project, to_camera
from ssal3d.simulation.frame import Frame
from ssal3d.simulation.labels import DONT_CARE

Array = NDArray[np.floating]

COLOURS = {'Car': 'tab:blue', 'Pedestrian': 'tab:red', 'Cyclist': 'tab:green', 'Van': 'tab:cyan', 'Truck': 'tab:purple'}
_OTHER = 'tab:gray'
_AHEAD, _ASIDE = 70.0, 20.0  # m shown from above
_SKY = 100.0  # pixel rows at the top that no beam reaches
# Corners of a box as signs of length, height (0 bottom, 1 top) and width.
_CORNERS = np.array([(a, h, w) for h in (0, 1) for a, w in ((1, 1), (1, -1), (-1, -1), (-1, 1))], dtype=float)
_EDGES = [(i + h, (i + 1) % 4 + h) for h in (0, 4) for i in range(4)] + [(i, i + 4) for i in range(4)]


def write_picture(path: str | Path, frame: Frame, title: str) -> None:
    """Draw a frame to an image file; its suffix tells the format."""
    figure = Figure(figsize=(9, 6.6), layout='constrained')
    above, camera = figure.subplots(2, 1, height_ratios=(1.0, 0.42))
    points = frame.scan.points
    _draw_above(above, points, frame.objects)
    _draw_camera(camera, points, frame.objects)
    figure.suptitle(title, fontsize=10)
    save_figure(path, figure)


def save_figure(path: str | Path, figure: Figure) -> None:
    """Write a figure atomically; its suffix tells the format.

    Raises:
        UserError: If the suffix is no format for pictures, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lstrip('.') or 'png'
    if suffix not in figure.canvas.get_supported_filetypes():
        raise UserError(f'{path}: cannot draw .{suffix} files; use .png, .svg or .pdf')
    metadata = {'Software': None} if suffix == 'png' else None
    try:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=90, metadata=metadata)
    except OSError as error:
        raise UserError(f'{path}: cannot write here ({error.strerror}); choose another folder') from None


def box_corners(objects: KittiObjects) -> Array:
    """Return ``(N, 8, 3)`` corners in the rectified camera frame: bottom four, then top four."""
    height, width, length = objects.dimensions.T
    along = _CORNERS[:, 0] * length[:, None] / 2
    aside = _CORNERS[:, 2] * width[:, None] / 2
    cosine, sine = np.cos(objects.rotation_y)[:, None], np.sin(objects.rotation_y)[:, None]
    x, z = cosine * along + sine * aside, -sine * along + cosine * aside
    y = -_CORNERS[:, 1] * height[:, None]
    return np.stack((x, y, z), axis=-1) + objects.location[:, None]


def _draw_above(axes: Axes, points: Array, objects: KittiObjects) -> None:
    axes.scatter(points[:, 0], points[:, 1], c=points[:, 2], s=0.25, cmap='viridis', vmin=-2, vmax=2, linewidths=0)
    real = objects[objects.names != DONT_CARE]
    for name, corners in zip(real.names, (box_corners(real) - TRANSLATION) @ ROTATION):
        ring = corners[[0, 1, 2, 3, 0], :2]
        front = corners[:2, :2].mean(axis=0)
        axes.plot(*ring.T, color=COLOURS.get(name, _OTHER), linewidth=1.2)
        axes.plot(*np.stack((corners[:4, :2].mean(axis=0), front)).T, color=COLOURS.get(name, _OTHER), linewidth=1.2)
    axes.set(xlim=(0, _AHEAD), ylim=(-_ASIDE, _ASIDE), aspect='equal', xlabel='x [m]', ylabel='y [m]')
    for name in dict.fromkeys(real.names.tolist()):
        axes.plot([], [], color=COLOURS.get(name, _OTHER), label=name)
    if len(real):
        axes.legend(loc='upper left', fontsize=8)


def _draw_camera(axes: Axes, points: Array, objects: KittiObjects) -> None:
    ahead = to_camera(points[:, :3].astype(np.float64))
    ahead = ahead[ahead[:, 2] > 1]
    pixels = project(ahead)
    axes.scatter(*pixels.T, c=ahead[:, 2], s=1.2, cmap='turbo_r', vmin=0, vmax=60, linewidths=0)
    real = objects[objects.names != DONT_CARE]
    for name, corners in zip(real.names, box_corners(real)):
        if (corners[:, 2] > 0.5).all():
            drawn = project(corners)
            for edge in _EDGES:
                axes.plot(*drawn[list(edge)].T, color=COLOURS.get(name, _OTHER), linewidth=0.9)
    for x1, y1, x2, y2 in objects[objects.names == DONT_CARE].bbox:
        axes.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color='black', linestyle=':', linewidth=1)
    axes.set(
        xlim=(0, IMAGE_SIZE[0]), ylim=(IMAGE_SIZE[1], _SKY), aspect='equal', xlabel='u [pixel]', ylabel='v [pixel]'
    )
