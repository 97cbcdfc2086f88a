"""What this installation consists of: versions, devices, workarounds in use.

Everything is optional here: what is missing is reported as not installed, what fails as its error.

Example:
    ssal3d env
    ssal3d env --json
"""

import json
import os
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ssal3d import mmcv_stand_in
from ssal3d.cli.arguments import Words, make_parser
from ssal3d.machine import cpu_name, own_version

NOT_INSTALLED = 'not installed'
DRIVER = Path('/proc/driver/nvidia/version')
PACKAGES = ('torch', 'mmengine', 'mmdet', 'mmdet3d', 'numpy', 'numba', 'pyarrow', 'scikit-learn')


def collect() -> dict[str, Any]:
    """Return versions, devices and compatibility fixes as plain JSON values; raises nothing.

    Returns:
        ``versions`` by package, ``devices`` (``cpu``, ``cores``, ``threads``, ``gpus``, ``gpu support``) and
        ``fixes`` by name, preferred kernels among them: ``'applied'``, ``'needed'`` or ``'not needed'``.
    """
    versions = {'ssal3d': own_version(), 'python': platform.python_version()}
    versions |= {package: _version(package) for package in PACKAGES}
    versions['cuda'] = _guard(_cuda)
    versions['mmcv'] = _build_of('mmcv')
    versions['mmcv operators'] = _guard(_operators)
    versions['spconv'] = _guard(_spconv)
    devices = {
        'cpu': cpu_name(),
        'cores': os.cpu_count(),
        'threads': _guard(_threads),
        'gpus': _guard(_gpus),
        'gpu support': _guard(_gpu_support),
    }
    return {'versions': versions, 'devices': devices, 'fixes': _guard(_fixes)}


def _guard(question: Callable[[], Any]) -> Any:
    """Return the answer, or why there is none: a report on a broken installation must not break itself."""
    try:
        return question()
    except ModuleNotFoundError as error:
        return f'{NOT_INSTALLED} ({error.name})'
    except Exception as error:
        return f'{type(error).__name__}: {error}'


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED


def _cuda() -> str:
    import torch

    return torch.version.cuda or 'none (torch was built for the CPU)'


def _operators() -> str:
    if find_spec('mmcv') is None:
        return NOT_INSTALLED
    if mmcv_stand_in.is_used():
        return 'CPU kernels of ssal3d (mmcv-lite)'
    from ssal3d.devices import mmcv_cuda

    cuda = mmcv_cuda()
    return 'compiled for the CPU' if cuda is None else f'compiled for CUDA {cuda}'


def _spconv() -> str:
    """Return name, version and devices of the installed build."""
    build = _build_of('spconv')
    if build == NOT_INSTALLED:
        return build
    from ssal3d.devices import spconv_has_cuda

    return f'{build} ({"with CUDA" if spconv_has_cuda() else "for the CPU"})'


def _build_of(package: str) -> str:
    """Return name and version of whichever build is installed, e.g. ``spconv-cu120 2.3.6`` or ``mmcv-lite 2.1.0``."""
    builds = {
        f'{item.metadata["Name"]} {item.version}'
        for item in distributions()
        if str(item.metadata['Name']).lower().split('-')[0] == package
    }
    return ', '.join(sorted(builds)) or NOT_INSTALLED


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _gpu_support() -> str:
    """Return whether training and prediction can use the GPU, else why not."""
    import torch

    from ssal3d.devices import gpu_problem

    return gpu_problem() or 'ready' if torch.cuda.is_available() else f'no GPU: {_why_none()}'


def _why_none() -> str:
    import torch

    if os.environ.get('CUDA_VISIBLE_DEVICES') == '':
        return 'CUDA_VISIBLE_DEVICES hides them'
    if not DRIVER.exists():
        return 'there is no NVIDIA driver'
    built = torch.version.cuda or 'the CPU only'
    return (
        f'there is a driver ({DRIVER.read_text().splitlines()[0].strip()}), but torch, built for {built}, cannot use it'
    )


def _fixes() -> dict[str, str]:
    from ssal3d import compat

    return compat.states()


def main(argv: Words = None) -> None:
    """Print the report as tables, or as JSON."""
    parser = make_parser('env', __doc__)
    parser.add_argument('--json', action='store_true', help='print JSON')
    as_json = parser.parse_args(argv).json
    report = collect()
    print(json.dumps(report, indent=1) if as_json else '\n'.join(_lines(report)))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    for title, rows in report.items():
        yield f'{title}:'
        for name, value in rows.items() if isinstance(rows, dict) else [('', rows)]:
            text = (', '.join(value) or 'none') if isinstance(value, list) else value
            yield f'  {name:<28}{text}'


if __name__ == '__main__':
    main()
