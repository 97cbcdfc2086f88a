"""A few frames in interactive 3D: data for the viewer, which is one file of JavaScript in the page.

``viewer.js`` is bundled from ``tools/viewer`` with three.js, whose licence is ``viewer.LICENSE.txt``.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.report.chosen import Choice
from ssal3d.report.html import details, resource, section, text
from ssal3d.report.scenes import FARTHEST, View

SHOWN_FRAMES = 3
MOST_POINTS = 24_000
SCRIPT = 'viewer.js'


def viewer_section(choices: Sequence[Choice]) -> str:
    """Return the section with frames in 3D, the script included; nothing without a chosen frame.

    Args:
        choices: The queries; the first frames of the last one are shown.
    """
    if not choices or not choices[-1].shown:
        return ''
    choice = choices[-1]
    frames = [frame_data(name, choice.view(name)) for name in choice.shown[:SHOWN_FRAMES]]
    return section(
        'scenes-3d',
        'Look around',
        [
            text('The first chosen frames in 3D: what was true once bought, and what the models had predicted before.'),
            '<div id="viewer"><noscript>Without JavaScript there is no 3D; the pictures show the same frames.</noscript></div>',
            f'<script type="application/json" id="scenes">{as_json({"frames": frames})}</script>',
            f'<script>{resource(SCRIPT)}</script>',
            details('Licence of three.js, which draws it', [text(resource('viewer.LICENSE.txt'), 'pre')]),
        ],
    )


def script_hash() -> str:
    """Return the hash by which a page allows the viewer and no other script (Content Security Policy)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(resource(SCRIPT).encode()).digest()).decode()}'"


def as_json(content: Any) -> str:
    """Return JSON that cannot end the script element which holds it."""
    return json.dumps(content, separators=(',', ':'), allow_nan=False).replace('<', '\\u003c')


def frame_data(name: str, view: View) -> Mapping[str, Any]:
    """Return a frame as the viewer reads it.

    Args:
        name: Frame id.
        view: Points and boxes.
    """
    points = view.points[:: max(1, -(-len(view.points) // MOST_POINTS))]
    places, scale = quantise(points[:, :3])
    layers = [
        {'name': layer.name, 'colour': layer.colour, 'boxes': np.round(layer.boxes, 2).tolist()}
        for layer in view.layers
    ]
    middle = np.median(places * scale, axis=0)[:2]
    return {
        'title': f'frame {name}',
        'count': len(points),
        'scale': scale,
        'points': base64.b64encode(places.astype('<i2').tobytes() + intensities(points).tobytes()).decode(),
        'middle': [round(float(value), 2) for value in middle],
        'reach': float(min(np.abs(points[:, :2]).max(initial=1), FARTHEST[1])),
        'layers': layers,
    }


def quantise(places: NDArray[np.floating]) -> tuple[NDArray[np.int16], float]:
    """Return ``(N, 3)`` positions in steps of a size, and that size in metres.

    >>> quantise(np.array([[0.0, 1.0, -2.0]]))[0].tolist()
    [[0, 16384, -32767]]
    """
    scale = float(np.abs(places).max(initial=0)) / 32767 or 1.0
    return np.round(places / scale).astype(np.int16), scale


def intensities(points: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return ``(N,)`` intensities, the brightest 255; all 128 where the scan has none."""
    if points.shape[1] < 4 or not len(points):
        return np.full(len(points), 128, dtype=np.uint8)
    values = np.clip(np.nan_to_num(points[:, 3]), 0, None)
    return np.round(255 * np.clip(values / max(float(np.quantile(values, 0.99)), 1e-6), 0, 1)).astype(np.uint8)
