r"""Predict the unlabelled pool and write the prediction contract (Parquet) that every sampler reads.

By default it writes the columns that the config's active_sampler reads. A run that was killed continues where
it stopped when it is started again; several processes share the work.

Example:
    ssal3d predict configs/ssal/pvrcnn_kitti.py epoch_80.pth --out predictions --labels round_0.json
    torchrun --nproc_per_node 4 -m ssal3d predict CONFIG CHECKPOINT --out predictions --launcher pytorch
    torchrun --nnodes 2 --node_rank 0 --master_addr HOST --nproc_per_node 8 -m ssal3d predict CONFIG CHECKPOINT \
        --out SHARED/predictions --launcher pytorch
    ssal3d predict CONFIG CHECKPOINT --out SHARED/predictions --engine ray --ray-address auto
"""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ssal3d.cli.arguments import Words, add_config, add_launcher, add_overrides, make_parser
from ssal3d.errors import UserError, command
from ssal3d.options import check_range

if TYPE_CHECKING:
    from mmengine.config import Config

    from ssal3d.predictions.part_prediction import PassTiming
    from ssal3d.predictions.pool_inference import PassPlan

PARTS = ('model', 'pool_dataset', 'test_pipeline')  # what a config must have
LOADING = {'batch_size': 1, 'num_workers': 0, 'frames_per_part': 1}  # options of loading, with their lowest values


@command
def main(argv: Words = None) -> None:
    """Load a detector and predict."""
    arguments = parse_arguments(argv)

    from ssal3d.terminal import console

    check_engine(arguments)
    timing = predict_on_ray(arguments) if arguments.engine == 'ray' else predict_here(arguments)
    console.print(f'{arguments.out}: {timing}')


def predict_here(arguments: argparse.Namespace) -> 'PassTiming':
    """Predict in this process and those that a launcher started beside it."""
    from mmengine import dist
    from mmengine.utils.dl_utils import set_multi_processing

    from ssal3d.launch import load_config
    from ssal3d.predictions.pool_inference import predict_pool

    config = load_config(arguments, *PARTS)
    if arguments.launcher != 'none':
        set_multi_processing(**config.env_cfg.get('mp_cfg', {}), distributed=True)  # else the loader's processes spawn
        dist.init_dist(arguments.launcher, **config.env_cfg.dist_cfg)
    plan = plan_of(arguments, config)
    return predict_pool(plan.model, plan.view, arguments.out, **plan.options)


def predict_on_ray(arguments: argparse.Namespace) -> 'PassTiming':
    """Predict with the actors of Ray."""
    from ssal3d.predictions.ray_engine import predict_with_ray

    return predict_with_ray(partial(prepare, arguments), arguments.out, arguments.ray_address, arguments.ray_actors)


def prepare(arguments: argparse.Namespace, device: str | None = None) -> 'PassPlan':
    """Return what a pass needs, as a process makes it that has not begun yet: an actor of Ray.

    Args:
        arguments: Of the command.
        device: Where the model goes; the best there is by default.
    """
    from ssal3d.launch import load_config

    return plan_of(arguments, load_config(arguments, *PARTS), device)


def plan_of(arguments: argparse.Namespace, config: 'Config', device: str | None = None) -> 'PassPlan':
    """Return what a pass needs.

    Args:
        arguments: Of the command.
        config: Its config.
        device: Where the model goes; the best there is by default.

    Raises:
        UserError: If the config, the data or the checkpoint are not what they should be.
    """
    from mmdet3d.registry import DATASETS
    from mmengine.registry import init_default_scope

    from ssal3d.active import RandomSampler
    from ssal3d.active.query.settings import query_settings
    from ssal3d.fileio import sha256
    from ssal3d.models.loading import load_detector
    from ssal3d.predictions.pool_inference import PassPlan, usual_fields
    from ssal3d.registry import ACTIVE_SAMPLERS

    for key, low in LOADING.items():
        check_range(f'{arguments.config}: pool_dataloader.{key}', config.get('pool_dataloader', {}).get(key, low), low)
    init_default_scope(config.get('default_scope', 'mmdet3d'))
    dataset = dict(config.pool_dataset, pipeline=config.test_pipeline)
    labels = str(arguments.labels) if arguments.labels else None
    if arguments.labelled:
        view = DATASETS.build(dict(type='LabelledView', dataset=dataset, labels=labels))
    else:
        frames = str(arguments.frames) if arguments.frames else None
        view = DATASETS.build(dict(type='UnlabelledView', dataset=dataset, labels=labels, frames=frames))
    sampler = ACTIVE_SAMPLERS.build(config.active_sampler) if 'active_sampler' in config else RandomSampler()
    model = load_detector(config, arguments.checkpoint, device)
    projection = query_settings(config).projection_fields if 'query' in config else ()
    usual = (*usual_fields(model), *sampler.required_fields, *projection)
    usual = sampler.labelled_fields if arguments.labelled else usual
    loader = {key: getattr(arguments, key) for key in LOADING}
    options = {
        'fields': arguments.fields.split(',') if arguments.fields else tuple(dict.fromkeys(usual)),
        'extraction': sampler.extraction,
        'metadata': {'checkpoint_sha256': sha256(arguments.checkpoint)},
        **config.get('pool_dataloader', {}),
        **{key: given for key, given in loader.items() if given is not None},
    }
    return PassPlan(model, view, options)


def check_engine(arguments: argparse.Namespace) -> None:
    """Check before the work that the options go together and are in range.

    Raises:
        UserError: If not.
    """
    if arguments.labelled and not arguments.labels:
        raise UserError('--labelled needs --labels; give the label state')
    if arguments.engine == 'ray' and arguments.launcher != 'none':
        raise UserError(
            f'--engine ray: found --launcher {arguments.launcher}; Ray starts the processes itself, leave it out'
        )
    for option in ('ray_address', 'ray_actors'):
        if arguments.engine != 'ray' and getattr(arguments, option) is not None:
            raise UserError(f'--{option.replace("_", "-")} is for --engine ray; add that, or leave it out')
    for option, low in {**LOADING, 'ray_actors': 1}.items():
        if (given := getattr(arguments, option)) is not None:
            check_range(f'--{option.replace("_", "-")}', given, low)


def parse_arguments(argv: Words) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser('predict', __doc__)
    add_config(parser, 'config with pool_dataset and test_pipeline')
    parser.add_argument('checkpoint', type=Path, help='weights of the detector')
    group = parser.add_argument_group('frames')
    which = group.add_mutually_exclusive_group()
    which.add_argument('--frames', type=Path, help='text file with the frame ids to predict, one a line')
    which.add_argument('--labels', type=Path, help='label state; labelled frames are left out')
    group.add_argument('--labelled', action='store_true', help='predict the labelled frames of --labels instead')
    group = parser.add_argument_group('what is written')
    group.add_argument('--out', required=True, help='folder of the part-*.parquet files, or e.g. s3://BUCKET/PREFIX')
    group.add_argument('--fields', help="columns, comma-separated (default: a usual set and the config's sampler's)")
    group = parser.add_argument_group('the run')
    group.add_argument(
        '--batch-size', type=int, help="frames per forward (default: the config's pool_dataloader, else 1)"
    )
    group.add_argument(
        '--num-workers', type=int, help="loader processes (default: the config's pool_dataloader, else 1)"
    )
    group.add_argument(
        '--frames-per-part',
        type=int,
        help="frames per file: what a process takes at a time (default: the config's pool_dataloader, else 64)",
    )
    add_overrides(group, 'model.test_cfg.rcnn.score_thr=0.2')
    add_launcher(group)
    group = parser.add_argument_group('Ray')
    group.add_argument(
        '--engine', choices=('torch', 'ray'), default='torch', help='who runs it: this command and --launcher, or Ray'
    )
    group.add_argument('--ray-address', help='running cluster, e.g. auto or ray://HOST:10001 (default: this machine)')
    group.add_argument(
        '--ray-actors', type=int, help='processes that hold the model (default: one a GPU, else as the cores allow)'
    )
    return parser.parse_args(argv)
