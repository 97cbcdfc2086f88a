"""``evaluate waymo``: the options and what it does."""

import argparse
from pathlib import Path

from ssal3d.cli.thresholds import parse_thresholds


def add_waymo(parser: argparse.ArgumentParser) -> None:
    """Add the options of the official Waymo metric."""
    group = parser.add_argument_group('files')
    group.add_argument('--detections', type=Path, required=True, help="file with one serialised message 'Objects'")
    group.add_argument('--ground-truth', type=Path, required=True, help='file of the same kind')
    group.add_argument('--out', type=Path, required=True, help='where to write the numbers as JSON')
    group = parser.add_argument_group('rules')
    group.add_argument(
        '--classes', nargs='+', metavar='NAME', help='default: VEHICLE PEDESTRIAN CYCLIST; SIGN is the fourth'
    )
    group.add_argument(
        '--iou',
        nargs='+',
        default=[],
        metavar='NAME=IOU',
        help='3D IoU thresholds, e.g. VEHICLE=0.5 (default: VEHICLE 0.7, others 0.5)',
    )
    parser.set_defaults(run=evaluate_files)


def evaluate_files(
    *, detections: Path, ground_truth: Path, out: Path, classes: list[str] | None = None, iou: list[str] | None = None
) -> None:
    """Evaluate a file of detections against one of ground truth, write ``out`` and print a table.

    Raises:
        UserError: If a file or an option is wrong.
    """
    from ssal3d.evaluation.waymo_ap import CLASSES, SUMMARY_HEADER, evaluate_waymo, summary
    from ssal3d.evaluation.waymo_objects import FrameKey, read_objects
    from ssal3d.fileio import SCHEMA, write_json
    from ssal3d.terminal import console, print_table

    thresholds = {name.upper(): value for name, value in parse_thresholds(iou or []).items()}
    names = [name.upper() for name in classes or CLASSES]
    frame_numbers: dict[FrameKey, int] = {}
    truth, found = read_objects(ground_truth, frame_numbers), read_objects(detections, frame_numbers)
    metrics = evaluate_waymo(truth, found, names, thresholds)
    write_json(out, {'schema': SCHEMA, **metrics})
    print_table(f'AP and APH, {metrics["frames"]} frames', SUMMARY_HEADER, summary(metrics))
    for warning in metrics['warnings']:
        console.print(f'warning: {warning}', highlight=False)
