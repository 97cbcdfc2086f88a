"""Train: a whole S-SSAL experiment, one of its stages, or any MMDetection3D config.

Example:
    ssal3d train configs/ssal/pvrcnn_kitti.py
    ssal3d train configs/ssal/pvrcnn_kitti.py --resume
    torchrun --nproc_per_node 4 -m ssal3d train configs/ssal/pvrcnn_kitti.py --launcher pytorch
"""

import gc

from ssal3d.cli.arguments import Words, add_config, add_launcher, add_overrides, make_parser
from ssal3d.errors import command


@command
def main(argv: Words = None) -> None:
    """Build the runner of a config and train."""
    parser = make_parser('train', __doc__)
    add_config(parser, 'config of an experiment, a stage or any training of MMDetection3D')
    group = parser.add_argument_group('the run')
    group.add_argument('--work-dir', help='folder of logs, checkpoints and results (default: work_dirs/CONFIG)')
    group.add_argument('--resume', action='store_true', help='go on where the run in the work dir stopped')
    group.add_argument('--amp', action='store_true', help='mixed precision: on a GPU, or a CPU with bfloat16')
    group.add_argument(
        '--no-check', action='store_true', help='train even if `ssal3d check` finds contradictions in the config'
    )
    add_overrides(group, 'randomness.seed=1')
    add_launcher(group)
    arguments = parser.parse_args(argv)

    from ssal3d.checks import refuse_contradictions
    from ssal3d.launch import default_work_dir, load_config
    from ssal3d.models.loading import newest_checkpoint
    from ssal3d.models.mixed_precision import in_mixed_precision
    from ssal3d.runner import QuietRunner

    config = load_config(arguments, 'model', 'train_cfg', 'train_dataloader', 'optim_wrapper')
    if not arguments.no_check:
        refuse_contradictions(config)
    config.work_dir = default_work_dir(arguments, config)
    config.resume = arguments.resume
    if config.resume and config.get('load_from'):  # a stage by hand: MMEngine would resume from where it started
        newest = newest_checkpoint(config.work_dir)
        config.resume, config.load_from = newest is not None, str(newest or config.load_from)
    if arguments.amp:
        in_mixed_precision(config.optim_wrapper)
    gc.freeze()  # MMEngine collects garbage for every data set; half a million imported objects are none
    QuietRunner.from_cfg(config).train()
