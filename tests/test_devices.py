"""What is said when torch sees a GPU that the installed packages cannot use; the GPU is imagined."""

from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from ssal3d import devices
from ssal3d.errors import UserError
from ssal3d.launch import load_config
from ssal3d.models.loading import load_detector


@pytest.fixture
def gpu(monkeypatch):
    """Torch sees a GPU; mmcv and spconv were installed for it, and its first operator works."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda *_: 'NVIDIA H100')
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda *_: (9, 0))
    monkeypatch.setattr(devices, 'mmcv_cuda', lambda: '12.6')
    monkeypatch.setattr(devices, 'spconv_has_cuda', lambda: True)
    monkeypatch.setattr(devices, 'torch', SimpleNamespace(**vars(torch) | {'zeros': torch_on_cpu(torch.zeros)}))
    monkeypatch.setattr(devices.torch, 'ones', torch_on_cpu(torch.ones))
    monkeypatch.setattr('mmcv.ops.points_in_boxes_all', lambda points, boxes: torch.zeros(1, 1, 1))
    devices.require_usable_gpu.cache_clear()
    yield
    devices.require_usable_gpu.cache_clear()


def torch_on_cpu(make):
    return lambda *shape, device: make(*shape)


def test_without_a_gpu_nothing_is_asked():
    with mock.patch.object(devices, 'mmcv_cuda', side_effect=AssertionError):
        assert devices.gpu_problem() is None


@pytest.mark.usefixtures('gpu')
def test_a_gpu_that_everything_serves_is_fine():
    assert devices.gpu_problem() is None
    devices.require_usable_gpu()


@pytest.mark.usefixtures('gpu')
@pytest.mark.parametrize('spconv', [True, None])
def test_without_spconv_the_convolutions_of_mmcv_serve(monkeypatch, spconv):
    monkeypatch.setattr(devices, 'spconv_has_cuda', lambda: spconv)
    assert devices.gpu_problem() is None


@pytest.mark.usefixtures('gpu')
@pytest.mark.parametrize(
    ('part', 'answer', 'words'),
    [
        ('mmcv_cuda', None, "'NVIDIA H100', but the installed mmcv has no CUDA operators"),
        ('spconv_has_cuda', False, "'NVIDIA H100', but the installed spconv is a build for the CPU"),
    ],
)
def test_a_part_for_the_cpu_is_named_with_its_remedy(monkeypatch, part, answer, words):
    monkeypatch.setattr(devices, part, lambda: answer)
    with pytest.raises(UserError, match=words) as error:
        devices.require_usable_gpu()
    assert "CUDA_VISIBLE_DEVICES='' to use the CPU" in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.usefixtures('gpu')
def test_operators_for_other_gpus_are_found_by_using_one(monkeypatch):
    def fails(*_):
        raise RuntimeError('CUDA error: no kernel image is available for execution on the device\nCompile with ...')

    monkeypatch.setattr('mmcv.ops.points_in_boxes_all', fails)
    problem = devices.gpu_problem()
    assert 'no kernel image is available' in problem
    assert 'TORCH_CUDA_ARCH_LIST=9.0' in problem
    assert '\n' not in problem


def test_what_is_installed_here_is_told():
    """Without compiled operators, with those of the CPU, or with CUDA: one of the three, and never an exception."""
    assert devices.mmcv_cuda() is None or devices.mmcv_cuda()[0].isdigit()
    assert devices.spconv_has_cuda() in (True, False, None)


@pytest.mark.usefixtures('gpu')
def test_commands_and_scripts_refuse_before_they_begin(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, 'mmcv_cuda', lambda: None)
    arguments = SimpleNamespace(config='any.py', local_rank=0, launcher='none', cfg_options=None)
    with pytest.raises(UserError, match='no CUDA operators'):
        load_config(arguments)
    with pytest.raises(UserError, match='no CUDA operators'):
        load_detector({}, tmp_path / 'any.pth', 'cuda')
    with pytest.raises(UserError, match='no such checkpoint'):
        load_detector({}, tmp_path / 'any.pth', 'cpu')
