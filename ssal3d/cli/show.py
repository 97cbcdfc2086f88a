"""Draw the frames of a query, of predictions or of a label state as PNG: what models saw, what people labelled.

Boxes are drawn by model; annotations and DontCare regions of frames that were bought, and of no others. Files of an
experiment know their data; for others, --annotations and --points name it.

Example:
    ssal3d show run/round_1/query.json --out pictures                 # what was chosen, both models, what was true
    ssal3d show run/round_1/predictions_cpsp --frame 000410 --out pictures
    ssal3d show run/labels/round_1.json --number 20 --out pictures    # what was labelled
"""

from ssal3d.cli.arguments import Words, make_parser
from ssal3d.errors import command
from ssal3d.options import check_range
from ssal3d.terminal import console


@command
def main(argv: Words = None) -> None:
    """Draw the frames."""
    parser = make_parser('show', __doc__)
    parser.add_argument('source', help='query.json, folder of predictions, or label state')
    parser.add_argument('--out', required=True, help='folder of the pictures')
    parser.add_argument('--frame', nargs='+', default=[], metavar='ID', help='frames to draw (default: the first ones)')
    parser.add_argument('--number', type=int, default=12, help='how many frames to draw without --frame (default: 12)')
    parser.add_argument(
        '--predictions', nargs='+', default=[], metavar='[NAME=]FOLDER', help="further models' predictions to draw"
    )
    parser.add_argument('--min-score', type=float, default=0.3, help='draw boxes with a higher score (default: 0.3)')
    group = parser.add_argument_group('data of a source that is in no experiment')
    group.add_argument('--annotations', help='annotation file of the pool')
    group.add_argument('--points', help='folder of the scans')
    group.add_argument('--labels', help='label state: annotations of its frames are drawn, and of no others')
    arguments = parser.parse_args(argv)
    check_range('--number', arguments.number, low=1)
    check_range('--min-score', arguments.min_score, high=1)

    from ssal3d.cli.evaluate_calibration import named_folders
    from ssal3d.report.show import draw_frames, read_shown

    shown = read_shown(
        arguments.source,
        named_folders(arguments.predictions),
        arguments.labels,
        arguments.annotations,
        arguments.points,
    )
    files = draw_frames(shown, arguments.out, arguments.frame, arguments.number, arguments.min_score)
    console.print(f'{len(files)} pictures written to {arguments.out}', highlight=False, markup=False)
