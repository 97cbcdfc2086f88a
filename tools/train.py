"""Train: a whole S-SSAL experiment, one of its stages, or any MMDetection3D config.

Example:
    python tools/train.py configs/ssal/pvrcnn_kitti.py
    python tools/train.py configs/ssal/pvrcnn_kitti.py --resume
    torchrun --nproc_per_node 4 tools/train.py configs/ssal/pvrcnn_kitti.py --launcher pytorch
"""

import argparse

from ssal3d.errors import command


@command
def main() -> None:
    """Build the runner of a config and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    from ssal3d.launch import add_common_options, default_work_dir, load_config

    add_common_options(parser)
    parser.add_argument('--work-dir', help='folder of logs, checkpoints and results (default: work_dirs/CONFIG)')
    parser.add_argument('--resume', action='store_true', help='go on where the run in the work dir stopped')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision (a GPU, or a CPU with bfloat16)')
    arguments = parser.parse_args()

    from ssal3d.models.loading import newest_checkpoint
    from ssal3d.models.mixed_precision import in_mixed_precision
    from ssal3d.runner import QuietRunner

    config = load_config(arguments)
    config.work_dir = default_work_dir(arguments, config)
    config.resume = arguments.resume
    if config.resume and config.get('load_from'):  # a stage by hand: MMEngine would resume from where it started
        newest = newest_checkpoint(config.work_dir)
        config.resume, config.load_from = newest is not None, str(newest or config.load_from)
    if arguments.amp:
        in_mixed_precision(config.optim_wrapper)
    QuietRunner.from_cfg(config).train()


if __name__ == '__main__':
    main()
