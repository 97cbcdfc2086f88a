"""Convert a data set for training: check every frame, reduce the scans, write MMDetection3D's annotation files.

Example:
    python tools/create_data.py kitti --root-path data/kitti
"""

import argparse
from pathlib import Path

from ssal3d.data.kitti_converter import SplitSummary, convert_kitti
from ssal3d.data.kitti_format import CLASSES
from ssal3d.errors import command
from ssal3d.terminal import console, print_table


@command
def main() -> None:
    """Parse the arguments and run the chosen converter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    datasets = parser.add_subparsers(required=True, metavar='DATASET')
    _add_kitti(datasets.add_parser('kitti', help='KITTI object layout: training/{velodyne,label_2,calib}, ImageSets'))
    arguments = vars(parser.parse_args())
    arguments.pop('run')(**arguments)


def _add_kitti(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--root-path', type=Path, required=True, help='folder in the KITTI object layout')
    parser.add_argument('--out-dir', type=Path, help='where to write (default: the root path)')
    parser.add_argument('--extra-tag', default='kitti', help='prefix of the annotation files (default: kitti)')
    parser.add_argument('--splits', nargs='+', metavar='NAME', help='lists in ImageSets to convert (default: all)')
    parser.add_argument('--workers', type=int, help='number of processes (default: one for each core)')
    parser.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        metavar=('WIDTH', 'HEIGHT'),
        help='of frames without image_2/*.png (default: what KITTI had on the recording day, told by the calibration)',
    )
    parser.add_argument(
        '--on-error',
        choices=('stop', 'quarantine'),
        default='stop',
        help='stop at a bad frame, or leave bad frames out and list them in quarantine.json (default: stop)',
    )
    parser.add_argument(
        '--gt-database',
        action='store_true',
        help='also write the classic paste database for stock configs; it holds the labels of all train frames',
    )
    parser.set_defaults(run=_convert_kitti)


def _convert_kitti(*, root_path: Path, image_size: list[int] | None, **options: object) -> None:
    size = None if image_size is None else (image_size[0], image_size[1])
    summaries = convert_kitti(root_path, image_size=size, **options)
    _print_summary(summaries)


def _print_summary(summaries: list[SplitSummary]) -> None:
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


if __name__ == '__main__':
    main()
