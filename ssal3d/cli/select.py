r"""Select the frames to label next from prediction files; needs no GPU, no model and no data set.

Example:
    ssal3d select configs/active/cal_kitti.py --predictions predictions_cpsp \
        --reference-predictions predictions_normal --labels labels/round_0.json --out query.json
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssal3d.cli.arguments import Words, add_config, add_overrides, make_parser
from ssal3d.configs import find_config, read_config
from ssal3d.errors import ShortfallError, UserError, command
from ssal3d.fileio import read_json, read_text
from ssal3d.options import check_range
from ssal3d.plugins import import_custom
from ssal3d.terminal import console, print_table

if TYPE_CHECKING:
    from ssal3d.active import ActiveSampler, Query, QuerySettings
    from ssal3d.data.label_state import LabelState
    from ssal3d.predictions import PoolPredictions


@command
def main(argv: Words = None) -> None:
    """Read the files, select and write the query."""
    arguments = parse_arguments(argv)

    from ssal3d.active import select
    from ssal3d.active.query.inputs import describe_inputs, read_labelled, read_reference
    from ssal3d.data.label_state import LabelState

    check_out(arguments)
    config, sampler, settings = read_settings(arguments)
    labels = LabelState.read(arguments.labels)
    number = round_of(labels) if arguments.round is None else arguments.round
    seed = seed_of(config, arguments.config) + number if arguments.seed is None else arguments.seed
    paths, tables = input_paths(arguments), {'predictions': read_pool(arguments, sampler, settings, labels)}
    for role, read in (
        ('reference_predictions', read_reference),
        ('labelled_predictions', read_labelled),
        ('labelled_reference_predictions', read_labelled),
    ):
        if (folder := paths[role]) is not None:
            tables[role] = read(folder, sampler)
    query = select(
        sampler,
        tables['predictions'],
        labels,
        settings,
        seed=seed,
        reference=tables.get('reference_predictions'),
        labelled=tables.get('labelled_predictions'),
        labelled_reference=tables.get('labelled_reference_predictions'),
        dontcare_regions=read_by_frame(arguments.dontcare) if arguments.dontcare else None,
        annotate=annotator(arguments.annotations) if arguments.annotations else None,
        round_number=number,
    )
    query = replace(query, inputs=describe_inputs(paths, tables))
    query.write(arguments.out)
    show(query, arguments.out)
    if query.shortfall:
        raise ShortfallError(
            f'the pool ran out {query.shortfall:g} {settings.pricing.plural} before the budget of {settings.budget:g}; all '
            f'{len(query.frames)} frames that could be bought are in {arguments.out}; add frames to the pool or lower the '
            'budget'
        )


def parse_arguments(argv: Words) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser('select', __doc__)
    add_config(parser, 'config with active_sampler=dict(type=...) and query=dict(budget=...)')
    group = parser.add_argument_group('what to choose from')
    pool = group.add_mutually_exclusive_group(required=True)
    pool.add_argument('--predictions', help='folder with predictions for the pool')
    pool.add_argument('--frames', help='file with one frame id per line, for samplers that need no predictions')
    group.add_argument('--labels', required=True, help='label state: what is labelled already')
    group = parser.add_argument_group('what samplers may need')
    group.add_argument('--reference-predictions', help='folder with the predictions of a second model (CAL: Normal)')
    group.add_argument(
        '--labelled-predictions',
        help='folder with predictions for the labelled frames; by default those in --predictions, if all are there',
    )
    group.add_argument(
        '--labelled-reference-predictions',
        help='the same of the second model; labelled frames that it lacks tell nothing, and the query warns',
    )
    group.add_argument('--annotations', help='counts by frame and class, revealed after purchase (simulation)')
    group.add_argument('--dontcare', help='DontCare rectangles in pixels by frame: labels that nobody bought (oracle)')
    group = parser.add_argument_group('the query')
    group.add_argument('--budget', type=number_of, help='what to spend (default: query.budget of the config)')
    group.add_argument(
        '--unit',
        type=unit_of,
        help='what the budget counts: boxes, frames, or frame=10,box=2.5 (default: query.unit of the config)',
    )
    group.add_argument(
        '--seed', type=int, help="seed of the query (default: the config's randomness.seed, else 0, plus the round)"
    )
    group.add_argument('--round', type=int, help='number of the query (default: last round of the labels + 1)')
    add_overrides(group, 'active_sampler.t_sim=0.8')
    group.add_argument('--out', required=True, help='query.json to write')
    group.add_argument('--force', action='store_true', help='write over a query that is there')
    arguments = parser.parse_args(argv)
    for option in ('seed', 'round'):
        if (given := getattr(arguments, option)) is not None:
            check_range(f'--{option}', given)
    return arguments


def number_of(word: str) -> float:
    """Return the number that a word spells, an integer where it is one."""
    value = float(word)
    return int(value) if value.is_integer() else value


def unit_of(word: str) -> str | dict[str, float]:
    """Return the unit of a budget that a word spells.

    >>> unit_of('frames'), unit_of('frame=10,box=2.5')
    ('frames', {'frame': 10, 'box': 2.5})
    """
    if '=' not in word:
        return word
    return {name.strip(): number_of(value) for name, _, value in (part.partition('=') for part in word.split(','))}


def check_out(arguments: argparse.Namespace) -> None:
    """Check before the work that the query can be written.

    Raises:
        UserError: If a query is there already, with which people may be working, or another file, with or without
            ``--force``: it may be a label state or predictions.
    """
    from ssal3d.active import Query

    out = Path(arguments.out)
    if out.is_dir():
        raise UserError(f'--out {out}: is a folder; name a file, e.g. {out}/query.json')
    if out.exists() and not arguments.force:
        raise UserError(f'--out {out}: there is a file already; choose another name, or add --force to write over it')
    if out.exists():
        try:
            Query.read(out)
        except UserError:
            raise UserError(
                f'--out {out}: this file is no query, and --force writes over queries only; choose another name'
            ) from None


def seed_of(config: Mapping[str, Any], path: str) -> int:
    """Return the seed that a config gives; 0 where it gives none, as MMEngine's default, ``seed=None``, does.

    Args:
        config: With or without ``randomness=dict(seed=...)``.
        path: Where it stands, for the message.

    Raises:
        UserError: If the seed is no whole number from 0.
    """
    randomness = config.get('randomness') or {}
    if not isinstance(randomness, Mapping):
        raise UserError(f'{path}: found randomness={randomness!r}, expected a dictionary, e.g. dict(seed=0)')
    seed = randomness.get('seed')
    if seed is None:
        return 0
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f'{path}: found randomness.seed={seed!r}, expected a whole number from 0; or give --seed')
    return seed


def round_of(labels: 'LabelState') -> int:
    """Return the number of the next query."""
    return max((frame.round for frame in labels.frames), default=-1) + 1


def read_settings(arguments: argparse.Namespace) -> tuple[dict[str, Any], 'ActiveSampler', 'QuerySettings']:
    """Read an mm-style config and apply the overrides.

    The modules that it lists in ``custom_imports`` are imported only if its sampler or unit is not one of ours: those
    that training needs may not be installed here.

    Returns:
        The config, the sampler, and the settings of the query.

    Raises:
        UserError: If the file cannot be read or neither it nor the command line gives a sampler and a budget.
    """
    from ssal3d.active.query.settings import query_settings
    from ssal3d.registry import ACTIVE_SAMPLERS, BUDGET_UNITS, is_known

    path = arguments.config
    config = read_config(path, arguments.cfg_options, custom_imports=False).to_dict()
    if 'active_sampler' not in config:
        raise UserError(
            f"{path}: active_sampler is missing; add active_sampler=dict(type='CALSampler') as in configs/active/"
        )
    given = {'budget': arguments.budget, 'unit': arguments.unit}
    try:
        settings = query_settings(
            config, {'query': {name: value for name, value in given.items() if value is not None}}
        )
    except UserError as error:
        raise UserError(f'{path}: {error}') from None
    unit = settings.unit if isinstance(settings.unit, Mapping) else {}
    if not (is_known(config['active_sampler'], ACTIVE_SAMPLERS) and is_known(unit, BUDGET_UNITS)):
        import_custom(config, find_config(path), without='ssal3d')
    return config, ACTIVE_SAMPLERS.build(config['active_sampler']), settings


def input_paths(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Return the files and folders that a query reads, by role."""
    roles = (
        *('labels', 'predictions', 'frames', 'labelled_predictions', 'reference_predictions'),
        *('labelled_reference_predictions', 'annotations', 'dontcare'),
    )
    return {role: getattr(arguments, role) for role in roles}


def read_pool(
    arguments: argparse.Namespace, sampler: 'ActiveSampler', settings: 'QuerySettings', labels: 'LabelState'
) -> 'PoolPredictions':
    """Read the pool's predictions, or its ids alone for a sampler that needs no more."""
    from ssal3d.active import pool_of_ids
    from ssal3d.active.query import inputs

    with_dontcare = arguments.dontcare is not None
    if arguments.predictions:
        return inputs.read_pool(arguments.predictions, sampler, settings, with_dontcare)
    if sampler.uses_predictions or (with_dontcare and settings.projection_fields):
        reader = type(sampler).__name__ if sampler.uses_predictions else f'dontcare={settings.dontcare!r}'
        raise UserError(
            f'--frames is for samplers that need no predictions, but {reader} reads them; give --predictions'
        )
    ids = read_text(arguments.frames, 'expected frame ids, one a line').split()
    if not ids:
        raise UserError(f'{arguments.frames}: found no frame id, expected one a line')
    return pool_of_ids(ids, labels.classes)


def annotator(path: str) -> Callable[[str], Mapping[str, int]]:
    """Return a function that looks up the boxes of one frame by class in a file of counts."""
    counts = read_by_frame(path)

    def annotate(frame_id: str) -> Mapping[str, int]:
        found = counts.get(frame_id)
        if not isinstance(found, Mapping):
            raise UserError(
                f'{path}: found {found!r} for frame {frame_id}, expected its boxes by class; add the frame, with {{}} '
                'if it holds no objects'
            )
        return found

    return annotate


def read_by_frame(path: str) -> Mapping[str, Any]:
    """Read a JSON object with one entry per frame id."""
    content = read_json(path, schema=False)
    if not isinstance(content, Mapping):
        raise UserError(f'{path}: found {type(content).__name__}, expected a JSON object with one entry per frame id')
    return content


def show(query: 'Query', path: str) -> None:
    """Print what was chosen."""
    from ssal3d.active.query.report import class_table, describe

    for line in describe(query, warnings=len(query.warnings)):
        console.print(line, highlight=False, markup=False)
    print_table(*class_table(query))
    console.print(f'written to {path}', highlight=False, markup=False)
