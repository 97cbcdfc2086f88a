"""Simulate LiDAR frames of streets, labelled: KITTI's object layout, or converted Waymo with --preset waymo.

Example:
    ssal3d simulate --out data/sim --frames 1200 --seed 0
    ssal3d create-data kitti --root-path data/sim
    ssal3d simulate --out data/sim_360 --preset waymo --frames 700 --val 300
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from ssal3d.cli.arguments import Words, make_parser
from ssal3d.commands import as_called
from ssal3d.errors import UserError, command
from ssal3d.simulation.presets import PRESETS
from ssal3d.terminal import console, print_table

_VAL_SHARE = 0.2


@command
def main(argv: Words = None) -> None:
    """Parse the arguments; simulate, draw a frame or compare with real data."""
    parser = make_parser('simulate', __doc__)
    group = parser.add_argument_group('the simulation')
    group.add_argument('--out', type=Path, help='folder to write; an unfinished simulation in it is continued')
    group.add_argument('--frames', type=int, default=1200, help='number of frames (default: 1200)')
    group.add_argument('--seed', type=int, default=0, help='same seed, same bytes (default: 0)')
    group.add_argument('--preset', default='kitti', help=f'sensor: {", ".join(PRESETS)} (default: kitti)')
    group.add_argument('--workers', type=int, help='number of processes (default: one for each core)')
    share = group.add_mutually_exclusive_group()
    share.add_argument('--val', type=int, help='frames of the validation split, in whole sequences')
    share.add_argument(
        '--val-share', type=float, default=_VAL_SHARE, help=f'the same as a share (default: {_VAL_SHARE})'
    )
    group.add_argument('--no-planes', action='store_true', help='write no road planes')
    group = parser.add_argument_group('a picture instead')
    group.add_argument('--picture', type=Path, metavar='FILE', help='only draw a frame of the seed and preset')
    group.add_argument('--frame', type=int, default=0, help='the frame to draw (default: 0)')
    group = parser.add_argument_group('a comparison with real frames instead')
    group.add_argument('--report', type=Path, metavar='FILE', help='only compare the simulation in --out with --real')
    group.add_argument('--real', type=Path, metavar='DIR', help='real frames in the KITTI layout')
    group.add_argument('--real-labels', type=Path, metavar='DIR', help='more real label_2/*.txt (default: of --real)')
    group.add_argument(
        '--real-split', default='trainval', help='list in ImageSets of --real, or its path (default: trainval)'
    )
    arguments = parser.parse_args(argv)
    if arguments.picture is not None:
        _picture(arguments)
    elif arguments.report is not None:
        _report(arguments)
    else:
        _simulate(arguments)


def _simulate(arguments: argparse.Namespace) -> None:
    from ssal3d.simulation.drive_writer import simulate_waymo
    from ssal3d.simulation.presets import sensor_preset
    from ssal3d.simulation.writer import simulate_kitti

    out = _required(arguments.out, '--out')
    val = arguments.val
    if val is None:
        if not 0 <= arguments.val_share < 1:
            raise UserError(f'--val-share: found {arguments.val_share}, expected 0 or more and less than 1')
        val = round(arguments.frames * arguments.val_share)
    how = {'preset': arguments.preset, 'val': val, 'workers': arguments.workers}
    if sensor_preset(arguments.preset).layout == 'waymo':
        _print_summary(simulate_waymo(out, arguments.frames, arguments.seed, **how), val)
        name = 'ssal3d::ssal/pvrcnn_waymo.py'
        _print_next(f'{as_called("ssal3d train")} {name} --cfg-options data_root={shlex.quote(str(out))}')
        return
    summary = simulate_kitti(out, arguments.frames, arguments.seed, planes=not arguments.no_planes, **how)
    _print_summary(summary, val)
    _print_next(f'{as_called("ssal3d create-data")} kitti --root-path {shlex.quote(str(out))}')


def _print_next(command: str) -> None:
    console.print(f'next: {command}', highlight=False, markup=False, soft_wrap=True)


def _print_summary(summary: dict[str, Any], val: int) -> None:
    splits = summary['splits']
    classes = sorted({name for totals in splits.values() for name in totals['objects']})
    print_table(
        f'simulated with preset {summary["preset"]}, seed {summary["seed"]}',
        ('split', 'frames', 'sequences', 'points', *classes),
        [
            (name, t['frames'], t['sequences'], t['points'], *(t['objects'].get(key, 0) for key in classes))
            for name, t in splits.items()
        ],
    )
    written = splits.get('val', {}).get('frames', 0)
    if written < val:  # the sequences that are left are longer than what is wanted
        console.print(
            f'warning: the validation split holds {written} frames, {val} were asked for: sequences stay whole; '
            'simulate more --frames',
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _picture(arguments: argparse.Namespace) -> None:
    from ssal3d.simulation.presets import sensor_preset

    if arguments.frame < 0 or arguments.seed < 0:
        raise UserError(f'--frame and --seed: found {arguments.frame} and {arguments.seed}, expected numbers >= 0')
    title = f'frame {arguments.frame}, seed {arguments.seed}, preset {arguments.preset}'
    if sensor_preset(arguments.preset).layout == 'waymo':
        from ssal3d.simulation.drive_frame import simulate_drive_frame
        from ssal3d.simulation.drive_picture import write_drive_picture

        drive = simulate_drive_frame(arguments.seed, arguments.frame, arguments.preset)
        write_drive_picture(arguments.picture, drive, f'{title}: {drive.style}')
    else:
        from ssal3d.simulation.frame import simulate_frame
        from ssal3d.simulation.picture import write_picture

        frame = simulate_frame(arguments.seed, arguments.frame, arguments.preset)
        write_picture(arguments.picture, frame, f'{title}: {frame.style}')
    console.print(f'wrote {arguments.picture}', highlight=False, soft_wrap=True)


def _report(arguments: argparse.Namespace) -> None:
    from ssal3d.simulation.realism import compare
    from ssal3d.simulation.realism_figure import write_report

    simulated, real = _required(arguments.out, '--out'), _required(arguments.real, '--real')
    quantities = compare(simulated, real, arguments.real_labels, arguments.real_split)
    write_report(arguments.report, quantities)
    print_table(
        'simulated against real, worst first',
        ('quantity', 'distance', 'simulated mean', 'real mean', 'simulated', 'real'),
        [(q.name, q.distance, q.simulated_mean, q.real_mean, *q.sizes) for q in quantities],
    )


def _required(path: Path | None, option: str) -> Path:
    if path is None:
        raise UserError(f'{option} is missing; name a folder')
    return path
