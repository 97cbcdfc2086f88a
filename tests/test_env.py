import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy
import pytest
import torch

from ssal3d import compat, env, mmcv_stand_in

ROOT = Path(__file__).resolve().parents[1]
TORCH = version('torch')  # `torch.__version__` may say more: the build
PACKAGES = (
    'ssal3d',
    'python',
    'torch',
    'mmengine',
    'mmcv',
    'mmdet',
    'mmdet3d',
    'numpy',
    'numba',
    'pyarrow',
    'scikit-learn',
)


def test_the_report_names_what_is_installed():
    report = env.collect()
    assert report['versions']['torch'] == TORCH
    assert report['versions']['numpy'] == numpy.__version__
    operators = report['versions']['mmcv operators']
    assert (
        operators == 'CPU kernels of ssal3d (mmcv-lite)'
        if mmcv_stand_in.is_used()
        else operators.startswith('compiled')
    )
    assert report['versions']['mmcv'].startswith('mmcv')
    assert re.fullmatch(r'spconv\S* \S+ \((with CUDA|for the CPU)\)', report['versions']['spconv'])
    assert report['devices']['gpu support'].startswith('no GPU: ')  # the tests hide it
    assert set(PACKAGES) | {'cuda', 'spconv', 'mmcv operators'} == set(report['versions'])
    assert not [name for name, version in report['versions'].items() if env.NOT_INSTALLED in version]
    assert report['devices']['cores'] >= 1
    assert report['devices']['cpu']
    assert len(report['devices']['gpus']) == torch.cuda.device_count()
    assert list(report['fixes']) == [fix.name for fix in (*compat.FIXES, *compat.PREFERENCES)]
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(
    ('missing', 'lines'),
    [
        (('torch',), [('versions', 'cuda'), ('devices', 'threads'), ('devices', 'gpus')]),
        (('ssal3d.compat',), [('fixes', None)]),
    ],
)
def test_missing_packages_are_reported(missing, lines):
    hidden = {name: None for name in sys.modules if name.split('.')[0] in missing or name in missing} | dict.fromkeys(
        missing
    )
    with mock.patch.dict(sys.modules, hidden), mock.patch.object(env, 'version', side_effect=env.PackageNotFoundError):
        if 'ssal3d.compat' in missing:
            with mock.patch.object(sys.modules['ssal3d'], 'compat', create=True):
                delattr(sys.modules['ssal3d'], 'compat')
                report = env.collect()
        else:
            report = env.collect()
    assert report['versions']['numpy'] == env.NOT_INSTALLED
    for section, name in lines:
        answer = report[section] if name is None else report[section][name]
        assert answer.startswith((env.NOT_INSTALLED, 'ImportError'))


def test_a_broken_package_does_not_break_the_report():
    with mock.patch('torch.cuda.device_count', side_effect=RuntimeError('driver too old')):
        assert env.collect()['devices']['gpus'] == 'RuntimeError: driver too old'


def test_a_gpu_that_torch_cannot_use_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0')
    monkeypatch.setattr(env, 'DRIVER', tmp_path / 'version')
    assert env.collect()['devices']['gpu support'] == 'no GPU: there is no NVIDIA driver'
    env.DRIVER.write_text('NVRM version: NVIDIA UNIX x86_64 Kernel Module  525.60.13\nGCC version: 12\n')
    with mock.patch.object(torch.version, 'cuda', '13.0'):
        answer = env.collect()['devices']['gpu support']
    assert '525.60.13), but torch, built for 13.0, cannot use it' in answer


def test_without_operators_and_spconv():
    with mock.patch.object(env.mmcv_stand_in, 'is_used', return_value=True):
        assert env.collect()['versions']['mmcv operators'] == 'CPU kernels of ssal3d (mmcv-lite)'
    for cuda, expected in (('12.6', 'compiled for CUDA 12.6'), ('not available', 'compiled for the CPU')):
        with (
            mock.patch.object(env.mmcv_stand_in, 'is_used', return_value=False),
            mock.patch('mmcv.ops.get_compiling_cuda_version', return_value=cuda),
        ):
            assert env.collect()['versions']['mmcv operators'] == expected
    with mock.patch.object(env, 'distributions', return_value=[]):
        assert env.collect()['versions']['spconv'] == env.NOT_INSTALLED


@pytest.mark.parametrize('options', [[], ['--json']])
def test_the_command(options):
    command = [sys.executable, '-W', 'ignore', '-m', 'ssal3d.env', *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    if options:
        assert set(json.loads(run.stdout)) == {'versions', 'devices', 'fixes'}
    else:
        assert f'  {"torch":<28}{TORCH}\n' in run.stdout
        assert f'  {compat.FIXES[0].name:<28}' in run.stdout
