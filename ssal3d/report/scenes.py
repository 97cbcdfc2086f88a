"""Pictures of frames without a display: from above, and the camera's view."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Circle, Rectangle
from numpy.typing import NDArray

from ssal3d.active.query.dontcare import NEAREST
from ssal3d.ops.box_geometry import bev_corners, corners_3d
from ssal3d.report.charts import SETTINGS

TRUE, QUERY, REFERENCE, DOUBT, DONT_CARE = '#1a9850', '#2166ac', '#f28e2b', '#d6278f', '#8c6bb1'
MOST_POINTS = 14_000
FARTHEST = (75.0, 40.0)  # m that are drawn ahead and to the sides
SMALL = 3.0  # inches below which a picture is a thumbnail
DPI = 130
MARGIN = 1.0  # m between a box and the mark around it
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))


@dataclass(frozen=True)
class Layer:
    """Boxes of one kind.

    Attributes:
        name: What they are, e.g. ``'true'``.
        boxes: ``(K, 7)`` gravity-centred boxes, m and rad.
        colour: ``#rrggbb``.
        style: Matplotlib's line style.
        width: Line width in points.
        names: Class names to be written beside the boxes; none are written by default.
    """

    name: str
    boxes: NDArray[np.floating]
    colour: str
    style: str = '-'
    width: float = 1.1
    names: Sequence[str] = ()


@dataclass(frozen=True)
class View:
    """What is drawn of a frame.

    Attributes:
        points: ``(N, >=3)`` scan, m.
        layers: Boxes, the last ones on top.
        doubtful: ``(K, 7)`` boxes that get a mark.
        regions: ``(R, 4)`` DontCare rectangles in the image, pixels.
        camera: ``(4, 4)`` projection to the image; needed for regions and camera pictures.
    """

    points: NDArray[np.floating]
    layers: Sequence[Layer] = ()
    doubtful: NDArray[np.floating] = field(default_factory=lambda: np.zeros((0, 7)))
    regions: NDArray[np.floating] = field(default_factory=lambda: np.zeros((0, 4)))
    camera: NDArray[np.floating] | None = None

    @property
    def colours(self) -> dict[str, str]:
        """Colours by what they mean, for a legend."""
        found = {f'{layer.name} ({len(layer.boxes)})': layer.colour for layer in self.layers}
        found |= {f'doubtful ({len(self.doubtful)})': DOUBT} if len(self.doubtful) else {}
        return found | ({f'DontCare ({len(self.regions)})': DONT_CARE} if len(self.regions) else {})


def from_above(view: View, title: str = '', width: float = 4.2, form: str = 'webp', legend: bool = False) -> bytes:
    """Draw a frame from above, x (ahead) to the right.

    Args:
        view: What to draw.
        title: Above the picture.
        width: In inches; a picture below 3 is a thumbnail: without axes, and as high for every frame.
        form: ``'webp'`` or ``'png'``.
        legend: Whether the picture explains its colours.
    """
    small, (low, high) = width < SMALL, _extent(view)
    ratio = 0.75 if small else float(np.clip((high[1] - low[1]) / (high[0] - low[0]), 0.35, 1.2))
    with rc_context(SETTINGS):
        figure = Figure(figsize=(width, width * ratio + (0.2 if title else 0)), layout='constrained')
        axes = figure.subplots()
        step = max(1, -(-len(view.points) // (MOST_POINTS // (3 if small else 1))))
        shown = view.points[::step]
        shade = np.clip(shown[:, 2], -2.5, 1.0)
        axes.scatter(shown[:, 0], shown[:, 1], c=shade, s=0.9, cmap='Greys', vmin=-5.5, vmax=1, linewidths=0)
        for layer in view.layers:
            _draw_layer(axes, layer, small)
        _draw_marks(axes, view.doubtful)
        for region in view.regions:
            _draw_region(axes, region, view.camera, high)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect='equal')
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=7)
        if small:
            axes.set_axis_off()
        if legend:
            _explain(axes, view)
        return _bytes(figure, DPI, form)


def from_camera(view: View, image: Path, title: str = '', form: str = 'webp', legend: bool = False) -> bytes:
    """Draw the camera's image with the boxes in it.

    Args:
        view: What to draw; with a camera.
        image: The image file.
        title: Above the picture.
        form: ``'webp'`` or ``'png'``.
        legend: Whether the picture explains its colours.
    """
    pixels = imread(image)
    height, width = pixels.shape[:2]
    with rc_context(SETTINGS):
        figure = Figure(figsize=(6.4, 6.4 * height / width + (0.25 if title else 0)), layout='constrained')
        axes = figure.subplots()
        axes.imshow(pixels)
        for layer in view.layers if view.camera is not None else ():
            lines = _projected_edges(layer.boxes, view.camera)
            axes.add_collection(
                LineCollection(lines, colors=layer.colour, linewidths=layer.width, linestyles=layer.style)
            )
        for x1, y1, x2, y2 in view.regions:
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=DONT_CARE, linestyle='--'))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        axes.set_title(title, fontsize=8)
        if legend:
            _explain(axes, view)
        return _bytes(figure, DPI, form)


def close_up(view: View, box: Sequence[float], title: str = '') -> bytes:
    """Draw what surrounds a box from above as PNG, with a circle around it; the box fills a quarter of the picture.

    Args:
        view: Points and boxes.
        box: (x, y, z, dx, dy, dz, yaw) to look at.
        title: Above the picture.
    """
    reach = min(max(2 * max(box[3:5]), 5.0), 40.0)
    low, high = np.subtract(box[:2], reach), np.add(box[:2], reach)
    near = view.points[((view.points[:, :2] >= low) & (view.points[:, :2] <= high)).all(axis=1)]
    with rc_context(SETTINGS):
        figure = Figure(figsize=(4.5, 4.5), layout='constrained')
        axes = figure.subplots()
        shade = np.clip(near[:, 2], -2.5, 1.0)
        axes.scatter(near[:, 0], near[:, 1], c=shade, s=2, cmap='Greys', vmin=-4, vmax=1, linewidths=0)
        for layer in view.layers:
            _draw_layer(axes, layer, small=False)
        radius = max(float(np.hypot(box[3], box[4])) / 2 * 1.3, 0.8)
        axes.add_patch(Circle((box[0], box[1]), radius, fill=False, color=DOUBT, linewidth=1.2))
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect='equal')
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=7)
        _explain(axes, view)
        return _bytes(figure, 80, 'png')


def outlines(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ``(K, 5, 2)`` closed outlines of boxes seen from above."""
    corners = bev_corners(boxes)
    return np.concatenate((corners, corners[:, :1]), axis=1)


def _explain(axes: Axes, view: View) -> None:
    if view.colours:
        handles = [Rectangle((0, 0), 1, 1, color=colour) for colour in view.colours.values()]
        axes.legend(handles, list(view.colours), fontsize=6, loc='upper right')


def _draw_layer(axes: Axes, layer: Layer, small: bool) -> None:
    lines = outlines(layer.boxes)
    width = layer.width * (0.7 if small else 1)
    noses = np.stack((lines[:, :4].mean(1), lines[:, 3:].mean(1)), axis=1)
    for segments, thin, style in ((lines, 1.0, layer.style), (noses, 0.6, '-')):
        axes.add_collection(
            LineCollection(list(segments), colors=layer.colour, linewidths=width * thin, linestyles=style)
        )
    for name, corners in zip(layer.names, lines):
        axes.annotate(name, corners[:, :2].max(0), fontsize=6, color=layer.colour, clip_on=True)


def _draw_marks(axes: Axes, doubtful: NDArray[np.floating]) -> None:
    grown = np.array(doubtful, dtype=np.float64).reshape(-1, 7)
    grown[:, 3:5] += MARGIN
    axes.add_collection(LineCollection(list(outlines(grown)), colors=DOUBT, linewidths=0.9, linestyles=':'))


def _draw_region(axes: Axes, region: NDArray[np.floating], camera: NDArray | None, far: NDArray[np.floating]) -> None:
    """Draw where a rectangle of the image may be: the wedge between its left and right border."""
    if camera is None:
        return
    # A point on the ground plane z = 0 has u = (a x + b y + c) / (d x + e y + f): one line for each u.
    rows, reach = np.asarray(camera, dtype=np.float64), float(np.hypot(*far)) + FARTHEST[0]
    place = np.linalg.solve(rows[:3, :3], -rows[:3, 3])[:2]
    ends = []
    for u in region[[0, 2]]:
        a, b = rows[0, :2] - u * rows[2, :2]
        ray = np.array((b, -a)) / np.hypot(a, b)
        ends.append(place + reach * ray * (1 if ray @ rows[2, :2] > 0 else -1))
    axes.fill(*np.array([place, *ends]).T, color=DONT_CARE, alpha=0.18, linewidth=0)


def _extent(view: View) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the corners of what is drawn: the scan without stray points, and all boxes, within limits."""
    corners = [outlines(layer.boxes).reshape(-1, 2) for layer in view.layers]
    scan = view.points[:, :2] if len(view.points) else np.array([(0.0, -5.0), (10.0, 5.0)])
    inner = np.quantile(scan, (0.005, 0.995), axis=0)
    places = np.concatenate([inner, *corners])
    limits = np.array(FARTHEST)
    return np.maximum(places.min(0) - 1, -limits), np.minimum(places.max(0) + 1, limits)


def _projected_edges(boxes: NDArray[np.floating], camera: NDArray | None) -> list[NDArray[np.float64]]:
    """Return the edges of boxes in front of the camera as ``(2, 2)`` pixels."""
    if camera is None or not len(boxes):
        return []
    corners = corners_3d(np.asarray(boxes, dtype=np.float64))
    projected = np.concatenate((corners, np.ones((len(boxes), 8, 1))), axis=-1) @ np.asarray(camera).T
    ahead = (projected[..., 2] > NEAREST).all(1)
    pixels = projected[ahead, :, :2] / projected[ahead, :, 2:3]
    return [box[list(edge)] for box in pixels for edge in EDGES]


def _bytes(figure: Figure, dpi: int, form: str) -> bytes:
    buffer = io.BytesIO()
    options: Mapping[str, object] = (
        {'metadata': {'Software': None}} if form == 'png' else {'pil_kwargs': {'quality': 70}}
    )
    figure.savefig(buffer, format=form, dpi=dpi, **options)  # type: ignore[arg-type]
    return buffer.getvalue()
