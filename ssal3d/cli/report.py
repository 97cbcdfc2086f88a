"""Write a page about experiments: what was labelled and why, and how good the detectors became.

Example:
    ssal3d report work_dirs/demo/run
    ssal3d report work_dirs/cal work_dirs/random --out comparison.html
"""

from pathlib import Path

from ssal3d.cli.arguments import Words, make_parser
from ssal3d.errors import command
from ssal3d.terminal import console


@command
def main(argv: Words = None) -> None:
    """Write the page."""
    parser = make_parser('report', __doc__)
    parser.add_argument('work_dirs', nargs='+', help='work dirs of experiments; the first is shown in full')
    parser.add_argument('--out', help='HTML file to write (default: report.html in the first work dir)')
    parser.add_argument('--data-root', metavar='FOLDER', help='where the data of the pool lie now, if they moved')
    arguments = parser.parse_args(argv)

    from ssal3d.report import write_report

    out = arguments.out or Path(arguments.work_dirs[0]) / 'report.html'
    path = write_report(arguments.work_dirs, out, arguments.data_root)
    console.print(f'written to {path}', highlight=False, markup=False)
