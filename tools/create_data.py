"""Convert a data set for training: check every frame, reduce the scans, write MMDetection3D's annotation files.

Example:
    python tools/create_data.py kitti --root-path data/kitti
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from ssal3d.data.kitti_converter import SplitSummary, convert_kitti
from ssal3d.data.kitti_frame import LABEL_FRAMES
from ssal3d.data.scans import USUAL_INTENSITY
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
    parser.add_argument(
        '--label-frame',
        choices=LABEL_FRAMES,
        help="how labels are read: KITTI's camera frame; the LiDAR frame with the centre of the box, or of its bottom "
        '(default: camera where there is a calibration, else lidar)',
    )
    parser.add_argument(
        '--intensity-max',
        type=float,
        metavar='VALUE',
        help='greatest intensity of the sensor, e.g. 255 or 65535; intensities are divided by it (default: kept)',
    )
    parser.add_argument(
        '--accept-implausible',
        action='store_true',
        help='go on with labels and calibrations that cannot belong to the scans',
    )
    parser.set_defaults(run=_convert_kitti)


def _convert_kitti(*, root_path: Path, image_size: list[int] | None, **options: object) -> None:
    size = None if image_size is None else (image_size[0], image_size[1])
    summaries = convert_kitti(root_path, image_size=size, **options)
    _print_summary(summaries)


def _print_summary(summaries: list[SplitSummary]) -> None:
    print_table(
        'converted',
        ('split', 'frames', 'labelled', 'quarantined', 'points', 'in view', 'not finite'),
        [
            (s.name, s.frames, s.labelled_frames, s.quarantined, s.points, _percent(s.kept, s.points), s.not_finite)
            for s in summaries
        ],
    )
    rows = [
        (s.name, name, boxes, empty, _percent(empty, boxes), '' if outside is None else _percent(outside, boxes))
        for s in summaries
        for name, boxes, empty, outside in s.table
    ]
    if rows:
        print_table('labelled boxes', ('split', 'class', 'boxes', 'without points', '', 'outside the image'), rows)
    for summary in summaries:
        for note in _notes(summary):
            console.print(f'{summary.name}: {note}', highlight=False, soft_wrap=True, markup=False)


def _notes(summary: SplitSummary) -> Iterator[str]:
    if not summary.labelled:
        yield 'no labels, so its annotation file has none'
    elif summary.labelled_frames < summary.frames:
        yield (
            f'{summary.labelled_frames} of {summary.frames} frames have a label file; the others count as unlabelled, '
            'not as empty'
        )
    if summary.label_state:
        yield f"what is labelled stands in {summary.label_state}; start from it with initial=dict(labels='...')"
    low, high = summary.intensity or (0.0, 0.0)
    if low < 0 or high > USUAL_INTENSITY:
        yield (
            f'intensities reach from {low:g} to {high:g}; they stay as they are, --intensity-max {high:g} would divide '
            'them'
        )
    yield from (f'accepted although implausible: {fault}' for fault in summary.faults)


def _percent(part: int, whole: int) -> str:
    return f'{100 * part / whole:.0f} %' if whole else ''


if __name__ == '__main__':
    main()
