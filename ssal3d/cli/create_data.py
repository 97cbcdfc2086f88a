"""Convert a data set for training: check every frame, reduce the scans, write MMDetection3D's annotation files.

Example:
    ssal3d create-data kitti --root-path data/kitti
    ssal3d create-data waymo --root-path data/waymo/raw --out-dir data/waymo
    ssal3d create-data folder --root-path recordings --out-dir data/mine --classes car truck forklift --val-share 0.2
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssal3d.cli.arguments import Words, add_kind, make_parser
from ssal3d.cli.create_data_waymo import add_waymo, on_error, writing
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
    add_waymo(add_kind(datasets, 'waymo', 'Waymo Open Dataset, version 1 (tfrecord) or 2 (Parquet)', parser))
    folder_help = 'own scans (.bin, .npy, .pcd, .ply) and classes, labelled in part'
    _add_folder(add_kind(datasets, 'folder', folder_help, parser))
    _add_nuscenes(add_kind(datasets, 'nuscenes', 'nuScenes: key frames, ten classes, official splits', parser))
    taken = 'take the point clouds out of MCAP files, rosbag2 folders and ROS bags, for `folder`'
    _add_recordings(add_kind(datasets, 'recordings', taken, parser))
    arguments = vars(parser.parse_args(argv))
    arguments.pop('run')(**arguments)


def _add_kitti(parser: argparse.ArgumentParser) -> None:
    group = _reading(parser, 'folder in the KITTI object layout')
    group.add_argument('--splits', nargs='+', metavar='NAME', help='lists in ImageSets to convert (default: all)')
    group.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        metavar=('WIDTH', 'HEIGHT'),
        help='of frames without image_2/*.png (default: what KITTI had on the recording day, told by the calibration)',
    )
    group.add_argument(
        '--label-frame',
        choices=('camera', 'lidar', 'lidar-bottom'),
        help="how labels are read: KITTI's camera frame; the LiDAR frame with the centre of the box, or of its bottom "
        '(default: camera where there is a calibration, else lidar)',
    )
    _judging(group)
    group = writing(parser, 'kitti', 'the root path')
    group.add_argument(
        '--gt-database',
        action='store_true',
        help='also write the classic paste database for stock configs; it holds the labels of all train frames',
    )
    parser.set_defaults(run=_convert_kitti)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    group = _reading(parser, 'folder with scans, in it or in folders of sequences')
    group.add_argument(
        '--classes', nargs='+', required=True, metavar='NAME', help='class names, in the order of labels'
    )
    group.add_argument(
        '--labels', type=Path, help='folder or file of labels (default: labels, label_2, labels.json/.csv)'
    )
    group.add_argument('--drop', nargs='+', default=[], metavar='NAME', help='classes whose boxes are left out')
    group.add_argument(
        '--label-frame',
        choices=('lidar', 'lidar-bottom', 'camera'),
        help='how labels are read: centre of the box in the LiDAR frame, centre of its bottom, or KITTI camera frame '
        '(default: camera for KITTI lines with a calibration, else lidar)',
    )
    group.add_argument(
        '--load-dim', type=int, metavar='N', help='values a point in .bin (default: told by the numbers)'
    )
    group.add_argument('--columns', nargs='+', metavar='NAME', help='what they mean, of x y z i t r; _ leaves one out')
    group.add_argument('--splits', nargs='+', metavar='NAME', help='lists in ImageSets or splits (default: all)')
    group.add_argument('--val-share', type=float, metavar='S', help='without lists: share of labelled frames for val')
    _judging(group)
    writing(parser, 'folder')
    parser.set_defaults(run=_convert_folder)


def _add_nuscenes(parser: argparse.ArgumentParser) -> None:
    group = _reading(parser, 'folder with samples and the tables')
    group.add_argument('--version', default='v1.0-trainval', help='v1.0-mini, v1.0-trainval (default) or v1.0-test')
    group.add_argument('--classes', nargs='+', metavar='NAME', help='detection classes (default: all ten)')
    _judging(group, 255.0)
    writing(parser, 'nuscenes')
    parser.set_defaults(run=_convert_nuscenes)


def _reading(parser: argparse.ArgumentParser, root: str) -> Any:
    """Add where the data lie; returns the group of what is read."""
    group = parser.add_argument_group('what is read')
    group.add_argument('--root-path', type=Path, required=True, help=root)
    return group


def _judging(group: Any, intensity_max: float | None = None) -> None:
    """Add what is done with values and labels that cannot be right."""
    group.add_argument(
        '--intensity-max',
        type=float,
        default=intensity_max,
        metavar='VALUE',
        help='greatest intensity of the sensor, e.g. 255 or 65535; intensities are divided by it '
        f'(default: {"kept" if intensity_max is None else f"{intensity_max:g}"})',
    )
    group.add_argument(
        '--accept-implausible',
        action='store_true',
        help='go on with labels and calibrations that cannot belong to the scans',
    )
    on_error(group, 'frame', 'quarantine.json')


def _convert_nuscenes(*, root_path: Path, out_dir: Path, classes: list[str] | None, **options: Any) -> None:
    from ssal3d.data.folder.nuscenes import CLASSES, convert_nuscenes

    _print_summary(convert_nuscenes(root=root_path, out=out_dir, classes=classes or CLASSES, **options))


def _add_recordings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('recordings', type=Path, nargs='+', help='.mcap files, rosbag2 folders, .bag files')
    parser.add_argument('--out-dir', type=Path, required=True, help='folder that gets a folder for each recording')
    parser.add_argument('--topic', help='of the clouds (default: the only one)')
    parser.add_argument('--every', type=int, default=1, metavar='N', help='keep one of N clouds (default: 1)')
    parser.set_defaults(run=_extract_recordings)


def _extract_recordings(*, out_dir: Path, **options: Any) -> None:
    from ssal3d.data.folder.recordings import extract

    print_table('taken out', ('recording', 'scans'), list(extract(out=out_dir, **options).items()))


def _convert_folder(*, root_path: Path, out_dir: Path, **options: Any) -> None:
    from ssal3d.data.folder.converter import convert_folder

    _print_summary(convert_folder(root=root_path, out=out_dir, **options))


def _convert_kitti(*, root_path: Path, image_size: list[int] | None, **options: Any) -> None:
    from ssal3d.data.kitti_converter import convert_kitti

    size = None if image_size is None else (image_size[0], image_size[1])
    summaries = convert_kitti(root_path, image_size=size, **options)
    _print_summary(summaries)
    for summary in summaries:
        if summary.name != 'test' and summary.planes < summary.frames:
            _note(
                summary,
                f'{summary.planes} of {summary.frames} frames have a road plane (training/planes); pasted objects keep '
                "their own height in the others, see 'Road planes' in docs/data.md",
            )


def _print_summary(summaries: 'list[SplitSummary]') -> None:
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
            _note(summary, note)


def _note(summary: 'SplitSummary', note: str) -> None:
    console.print(f'{summary.name}: {note}', highlight=False, soft_wrap=True, markup=False)


def _notes(summary: 'SplitSummary') -> Iterator[str]:
    from ssal3d.data.scans import USUAL_INTENSITY

    if not summary.labelled:
        yield 'no labels, so its annotation file has none'
    elif summary.labelled_frames < summary.frames:
        yield (
            f'{summary.labelled_frames} of {summary.frames} frames have a label file; the others count as unlabelled, '
            'not as empty'
        )
    if summary.labelled and not any(summary.boxes.values()):
        yield f'none of {summary.labelled_frames} labelled frames holds an object of a class; nothing can be learnt from them'
    if summary.label_state:
        yield f"what is labelled stands in {summary.label_state}; start from it with initial=dict(labels='...')"
    low, high = summary.intensity or (0.0, 0.0)
    if low < 0 or high > USUAL_INTENSITY:
        remedy = '' if low < 0 else f'; --intensity-max {high:g} would divide them'
        yield f'intensities reach from {low:g} to {high:g} and stay so{remedy}'
    if summary.intensity == (0.0, 0.0):
        yield 'every intensity is 0: the scans have none, or under another name; see --columns of `create-data folder`'
    yield from (f'accepted although implausible: {fault}' for fault in summary.faults)


def _percent(part: int, whole: int) -> str:
    return f'{100 * part / whole:.0f} %' if whole else ''
