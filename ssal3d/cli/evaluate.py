r"""Evaluate saved detections.

Example:
    ssal3d evaluate kitti --detections results/data --labels data/kitti/training/label_2 \
        --split data/kitti/ImageSets/val.txt --out metrics.json --iou Car:bev=0.5
    ssal3d evaluate waymo --detections predictions.bin --ground-truth gt.bin --out metrics.json
    ssal3d evaluate calibration --predictions normal=predictions_normal cpsp=predictions_cpsp \
        --labels data/kitti/kitti_infos_train.pkl --out calibration.json --plots plots
"""

import argparse
from pathlib import Path

from ssal3d.cli.arguments import Words, add_kind, make_parser
from ssal3d.cli.evaluate_calibration import add_calibration
from ssal3d.cli.evaluate_waymo import add_waymo
from ssal3d.errors import UserError, command
from ssal3d.fileio import SCHEMA, write_json
from ssal3d.terminal import console, print_table


@command
def main(argv: Words = None) -> None:
    """Parse the arguments and run the chosen evaluation."""
    parser = make_parser('evaluate', __doc__)
    kinds = parser.add_subparsers(required=True, metavar='KIND')
    _add_kitti(add_kind(kinds, 'kitti', "KITTI's AP of result files: image, BEV and 3D, R40 and R11", parser))
    add_waymo(
        add_kind(kinds, 'waymo', "Waymo's AP and APH of the official .bin files, by type, range and level", parser)
    )
    summary = 'How well scores tell how often detections are right: D-ECE, reliability diagrams, ranges of Fig. 7'
    add_calibration(add_kind(kinds, 'calibration', summary, parser))
    arguments = vars(parser.parse_args(argv))
    arguments.pop('run')(**arguments)


def _add_kitti(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('files')
    group.add_argument('--detections', type=Path, required=True, help='folder with <frame id>.txt, 16 fields a line')
    group.add_argument('--labels', type=Path, required=True, help='folder with <frame id>.txt, e.g. training/label_2')
    group.add_argument('--split', type=Path, required=True, help='one frame id a line, e.g. ImageSets/val.txt')
    group.add_argument('--out', type=Path, required=True, help='where to write the numbers as JSON')
    group = parser.add_argument_group('rules')
    group.add_argument('--classes', nargs='+', metavar='NAME', help='default: Car Pedestrian Cyclist')
    group.add_argument(
        '--iou',
        nargs='+',
        default=[],
        metavar='NAME[:METRIC]=IOU',
        help='thresholds, e.g. Car=0.5 for all metrics or Car:bev=0.5 (default: Car 0.7, Pedestrian and Cyclist 0.5)',
    )
    group.add_argument(
        '--no-image',
        action='store_true',
        help='data without a camera: ignore image boxes, so that no height excludes an object, and leave out 2d',
    )
    group.add_argument(
        '--small-sets',
        action='store_true',
        help='with fewer than 41 counted objects, for which the official sampling cannot reach 100, read the precision '
        'at the recall itself',
    )
    parser.set_defaults(run=_evaluate_kitti)


def _evaluate_kitti(
    *,
    detections: Path,
    labels: Path,
    split: Path,
    out: Path,
    classes: list[str] | None,
    iou: list[str],
    no_image: bool,
    small_sets: bool,
) -> None:
    from ssal3d.data.kitti_format import read_split
    from ssal3d.data.kitti_objects import read_frames
    from ssal3d.evaluation.kitti_ap import IOU_THRESHOLDS, SUMMARY_HEADER, evaluate_kitti, summary, without_image_boxes

    if detections.resolve() == labels.resolve():
        raise UserError(f'--detections {detections}: is the folder of --labels, expected results of a detector')
    thresholds = _iou_thresholds(iou)
    frames = read_split(split)
    both = read_frames(labels, frames), read_frames(detections, frames, detections=True)
    if no_image:
        both = without_image_boxes(both[0]), without_image_boxes(both[1])
    metrics = evaluate_kitti(*both, classes or list(IOU_THRESHOLDS), thresholds, small_sets=small_sets)
    write_json(out, {'schema': SCHEMA, **metrics})
    print_table(f'AP in percent, {metrics["frames"]} frames', SUMMARY_HEADER, summary(metrics))
    for warning in metrics['warnings']:
        console.print(f'warning: {warning}', highlight=False)


def _iou_thresholds(settings: list[str]) -> dict[str, dict[str, float]]:
    """Parse ``NAME=IOU`` and ``NAME:METRIC=IOU``."""
    from ssal3d.evaluation.kitti_matching import METRICS

    result: dict[str, dict[str, float]] = {}
    for setting in settings:
        key, _, value = setting.partition('=')
        name, _, metric = key.partition(':')
        try:
            number = float(value)
        except ValueError:
            raise UserError(
                f"--iou: found '{setting}', expected NAME=IOU or NAME:METRIC=IOU, e.g. Car:bev=0.5"
            ) from None
        result.setdefault(name, {}).update({metric: number} if metric else dict.fromkeys(METRICS, number))
    return result
