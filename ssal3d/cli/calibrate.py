r"""Calibrate the scores of a prediction folder on labelled frames, between prediction and query.

Example:
    ssal3d calibrate --predictions predictions --out calibrated --method isotonic \
        --labelled-predictions labelled --label-state labels/round_0.json --labels data/kitti/kitti_infos_train.pkl
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssal3d.cli.arguments import Words, make_parser
from ssal3d.cli.evaluate_calibration import IOU_HELP, LABELS_HELP, MATCHING_HELP
from ssal3d.cli.thresholds import parse_thresholds
from ssal3d.errors import UserError, command
from ssal3d.terminal import console

if TYPE_CHECKING:
    from ssal3d.evaluation.score_calibration import ScoreCalibration

# Where the command line gives none; None there tells what was given.
METHOD = 'temperature'
MATCHING = 'independent'


@command
def main(argv: Words = None) -> None:
    """Fit a calibration (or read one) and write the folder with calibrated scores."""
    parser = make_parser('calibrate', __doc__)
    parser.add_argument('--predictions', type=Path, required=True, help='folder whose scores to calibrate')
    parser.add_argument('--out', type=Path, required=True, help='folder to write; calibration.json is put into it')
    parser.add_argument('--calibration', type=Path, help='apply this calibration.json instead of fitting one')
    group = parser.add_argument_group('fit')
    group.add_argument('--labelled-predictions', type=Path, help="the same model's predictions of labelled frames")
    group.add_argument('--label-state', type=Path, help='which frames are labelled; others are refused')
    group.add_argument('--labels', type=Path, help=LABELS_HELP)
    group.add_argument('--method', help='temperature (default) or isotonic')
    group.add_argument('--iou', nargs='+', metavar='NAME=IOU', help=IOU_HELP)
    group.add_argument('--matching', help=MATCHING_HELP)
    arguments = vars(parser.parse_args(argv))
    predictions, out, stored = (arguments.pop(name) for name in ('predictions', 'out', 'calibration'))
    if stored is None:
        missing = [name for name in ('labelled_predictions', 'label_state', 'labels') if arguments[name] is None]
        if missing:
            raise UserError(f'--{missing[0].replace("_", "-")} is missing; it is needed to fit, or give --calibration')
    given = [name for name, value in arguments.items() if value is not None]
    if stored is not None and given:
        raise UserError(
            f'--{given[0].replace("_", "-")} is for fitting, but --calibration is given, which is fitted; leave one out'
        )

    from ssal3d.evaluation.score_calibration import ScoreCalibration
    from ssal3d.predictions.rescoring import rescore_predictions

    calibration = fit(predictions=predictions, **arguments) if stored is None else ScoreCalibration.read(stored)
    rescore_predictions(predictions, out, calibration, {'score_calibration': calibration.method})
    calibration.write(out / 'calibration.json')
    for warning in calibration.warnings:
        console.print(f'warning: {warning}', highlight=False, markup=False)
    for name, curve in calibration.curves.items():
        how = f'{len(curve.x)} points' if curve.temperature is None else f'temperature {curve.temperature:.3f}'
        console.print(f'{name}: {calibration.method}, {how}', highlight=False, markup=False)


def fit(
    *,
    predictions: Path,
    labelled_predictions: Path,
    label_state: Path,
    labels: Path,
    method: str | None,
    iou: list[str] | None,
    matching: str | None,
) -> 'ScoreCalibration':
    """Fit a calibration on labelled frames only.

    Raises:
        UserError: If a predicted frame is not labelled, scores are calibrated already or another model's, or a file or
            option is wrong.
    """
    from ssal3d.data.label_state import LabelState
    from ssal3d.evaluation.annotated_boxes import read_annotated_boxes
    from ssal3d.evaluation.score_calibration import fit_on_frames
    from ssal3d.predictions import read_predictions

    pool = read_predictions(labelled_predictions)
    check_model(predictions, labelled_predictions, pool.metadata)
    labelled = set(LabelState.read(label_state).frame_ids)
    for name in pool.frame_ids.tolist():
        if name not in labelled:
            raise UserError(
                f'{labelled_predictions}: frame {name} is not labelled in {label_state}; scores may be calibrated on '
                'labelled frames only, predict them with ssal3d predict --labelled'
            )
    truth = read_annotated_boxes(labels, pool.frame_ids.tolist(), pool.classes)
    return fit_on_frames(method or METHOD, pool, truth, parse_thresholds(iou or []), matching or MATCHING)


def check_model(predictions: Path, labelled_predictions: Path, labelled: Mapping[str, Any]) -> None:
    """Check that both folders hold the raw scores of one model, as far as they tell.

    Args:
        predictions: Folder whose scores to calibrate.
        labelled_predictions: Folder to fit on.
        labelled: Its metadata.

    Raises:
        UserError: If scores are calibrated already, or the checkpoints differ.
    """
    from ssal3d.predictions.reader import find_parts, read_metadata
    from ssal3d.predictions.rescoring import refuse_rescored

    refuse_rescored(labelled, labelled_predictions)
    for part in find_parts(predictions)[:1]:  # all parts of a folder are of one model
        metadata = read_metadata(part)
        refuse_rescored(metadata, predictions)
        ours, theirs = metadata.get('checkpoint_sha256'), labelled.get('checkpoint_sha256')
        if ours and theirs and ours != theirs:
            raise UserError(
                f'{labelled_predictions}: found checkpoint_sha256 {theirs[:12]}, expected {ours[:12]} as in {predictions}; '
                'a calibration holds for one model, predict the labelled frames with the same checkpoint'
            )
