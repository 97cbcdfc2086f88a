"""Predict the unlabelled pool and write the prediction contract (Parquet) that every sampler reads.

By default it writes the columns that the config's active_sampler reads. A killed run goes on where it stopped when it
is started again; several processes share the work.

Example:
    python tools/predict_pool.py configs/ssal/pvrcnn_kitti.py epoch_80.pth --out predictions --labels round_0.json
    torchrun --nproc_per_node 4 tools/predict_pool.py CONFIG CHECKPOINT --out predictions --launcher pytorch
"""

import argparse
from pathlib import Path

from ssal3d.errors import UserError, command


@command
def main() -> None:
    """Load a detector and predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    from ssal3d.launch import add_common_options, load_config

    add_common_options(parser)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('--out', type=Path, required=True, help='folder of the part-*.parquet files')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--frames', type=Path, help='text file with the frame ids to predict, one a line')
    which.add_argument('--labels', type=Path, help='label state; labelled frames are left out')
    parser.add_argument('--labelled', action='store_true', help='predict the labelled frames of --labels instead')
    parser.add_argument('--fields', help="columns, comma-separated (default: a usual set and the config's sampler's)")
    parser.add_argument('--batch-size', type=int, default=1, help='frames per forward')
    parser.add_argument('--num-workers', type=int, default=1, help='loader processes')
    arguments = parser.parse_args()

    from mmdet3d.registry import DATASETS
    from mmengine import dist
    from mmengine.registry import init_default_scope

    from ssal3d.active import RandomSampler
    from ssal3d.fileio import sha256
    from ssal3d.models.loading import load_detector
    from ssal3d.predictions.pool_inference import predict_pool, usual_fields
    from ssal3d.registry import ACTIVE_SAMPLERS
    from ssal3d.terminal import console

    config = load_config(arguments)
    if arguments.launcher != 'none':
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
    usual = sampler.labelled_fields if arguments.labelled else (*usual_fields(model), *sampler.required_fields)
    timing = predict_pool(
        model,
        view,
        arguments.out,
        fields=arguments.fields.split(',') if arguments.fields else tuple(dict.fromkeys(usual)),
        extraction=sampler.extraction,
        metadata={'checkpoint_sha256': sha256(arguments.checkpoint)},
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
    )
    console.print(f'{arguments.out}: {timing}')


if __name__ == '__main__':
    main()
