r"""Predict the unlabelled pool and write the prediction contract (Parquet) that every sampler reads.

By default it writes the columns that the config's active_sampler reads. A run that was killed continues where
it stopped when it is started again; several processes share the work.

Example:
    ssal3d predict configs/ssal/pvrcnn_kitti.py epoch_80.pth --out predictions --labels round_0.json
    torchrun --nproc_per_node 4 -m ssal3d predict CONFIG CHECKPOINT --out predictions --launcher pytorch
    torchrun --nnodes 2 --node_rank 0 --master_addr HOST --nproc_per_node 8 -m ssal3d predict CONFIG CHECKPOINT \
        --out SHARED/predictions --launcher pytorch
"""

import argparse
from pathlib import Path

from ssal3d.cli.arguments import Words, add_config, add_launcher, add_overrides, make_parser
from ssal3d.errors import UserError, command


@command
def main(argv: Words = None) -> None:
    """Load a detector and predict."""
    arguments = parse_arguments(argv)

    from mmdet3d.registry import DATASETS
    from mmengine import dist
    from mmengine.registry import init_default_scope
    from mmengine.utils.dl_utils import set_multi_processing

    from ssal3d.active import RandomSampler
    from ssal3d.active.query.settings import query_settings
    from ssal3d.fileio import sha256
    from ssal3d.launch import load_config
    from ssal3d.models.loading import load_detector
    from ssal3d.predictions.pool_inference import predict_pool, usual_fields
    from ssal3d.registry import ACTIVE_SAMPLERS
    from ssal3d.terminal import console

    config = load_config(arguments)
    if arguments.launcher != 'none':
        set_multi_processing(**config.env_cfg.get('mp_cfg', {}), distributed=True)  # else the loader's processes spawn
        dist.init_dist(arguments.launcher, **config.env_cfg.dist_cfg)
    init_default_scope(config.get('default_scope', 'mmdet3d'))
    if 'pool_dataset' not in config or 'test_pipeline' not in config:
        raise UserError(
            f'{arguments.config}: lacks pool_dataset or test_pipeline; inherit from configs/_base_/datasets'
        )
    if arguments.labelled and not arguments.labels:
        raise UserError('--labelled needs --labels; give the label state')
    dataset = dict(config.pool_dataset, pipeline=config.test_pipeline)
    labels = str(arguments.labels) if arguments.labels else None
    if arguments.labelled:
        view = DATASETS.build(dict(type='LabelledView', dataset=dataset, labels=labels))
    else:
        frames = str(arguments.frames) if arguments.frames else None
        view = DATASETS.build(dict(type='UnlabelledView', dataset=dataset, labels=labels, frames=frames))
    sampler = ACTIVE_SAMPLERS.build(config.active_sampler) if 'active_sampler' in config else RandomSampler()
    model = load_detector(config, arguments.checkpoint)
    projection = query_settings(config).projection_fields if 'query' in config else ()
    usual = (*usual_fields(model), *sampler.required_fields, *projection)
    usual = sampler.labelled_fields if arguments.labelled else usual
    loader = {key: getattr(arguments, key) for key in ('batch_size', 'num_workers', 'frames_per_part')}
    loader = {**config.get('pool_dataloader', {}), **{key: given for key, given in loader.items() if given is not None}}
    timing = predict_pool(
        model,
        view,
        arguments.out,
        fields=arguments.fields.split(',') if arguments.fields else tuple(dict.fromkeys(usual)),
        extraction=sampler.extraction,
        metadata={'checkpoint_sha256': sha256(arguments.checkpoint)},
        **loader,
    )
    console.print(f'{arguments.out}: {timing}')


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
    group.add_argument('--out', type=Path, required=True, help='folder of the part-*.parquet files')
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
    return parser.parse_args(argv)
