"""Measure a trained detector with a config's test data and metrics.

Example:
    python tools/test.py configs/ssal/pvrcnn_kitti.py work_dirs/pvrcnn_kitti/final/semi/epoch_80.pth
"""

import argparse

from ssal3d.errors import command


@command
def main() -> None:
    """Load a checkpoint and run the test loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    from ssal3d.launch import add_common_options, default_work_dir, load_config

    add_common_options(parser)
    parser.add_argument('checkpoint', help='checkpoint to measure')
    parser.add_argument('--work-dir', help='folder of logs and results (default: work_dirs/CONFIG)')
    arguments = parser.parse_args()

    from ssal3d.runner import QuietRunner

    config = load_config(arguments)
    config.work_dir = default_work_dir(arguments, config)
    config.load_from = arguments.checkpoint
    # Testing needs no optimiser, and an experiment's loop has nothing to test.
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'custom_hooks'):
        config.pop(key, None)
    QuietRunner.from_cfg(config).test()


if __name__ == '__main__':
    main()
