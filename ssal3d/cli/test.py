"""Measure a trained detector with a config's test data and metrics.

Example:
    ssal3d test configs/ssal/pvrcnn_kitti.py work_dirs/pvrcnn_kitti/final/final_cpsp/epoch_80.pth
"""

from ssal3d.cli.arguments import Words, add_config, add_launcher, add_overrides, make_parser
from ssal3d.errors import command


@command
def main(argv: Words = None) -> None:
    """Load a checkpoint and run the test loop."""
    parser = make_parser('test', __doc__)
    add_config(parser, 'config of the experiment or of MMDetection3D')
    parser.add_argument('checkpoint', help='checkpoint to measure')
    group = parser.add_argument_group('the run')
    group.add_argument('--work-dir', help='folder of logs and results (default: work_dirs/CONFIG)')
    add_overrides(group, 'test_dataloader.num_workers=0')
    add_launcher(group)
    arguments = parser.parse_args(argv)

    from ssal3d.launch import default_work_dir, load_config
    from ssal3d.models.loading import require_checkpoint
    from ssal3d.runner import QuietRunner

    config = load_config(arguments, 'model', 'test_cfg', 'test_dataloader', 'test_evaluator')
    config.work_dir = default_work_dir(arguments, config)
    if '://' not in arguments.checkpoint:
        require_checkpoint(arguments.checkpoint)
    config.load_from = arguments.checkpoint
    # Testing needs no optimiser, and an experiment's loop has nothing to test.
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'custom_hooks'):
        config.pop(key, None)
    QuietRunner.from_cfg(config).test()
