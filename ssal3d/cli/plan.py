"""Plan: boxes and hours for a target, from the learning curve of experiments so far.

Example:
    ssal3d plan work_dirs/my
    ssal3d plan work_dirs/my work_dirs/my_seed_1 --stage supervised --target 70 80 --seconds-per-box 12
"""

from collections.abc import Sequence
from math import inf, isinf
from pathlib import Path
from typing import TYPE_CHECKING

from ssal3d.cli.arguments import Words, make_parser
from ssal3d.errors import UserError, command
from ssal3d.terminal import console, print_table

if TYPE_CHECKING:
    from ssal3d.planning import Curve, Need
    from ssal3d.planning.experience import Effort

STEPS = (1.5, 2.0, 4.0)  # times the boxes so far, without a target


@command
def main(argv: Words = None) -> None:
    """Parse the arguments, fit the curve and print the plan."""
    parser = make_parser('plan', __doc__)
    parser.add_argument('work_dirs', nargs='+', type=Path, help='work dirs of experiments on one pool and val split')
    parser.add_argument('--stage', help='name of the stage to follow (default: the one that was trained most often)')
    parser.add_argument(
        '--metric', help='end of its key, e.g. 3d_R40_moderate, centre (default: 3D AP, else by centre)'
    )
    parser.add_argument('--class', dest='class_name', default='mean', help="a class, or 'mean' (default)")
    parser.add_argument('--target', nargs='+', type=float, default=[], metavar='AP', help='AP in %% to reach')
    parser.add_argument('--confidence', type=float, default=0.9, help='of the intervals (default: 0.9)')
    parser.add_argument(
        '--seconds-per-box', type=float, help='what a box takes; by default from the times that tools recorded'
    )
    arguments = parser.parse_args(argv)
    if not 0 < arguments.confidence < 1:
        raise UserError(f'--confidence: found {arguments.confidence:g}, expected a number between 0 and 1')

    from ssal3d.planning.experience import curve_points, effort_of, stages_of
    from ssal3d.planning.learning_curve import boxes_for, fit_curve

    stage = arguments.stage or next(iter(stages_of(arguments.work_dirs[0])), '')
    points = curve_points(arguments.work_dirs, stage, arguments.metric, arguments.class_name)
    print_table(
        f'{arguments.class_name} AP of {stage}, in %',
        ('experiment', 'step', 'boxes', 'AP'),
        [(point.work_dir, point.stage, point.boxes, point.value) for point in points],
    )
    curve = fit_curve([point.boxes for point in points], [point.value for point in points], arguments.confidence)
    seconds = _seconds_per_box(arguments.seconds_per_box, effort_of(arguments.work_dirs))
    _say_slope(curve)
    _predict(curve, seconds)
    if arguments.target:
        needs = [(target, boxes_for(curve, target)) for target in arguments.target]
        _show_targets(curve, needs, seconds)


def _seconds_per_box(given: float | None, effort: 'Effort') -> float | None:
    if given is not None:
        if not 0 < given < inf:  # NaN is neither
            raise UserError(f'--seconds-per-box: found {given:g}, expected a finite number, more than 0')
        return given
    if effort.seconds is None or not effort.boxes:  # empty frames take time as well
        return None
    seconds = effort.seconds / effort.boxes
    console.print(
        f'{effort.boxes} boxes took {effort.seconds / 3600:.2f} h as the tools recorded it: {seconds:.1f} s a box',
        highlight=False,
    )
    return seconds


def _say_slope(curve: 'Curve') -> None:
    low, high = curve.slope_interval
    fall = 100 * (1 - 2**-curve.slope)
    interval = f'{100 * (1 - 2**-low):.1f} to {100 * (1 - 2**-high):.1f} %'
    confidence = f'{curve.confidence:.0%}'
    if curve.is_flat:
        text = (
            f'flat: {len(curve.boxes)} detectors cannot tell whether more boxes help; twice as many boxes change the error by '
            f'{fall:.1f} %, but {confidence} of the interval is {interval}. What follows is no more than a guess.'
        )
    else:
        text = f'twice as many boxes take {fall:.1f} % off the error, 100 - AP ({confidence} interval {interval})'
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _predict(curve: 'Curve', seconds: float | None) -> None:
    most = float(curve.boxes.max())
    print_table(
        'what further boxes would bring, as far as the curve goes on as it was',
        ('boxes in all', 'more', 'hours', 'AP', 'from', 'to'),
        [
            (
                round(most * step),
                round(most * (step - 1)),
                _hours(most * (step - 1), seconds),
                *curve.predicted(most * step),
            )
            for step in STEPS
        ],
    )


def _show_targets(curve: 'Curve', needs: Sequence[tuple[float, 'Need']], seconds: float | None) -> None:
    most = float(curve.boxes.max())
    rows = []
    for target, need in needs:
        more = max(0.0, need.boxes - most)
        rows.append(
            (target, *map(_boxes, (need.boxes, need.low, need.high)), _boxes(more), _hours(more, seconds), _far(need))
        )
    header = ('AP', 'boxes in all', 'from', 'to', 'more', 'hours', '')
    print_table('boxes for a target', header, rows)


def _far(need: 'Need') -> str:
    if isinf(need.boxes):
        return 'out of reach: the curve does not rise'
    return 'far beyond what was tried' if need.is_far else ''


def _boxes(number: float) -> str:
    if isinf(number):
        return 'unknown'
    return f'{number:.3g}' if number >= 1e7 else str(round(number))


def _hours(boxes: float, seconds: float | None) -> float | str:
    if seconds is None or isinf(boxes):
        return ''
    return boxes * seconds / 3600
