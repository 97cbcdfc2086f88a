"""Defects of MMEngine in training: the momentum of stock schedules, and several processes without CUDA."""

import inspect
import logging
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from ssal3d.compat.fix import Fix, replace_everywhere


def _stock_momentum_is_a_ratio() -> bool:
    import mmdet3d

    schedule = Path(mmdet3d.__file__).parent / '.mim' / 'configs' / '_base_' / 'schedules' / 'cyclic-40e.py'
    return not schedule.exists() or 'eta_min=1,' in schedule.read_text()


def mend_cyclic_momentum(schedulers: Sequence[Any]) -> list[Any]:
    """Read `eta_min` of cosine momentum schedulers as a ratio where it cannot be a momentum.

    MMDetection3D's cyclic schedules give 0.85 / 0.95 and 1, ratios to the initial 0.95, but MMEngine takes them as
    momenta: Adam's first beta would end at 1 and the model would stop learning.

    Args:
        schedulers: Configs of parameter schedulers, or built ones (those are left alone).

    Returns:
        The configs, with `eta_min_ratio` in place of `eta_min` in every cosine momentum scheduler if one of them asks
        for a momentum of 1 or more.
    """
    absurd = any(_is_cosine_momentum(config) and (config.get('eta_min') or 0) >= 1 for config in schedulers)
    if not absurd:
        return list(schedulers)
    mended = []
    for config in schedulers:
        if _is_cosine_momentum(config) and config.get('eta_min') is not None:
            config = {name: value for name, value in config.items() if name != 'eta_min'} | {
                'eta_min_ratio': config['eta_min']
            }
        mended.append(config)
    return mended


def _is_cosine_momentum(config: Any) -> bool:
    return isinstance(config, dict) and str(config.get('type', '')).endswith('CosineAnnealingMomentum')


def _mend_momentum_when_built() -> None:
    from mmengine.logging import print_log
    from mmengine.runner import Runner

    build = Runner._build_param_scheduler

    @wraps(build)
    def mend_and_build(self: Any, scheduler: Any, optim_wrapper: Any) -> list:
        given = list(scheduler) if isinstance(scheduler, Sequence) else [scheduler]
        mended = mend_cyclic_momentum(given)
        if mended != given:
            print_log(
                'momentum schedule: eta_min of 1 or more cannot be a momentum; eta_min was read as a ratio to the '
                'initial momentum (ssal3d.compat, cyclic-momentum)',
                logger='current',
                level=logging.WARNING,
            )
        return build(self, mended, optim_wrapper)

    Runner._build_param_scheduler = mend_and_build


def _wrapper_passes_device_ids() -> bool:
    from mmengine.runner import Runner

    return "device_ids=[int(os.environ['LOCAL_RANK'])]" in inspect.getsource(Runner.wrap_model)


def _wrap_cpu_modules_without_device() -> None:
    from mmengine.model import MMDistributedDataParallel

    init = MMDistributedDataParallel.__init__

    @wraps(init)
    def init_by_device(self: Any, module: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        if all(parameter.device.type == 'cpu' for parameter in module.parameters()):
            kwargs.pop('device_ids', None)
            kwargs.pop('output_device', None)
        init(self, module, *args, **kwargs)

    MMDistributedDataParallel.__init__ = init_by_device


def _launchers_need_cuda() -> bool:
    from mmengine.device import get_device
    from mmengine.dist.utils import _init_dist_pytorch

    return get_device() == 'cpu' and 'torch.cuda.set_device(local_rank)' in inspect.getsource(_init_dist_pytorch)


def _launch_on_cpu() -> None:
    from mmengine.dist import init_dist

    @wraps(init_dist)
    def init_without_cuda(launcher: str, backend: str = 'nccl', **kwargs: Any) -> None:
        set_device = torch.cuda.set_device
        torch.cuda.set_device = lambda device: None  # all launchers call it
        try:
            init_dist(launcher, 'gloo' if 'nccl' in backend else backend, **kwargs)
        finally:
            torch.cuda.set_device = set_device

    replace_everywhere(init_dist, init_without_cuda)


FIXES = (
    Fix(
        name='cyclic-momentum',
        problem="The stock cyclic schedules give momentum ratios as momenta: Adam's first beta ends at 1.0.",
        link='https://github.com/open-mmlab/mmdetection3d/issues/3115',
        needs=('mmengine', 'mmdet3d'),
        is_needed=_stock_momentum_is_a_ratio,
        apply=_mend_momentum_when_built,
    ),
    Fix(
        name='cpu-data-parallel',
        problem='Runner gives DistributedDataParallel device_ids, which modules on the CPU refuse.',
        link='https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/runner/runner.py#L900',
        needs=('mmengine',),
        is_needed=_wrapper_passes_device_ids,
        apply=_wrap_cpu_modules_without_device,
    ),
    Fix(
        name='cpu-launchers',
        problem='init_dist calls torch.cuda.set_device and defaults to NCCL, also on machines without CUDA.',
        link='https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/dist/utils.py#L127',
        needs=('mmengine',),
        is_needed=_launchers_need_cuda,
        apply=_launch_on_cpu,
    ),
)
