"""Can the scores be trusted? Measured on frames that were bought after the models had predicted them."""

from collections.abc import Sequence

from ssal3d.errors import UserError
from ssal3d.evaluation.calibration_figure import fig7_figure, reliability_figure
from ssal3d.evaluation.calibration_report import (
    SUMMARY_HEADER,
    CalibrationSettings,
    evaluate_calibration,
    summary,
)
from ssal3d.evaluation.right_detections import IOU_THRESHOLDS
from ssal3d.report.charts import as_svg
from ssal3d.report.chosen import Choice
from ssal3d.report.experiment import first_and_last, rows_of
from ssal3d.report.html import details, picture, section, table, text

OTHER_IOU = 0.5  # of classes that no benchmark gives an overlap for
BINS = 10


def trust_section(choices: Sequence[Choice]) -> str:
    """Return the section about the scores; nothing where no round has predictions.

    Args:
        choices: The queries; every one that bought frames which its models had predicted is measured.
    """
    return section('trust', 'Can the scores be trusted?', [part for choice in choices for part in _measured(choice)])


def _measured(choice: Choice) -> list[str]:
    frames, paid = choice.query.frame_ids, choice.experiment.labels.frame_ids
    pools = {stage: rows_of(choice.predictions[stage], frames) for stage in first_and_last(choice.predictions)}
    if not pools or not all(len(pool) for pool in pools.values()):
        return []
    first = next(iter(pools.values()))
    truth = choice.experiment.pool.bought([str(name) for name in first.frame_ids], paid, first.classes)
    iou = {name: OTHER_IOU for name in first.classes if name not in IOU_THRESHOLDS}
    try:
        result = evaluate_calibration(pools, truth, CalibrationSettings(iou=iou, bins=BINS))
    except UserError as error:  # e.g. calibrated predictions of one model alone
        return [text(str(error), name='warning')]
    methods = result['methods']
    overlap = ', '.join(f'{name} {value:g}' for name, value in result['settings']['iou'].items())
    words = (
        f'{choice.step}: {len(first)} frames, bought after these models had predicted them. A detection is right if it '
        f'overlaps an object of its class enough (3D IoU: {overlap}). The frames were chosen, not drawn at random: where a '
        'query looks for doubt, scores look worse here than in the pool.'
    )
    return [
        text(words),
        picture(as_svg(lambda: fig7_figure(methods)), 'Precision and number of detections by range of score', 'wide'),
        picture(
            as_svg(lambda: reliability_figure(methods)),
            'Reliability: on the diagonal, a score says how often a detection is right',
            'wide narrow',
        ),
        *(details(f'Numbers: {name}', [table(SUMMARY_HEADER, summary(rows))]) for name, rows in methods.items()),
        *(text(warning, name='warning') for warning in result['warnings']),
    ]
