"""``evaluate calibration``: the options and what it does."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssal3d.cli.thresholds import parse_thresholds
from ssal3d.errors import UserError

if TYPE_CHECKING:
    from ssal3d.predictions import PoolPredictions

MATCHING_HELP = (
    'independent (default): every detection that overlaps an object of its class enough is right; best_any_class: the '
    'object that it overlaps most must be of its class; greedy: an object makes one detection right'
)
LABELS_HELP = 'annotation file (infos), or folder of KITTI labels beside calib'
IOU_HELP = '3D IoU from which on a detection is right (default: Car and Vehicle 0.7, Pedestrian and Cyclist 0.5)'


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """Add the options of measuring calibration."""
    group = parser.add_argument_group('files')
    group.add_argument(
        '--predictions',
        nargs='+',
        required=True,
        metavar='[NAME=]FOLDER',
        help='prediction folders of the same frames; NAME, e.g. of the pre-training method, tells several apart',
    )
    group.add_argument('--labels', type=Path, required=True, help=LABELS_HELP)
    group.add_argument('--exclude', type=Path, metavar='LABEL_STATE', help='leave out the frames that it labels')
    group.add_argument('--out', type=Path, required=True, help='where to write the numbers as JSON')
    group.add_argument('--plots', type=Path, metavar='FOLDER', help='also write reliability.png and fig7.png here')
    group = parser.add_argument_group('rules')
    group.add_argument('--iou', nargs='+', default=[], metavar='NAME=IOU', help=IOU_HELP)
    group.add_argument('--matching', default='independent', help=MATCHING_HELP)
    group.add_argument('--min-score', type=float, default=0.1, help='leave out detections below (default: 0.1)')
    group.add_argument('--bins', type=int, default=20, help='bins of the confidence (default: 20)')
    group.add_argument(
        '--min-samples', type=int, default=8, help='bins with fewer detections add nothing to D-ECE (default: 8)'
    )
    group.add_argument(
        '--region',
        type=float,
        nargs=4,
        metavar=('X0', 'Y0', 'X1', 'Y1'),
        help='metres that positions are scaled to for D-ECE with position (default: what the detections cover)',
    )
    parser.set_defaults(run=evaluate_folders)


def evaluate_folders(
    *,
    predictions: list[str],
    labels: Path,
    out: Path,
    plots: Path | None = None,
    exclude: Path | None = None,
    iou: list[str] | None = None,
    region: list[float] | None = None,
    **settings: Any,
) -> None:
    """Measure prediction folders against labels, write ``out`` (and pictures) and print a table for each folder.

    With one folder and no name, the classes are the keys of the file; else the methods are, below ``methods``.

    Raises:
        UserError: If a folder, file or option is wrong.
    """
    from ssal3d.evaluation.annotated_boxes import read_annotated_boxes
    from ssal3d.evaluation.calibration_report import SUMMARY_HEADER, CalibrationSettings, evaluate_calibration, summary
    from ssal3d.fileio import SCHEMA, write_json
    from ssal3d.predictions import read_predictions
    from ssal3d.terminal import console, print_table

    area = None if region is None else (region[0], region[1], region[2], region[3])
    chosen = CalibrationSettings(iou=parse_thresholds(iou or []), region=area, **settings)
    folders = named_folders(predictions)
    pools = {name: _without_labelled(read_predictions(folder), exclude) for name, folder in folders.items()}
    first = next(iter(pools.values()))
    truth = read_annotated_boxes(labels, [str(name) for name in first.frame_ids], first.classes)
    result = evaluate_calibration(pools, truth, chosen)
    methods, rest = result['methods'], {key: result[key] for key in ('settings', 'warnings')}
    rest['settings'] |= {'labels': str(labels), 'predictions': folders, 'exclude': exclude and str(exclude)}
    alone = len(predictions) == 1 and '=' not in predictions[0]
    write_json(out, {'schema': SCHEMA, **(next(iter(methods.values())) if alone else {'methods': methods}), **rest})
    if plots:
        from ssal3d.evaluation.calibration_figure import write_fig7, write_reliability

        write_reliability(plots / 'reliability.png', methods)
        write_fig7(plots / 'fig7.png', methods)
    for name, by_class in methods.items():
        title = f'calibration of {name}, {len(first)} frames; detections (precision) by confidence'
        print_table(title, SUMMARY_HEADER, summary(by_class))
    for warning in rest['warnings']:
        console.print(f'warning: {warning}', highlight=False, markup=False)


def named_folders(arguments: list[str]) -> dict[str, str]:
    """Parse ``[NAME=]FOLDER``; a folder without name is called like itself.

    Raises:
        UserError: If two have the same name.
    """
    folders: dict[str, str] = {}
    for argument in arguments:
        name, equals, folder = argument.partition('=')
        if not equals:
            name, folder = Path(argument).name, argument
        if name in folders:
            raise UserError(f"--predictions: the name '{name}' is given twice; write NAME=FOLDER with different names")
        folders[name] = folder
    return folders


def _without_labelled(pool: 'PoolPredictions', exclude: Path | None) -> 'PoolPredictions':
    import numpy as np

    from ssal3d.data.label_state import LabelState

    labelled = set() if exclude is None else set(LabelState.read(exclude).frame_ids)
    rows = np.array([k for k, name in enumerate(pool.frame_ids.tolist()) if name not in labelled], dtype=np.int64)
    if not len(rows):
        raise UserError(f'{pool.source}: no frame is left to measure; all {len(pool)} are labelled in {exclude}')
    return pool.take(rows)
