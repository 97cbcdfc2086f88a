"""Convert a data set for training: check every frame, reduce the scans, write MMDetection3D's annotation files.

Example:
    ssal3d create-data kitti --root-path data/kitti
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssal3d.cli.arguments import Words, add_kind, make_parser
from ssal3d.errors import command
from ssal3d.terminal import console, print_table

if TYPE_CHECKING:
    from ssal3d.data.kitti_converter import SplitSummary


@command
def main(argv: Words = None) -> None:
    """Parse the arguments and run the chosen converter."""
    parser = make_parser('create-data', __doc__)
    datasets = parser.add_subparsers(required=True, metavar='DATASET')
    layout = 'KITTI object layout: training/{velodyne,label_2,calib}, ImageSets'
    _add_kitti(add_kind(datasets, 'kitti', layout, parser))
    arguments = vars(parser.parse_args(argv))
    arguments.pop('run')(**arguments)


def _add_kitti(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('what is read')
    group.add_argument('--root-path', type=Path, required=True, help='folder in the KITTI object layout')
    group.add_argument('--splits', nargs='+', metavar='NAME', help='lists in ImageSets to convert (default: all)')
    group.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        metavar=('WIDTH', 'HEIGHT'),
        help='of frames without image_2/*.png (default: what KITTI had on the recording day, told by the calibration)',
    )
    group.add_argument(
        '--on-error',
        choices=('stop', 'quarantine'),
        default='stop',
        help='stop at a bad frame, or leave bad frames out and list them in quarantine.json (default: stop)',
    )
    group = parser.add_argument_group('what is written')
    group.add_argument('--out-dir', type=Path, help='where to write (default: the root path)')
    group.add_argument('--extra-tag', default='kitti', help='prefix of the annotation files (default: kitti)')
    group.add_argument(
        '--gt-database',
        action='store_true',
        help='also write the classic paste database for stock configs; it holds the labels of all train frames',
    )
    parser.add_argument('--workers', type=int, help='number of processes (default: one for each core)')
    parser.set_defaults(run=_convert_kitti)


def _convert_kitti(*, root_path: Path, image_size: list[int] | None, **options: Any) -> None:
    from ssal3d.data.kitti_converter import convert_kitti

    size = None if image_size is None else (image_size[0], image_size[1])
    summaries = convert_kitti(root_path, image_size=size, **options)
    _print_summary(summaries)


def _print_summary(summaries: 'list[SplitSummary]') -> None:
    from ssal3d.data.kitti_format import CLASSES

    shown = [name for name in CLASSES if any(summary.boxes[name] for summary in summaries)]
    print_table(
        'converted',
        ('split', 'frames', 'quarantined', 'points', 'in view', 'not finite', *shown),
        [
            (
                *(s.name, s.frames, s.quarantined, s.points, s.kept, s.not_finite),
                *(s.boxes[name] if s.labelled else '' for name in shown),
            )
            for s in summaries
        ],
    )
    for summary in summaries:
        if not summary.labelled:
            console.print(f'{summary.name}: no labels, so its annotation file has none', highlight=False)
