"""``labels check``: rank labels by how likely they are wrong."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssal3d.cli.arguments import add_kind
from ssal3d.cli.labels_arguments import add_source, agreement_of, frames_of
from ssal3d.errors import UserError
from ssal3d.options import check_range
from ssal3d.terminal import console, print_table, track

SHOWN = 20  # lines to print


def add_check(steps: Any, parent: argparse.ArgumentParser) -> None:
    """Add the step ``check``."""
    parser = add_kind(steps, 'check', 'rank labels by how likely they are wrong', parent)
    parser.add_argument(
        'boxes',
        type=Path,
        nargs='+',
        help='folder of the imported boxes, e.g. labels/boxes, or several, e.g. of two rounds: what both have is a duplicate',
    )
    parser.add_argument('--classes', nargs='+', required=True, metavar='NAME', help='class names that may occur')
    add_source(parser, required=False)
    parser.add_argument('--predictions', type=Path, help='folder with predictions of these frames')
    parser.add_argument('--reference-predictions', type=Path, help='of a second model; both must agree')
    parser.add_argument('--threshold', nargs='+', metavar='[NAME=]SCORE', help='see export')
    parser.add_argument('--iou', type=float, help='see export')
    parser.add_argument('--top', type=int, default=SHOWN, help=f'lines to print (default: {SHOWN})')
    parser.add_argument(
        '--out',
        type=Path,
        help='folder for the whole list, check.json, and pictures; or a .json file for the list alone',
    )
    parser.add_argument('--pictures', type=int, default=50, help='pictures of the first ones (default: 50)')
    parser.set_defaults(run=_check)


def _check(
    *,
    boxes: list[Path],
    classes: list[str],
    scans: Path | None,
    infos: Path | None,
    images: Path | None,
    load_dim: int,
    predictions: Path | None,
    reference_predictions: Path | None,
    threshold: list[str] | None,
    iou: float | None,
    top: int,
    out: Path | None,
    pictures: int,
) -> None:
    from ssal3d.annotation.prelabels import prelabels
    from ssal3d.annotation.quality import BOTH, as_json, suspicions
    from ssal3d.annotation.scans import frame_points
    from ssal3d.annotation.sources import choose
    from ssal3d.annotation.store import read_boxes
    from ssal3d.fileio import SCHEMA, refuse_inputs, write_json
    from ssal3d.predictions import read_predictions

    thresholds, iou = agreement_of(predictions, reference_predictions, threshold, iou)
    check_range('--top', top)
    check_range('--pictures', pictures)
    alone = out is not None and out.suffix == '.json'
    if out is not None:
        refuse_inputs(out, *boxes, *filter(None, (predictions, reference_predictions)), inside=True)
        if alone and out.exists() and not _is_list(out):
            raise UserError(f'{out}: is there and no list of this command; give another --out')
    labelled = read_boxes(*boxes)
    points: Callable[[str], Any] | None = None
    if scans is not None or infos is not None:
        chosen = {
            frame.frame_id: frame
            for frame in choose(frames_of(scans, infos, images, load_dim), list(labelled), boxes[0])
        }

        def points_of(frame_id: str) -> Any:
            return frame_points(chosen[frame_id])

        points = points_of
    seen = None
    if predictions is not None:
        reference = read_predictions(reference_predictions) if reference_predictions else None
        seen = prelabels(list(labelled), read_predictions(predictions), reference, thresholds, iou)
    viewer = BOTH if reference_predictions else 'the model'
    ranked = suspicions(list(labelled.values()), classes, points, seen, viewer)
    if out is not None:
        write_json(out if alone else out / 'check.json', {'schema': SCHEMA, 'suspicions': as_json(ranked)})
        if not alone:
            _draw(ranked[:pictures], out, labelled, points, seen or {}, viewer)
    print_table(
        f'{len(ranked)} suspicions in {len(labelled)} frames',
        ('rank', 'suspicion', 'kind', 'what'),
        [(rank, entry.suspicion, entry.kind, entry.text) for rank, entry in enumerate(ranked[:top])],
    )


def _is_list(path: Path) -> bool:
    """Return whether a file is a list of suspicions, which another one may take the place of."""
    from ssal3d.fileio import read_json

    try:
        read_json(path, required=('suspicions',))
    except UserError:
        return False
    return True


def _draw(
    found: Sequence[Any],
    out: Path,
    labelled: Mapping[str, Any],
    points: Callable[[str], Any] | None,
    seen: Mapping[str, Sequence[Any]],
    viewer: str,
) -> None:
    """Write a picture of each suspicion; without scans there is nothing to draw."""
    from ssal3d.annotation.model import boxes_of
    from ssal3d.fileio import atomic_open, remove
    from ssal3d.report.scenes import QUERY, TRUE, Layer, View, close_up

    if points is None:
        console.print('no pictures: give the folder of the scans with --scans', highlight=False)
        return
    for path in out.glob('[0-9][0-9][0-9]_*.png'):
        remove(path)  # of an earlier check
    for rank, entry in enumerate(track(found, 'drawing')):
        layers = [
            Layer('labels', labelled[entry.frame_id].boxes, TRUE),
            Layer(viewer, boxes_of(seen.get(entry.frame_id, ())), QUERY),
        ]
        title = f'{rank}: frame {entry.frame_id}, {entry.kind}, {entry.suspicion:.2f}'
        content = close_up(View(points(entry.frame_id), layers), entry.box, title)
        with atomic_open(out / f'{rank:03d}_{entry.frame_id}_{entry.kind}.png') as file:
            file.write(content)
    console.print(f'{len(found)} pictures: {out}', highlight=False, soft_wrap=True)
