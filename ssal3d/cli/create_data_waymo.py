"""``create-data waymo``: the options and what it does."""

import argparse
from pathlib import Path
from typing import Any

from ssal3d.cli.arguments import extra_tag
from ssal3d.errors import UserError


def add_waymo(parser: argparse.ArgumentParser) -> None:
    """Add the options of the Waymo converter."""
    group = parser.add_argument_group('what is read')
    group.add_argument(
        '--root-path',
        type=Path,
        required=True,
        help='folder with training, validation, testing; in them *.tfrecord (version 1) or lidar/*.parquet, ... (version 2)',
    )
    group.add_argument('--splits', nargs='+', metavar='NAME', help='splits to convert (default: all that are there)')
    group.add_argument(
        '--interval',
        nargs='+',
        default=[],
        metavar='SPLIT=N',
        help='convert every N-th frame of a segment (default: training=20 validation=10 testing=10)',
    )
    group.add_argument(
        '--keep-no-label-zones',
        action='store_true',
        help='keep points in zones that nobody labelled (default: drop them)',
    )
    on_error(group, 'segment', 'quarantine_*.json')
    group = writing(parser, 'waymo')
    group.add_argument(
        '--shard',
        default='0/1',
        metavar='I/N',
        help='convert segments I, I + N, I + 2 N, ... only, for several machines',
    )
    parser.set_defaults(run=convert)


def on_error(group: Any, unit: str, listed_in: str) -> None:
    """Add what every converter does with data that cannot be read.

    Args:
        group: Group of what is read.
        unit: What is left out at once.
        listed_in: Where it is listed.
    """
    group.add_argument(
        '--on-error',
        choices=('stop', 'quarantine'),
        default='stop',
        help=f'stop at a bad {unit}, or leave bad ones out and list them in {listed_in} (default: stop)',
    )


def writing(parser: argparse.ArgumentParser, tag: str, default: str | None = None) -> Any:
    """Add where every converter writes, under which names and with how many processes; returns the group.

    Args:
        parser: The converter's options.
        tag: Prefix of the annotation files.
        default: Where it writes if nothing is said; without it, something must be said.
    """
    group = parser.add_argument_group('what is written')
    where = 'where to write' if default is None else f'where to write (default: {default})'
    group.add_argument('--out-dir', type=Path, required=default is None, help=where)
    group.add_argument(
        '--extra-tag', type=extra_tag, default=tag, help=f'prefix of the annotation files (default: {tag})'
    )
    group.add_argument('--workers', type=int, help='number of processes (default: one for each core)')
    return group


def convert(*, root_path: Path, interval: list[str], shard: str, **options: Any) -> None:
    """Convert and print what came of it."""
    from ssal3d.data.waymo_converter import convert_waymo
    from ssal3d.data.waymo_infos import CATEGORIES
    from ssal3d.terminal import console, print_table

    part, _, parts = shard.partition('/')
    if not (part.isdecimal() and parts.isdecimal()):
        raise UserError(f"--shard: found '{shard}', expected I/N, e.g. 0/8")
    intervals = _intervals(interval)
    summaries = convert_waymo(root_path, intervals=intervals, shard=(int(part), int(parts)), **options)
    print_table(
        'converted',
        (
            'split',
            'segments',
            'of',
            'quarantined',
            'frames',
            'points',
            'in no-label zones',
            *CATEGORIES,
            'without points',
        ),
        [
            (
                *(s.name, s.segments, s.of_segments, s.quarantined, s.counts['frames'], s.counts['points']),
                *(s.counts['in_no_label_zone'], *(s.counts[name] for name in CATEGORIES), s.counts['without_points']),
            )
            for s in summaries
        ],
    )
    for summary in summaries:
        written = f'written to {summary.infos}' if summary.infos else 'not yet written: other segments are missing'
        console.print(f'{summary.name}: annotations {written}', highlight=False, markup=False, soft_wrap=True)


def _intervals(settings: list[str]) -> dict[str, int]:
    intervals = {}
    for setting in settings:
        split, _, number = setting.partition('=')
        if not number.isdecimal():
            raise UserError(f"--interval: found '{setting}', expected SPLIT=N, e.g. training=20")
        intervals[split] = int(number)
    return intervals
