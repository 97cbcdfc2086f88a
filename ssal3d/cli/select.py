r"""Select the frames to label next from prediction files; needs no GPU, no model and no data set.

Example:
    ssal3d select configs/active/cal_kitti.py --predictions predictions_cpsp \
        --reference-predictions predictions_normal --labels labels/round_0.json --out query.json
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssal3d.cli.arguments import Words, add_config, add_overrides, make_parser
from ssal3d.configs import read_config
from ssal3d.errors import ShortfallError, UserError, command
from ssal3d.fileio import read_json
from ssal3d.terminal import console, print_table

if TYPE_CHECKING:
    from ssal3d.active import ActiveSampler, Query
    from ssal3d.data.label_state import LabelState
    from ssal3d.predictions import PoolPredictions


@command
def main(argv: Words = None) -> None:
    """Read the files, select and write the query."""
    arguments = parse_arguments(argv)

    from ssal3d.active import select
    from ssal3d.data.label_state import LabelState
    from ssal3d.predictions import read_predictions
    from ssal3d.registry import ACTIVE_SAMPLERS

    config = read_settings(arguments)
    sampler: ActiveSampler = ACTIVE_SAMPLERS.build(config['active_sampler'])
    labels = LabelState.read(arguments.labels)
    reference, labelled = arguments.reference_predictions, arguments.labelled_predictions
    query = select(
        sampler,
        read_pool(arguments, sampler, labels),
        labels,
        budget=config['budget'],
        seed=config['seed'],
        reference=read_predictions(reference, sampler.reference_fields) if reference else None,
        labelled=read_predictions(labelled, sampler.labelled_fields, sampler.optional_fields) if labelled else None,
        dontcare=read_by_frame(arguments.dontcare) if arguments.dontcare else None,
        annotate=annotator(arguments.annotations) if arguments.annotations else None,
        stop_rule=config.get('stop_rule', 'include_crossing'),
        empty_cost=config.get('empty_cost', 0),
        round_number=arguments.round,
    )
    query.write(arguments.out)
    show(query, arguments.out)
    if query.shortfall:
        raise ShortfallError(
            f'the pool ran out {query.shortfall} boxes before the budget of {query.budget}; all {len(query.frames)} '
            f'frames that could be bought are in {arguments.out}; add frames to the pool or lower the budget'
        )


def parse_arguments(argv: Words) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser('select', __doc__)
    add_config(parser, 'config with active_sampler=dict(type=...) and budget')
    group = parser.add_argument_group('what to choose from')
    pool = group.add_mutually_exclusive_group(required=True)
    pool.add_argument('--predictions', help='folder with predictions for the pool')
    pool.add_argument('--frames', help='file with one frame id per line, for samplers that need no predictions')
    group.add_argument('--labels', required=True, help='label state: what is labelled already')
    group = parser.add_argument_group('what samplers may need')
    group.add_argument('--reference-predictions', help='folder with the predictions of a second model (CAL: Normal)')
    group.add_argument('--labelled-predictions', help='folder with predictions for the labelled frames')
    group.add_argument('--annotations', help='counts by frame and class, revealed after purchase (simulation)')
    group.add_argument('--dontcare', help='DontCare rectangles in pixels by frame')
    group = parser.add_argument_group('the query')
    group.add_argument('--budget', type=int, help='boxes to buy (default: that of the config)')
    group.add_argument('--seed', type=int, help="seed of the query (default: the config's randomness.seed, else 0)")
    group.add_argument('--round', type=int, help='number of the query (default: last round of the labels + 1)')
    add_overrides(group, 'active_sampler.t_sim=0.8')
    group.add_argument('--out', required=True, help='query.json to write')
    return parser.parse_args(argv)


def read_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read an mm-style config, without importing the modules that it lists for training, and apply the overrides.

    Raises:
        UserError: If the file cannot be read or neither it nor the command line gives a sampler and a budget.
    """
    path = arguments.config
    settings = read_config(path, arguments.cfg_options, custom_imports=False).to_dict()
    settings['seed'] = settings.get('randomness', {}).get('seed', 0) if arguments.seed is None else arguments.seed
    if arguments.budget is not None:
        settings['budget'] = arguments.budget
    for name, example in (('active_sampler', "dict(type='CALSampler')"), ('budget', '150')):
        if name not in settings:
            raise UserError(f'{path}: {name} is missing; add {name}={example} as in configs/active/')
    return settings


def read_pool(arguments: argparse.Namespace, sampler: 'ActiveSampler', labels: 'LabelState') -> 'PoolPredictions':
    """Read the pool's predictions, or its ids alone for a sampler that needs no more."""
    from ssal3d.active import pool_of_ids
    from ssal3d.predictions import read_predictions

    if arguments.predictions:
        return read_predictions(arguments.predictions, sampler.fields_to_read(arguments.dontcare is not None))
    if sampler.fields_to_read() or not arguments.annotations:
        raise UserError('--frames is for samplers that need no predictions, with --annotations; give --predictions')
    try:
        lines = Path(arguments.frames).read_text().splitlines()
    except OSError as error:
        raise UserError(f'{arguments.frames}: not readable ({error.strerror}); check the path') from None
    return pool_of_ids([line.strip() for line in lines if line.strip()], labels.classes)


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
