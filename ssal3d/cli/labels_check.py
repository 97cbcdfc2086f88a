"""``labels check``: rank labels by how likely they are wrong."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssal3d.cli.arguments import add_kind
from ssal3d.cli.labels_arguments import add_source, frames_of, thresholds_of
from ssal3d.terminal import print_table

SHOWN = 20  # lines to print


def add_check(steps: Any, parent: argparse.ArgumentParser) -> None:
    """Add the step ``check``."""
    parser = add_kind(steps, 'check', 'rank labels by how likely they are wrong', parent)
    parser.add_argument('boxes', type=Path, help='folder of the imported boxes, e.g. labels/boxes')
    parser.add_argument('--classes', nargs='+', required=True, metavar='NAME', help='class names that may occur')
    add_source(parser, required=False)
    parser.add_argument('--predictions', type=Path, help='folder with predictions of these frames')
    parser.add_argument('--reference-predictions', type=Path, help='of a second model; both must agree')
    parser.add_argument('--threshold', nargs='+', default=['0.5'], metavar='[NAME=]SCORE', help='see export')
    parser.add_argument('--iou', type=float, default=0.5, help='see export')
    parser.add_argument('--top', type=int, default=SHOWN, help=f'lines to print (default: {SHOWN})')
    parser.add_argument('--out', type=Path, help='JSON file for the whole list')
    parser.set_defaults(run=_check)


def _check(
    *,
    boxes: Path,
    classes: list[str],
    scans: Path | None,
    infos: Path | None,
    images: Path | None,
    load_dim: int,
    predictions: Path | None,
    reference_predictions: Path | None,
    threshold: list[str],
    iou: float,
    top: int,
    out: Path | None,
) -> None:
    from ssal3d.annotation.prelabels import prelabels
    from ssal3d.annotation.quality import as_json, suspicions
    from ssal3d.annotation.scans import frame_points
    from ssal3d.annotation.sources import choose
    from ssal3d.annotation.store import read_boxes
    from ssal3d.fileio import SCHEMA, write_json
    from ssal3d.predictions import read_predictions

    labelled = read_boxes(boxes)
    points: Callable[[str], Any] | None = None
    if scans is not None or infos is not None:
        chosen = {
            frame.frame_id: frame for frame in choose(frames_of(scans, infos, images, load_dim), list(labelled), boxes)
        }

        def points_of(frame_id: str) -> Any:
            return frame_points(chosen[frame_id])

        points = points_of
    seen = None
    if predictions is not None:
        reference = read_predictions(reference_predictions) if reference_predictions else None
        seen = prelabels(list(labelled), read_predictions(predictions), reference, thresholds_of(threshold), iou)
    found = suspicions(list(labelled.values()), classes, points, seen)
    if out is not None:
        write_json(out, {'schema': SCHEMA, 'suspicions': as_json(found)})
    print_table(
        f'{len(found)} suspicions in {len(labelled)} frames',
        ('rank', 'suspicion', 'kind', 'what'),
        [(rank, entry.suspicion, entry.kind, entry.text) for rank, entry in enumerate(found[:top])],
    )
