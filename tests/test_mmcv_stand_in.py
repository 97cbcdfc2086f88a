"""mmcv without compiled operators: what stands in for them, and what it says."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest import mock

import pytest

from ssal3d import mmcv_stand_in
from ssal3d.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def test_an_operator_without_a_kernel_names_itself_and_the_remedy():
    extension = mmcv_stand_in.Finder.create_module(ModuleSpec('mmcv._ext', None))
    kernel = extension.deform_conv_forward
    assert kernel.__name__ == 'deform_conv_forward'
    with pytest.raises(UserError, match=r"'deform_conv_forward' of mmcv has no kernel .* `make setup OPS=compiled`"):
        kernel(1, size=2)
    with pytest.raises(AttributeError):
        extension.__path__  # noqa: B018


def test_the_stand_in_is_the_last_that_is_asked():
    mmcv_stand_in.install()
    assert sys.meta_path.count(mmcv_stand_in.Finder) == 1
    assert mmcv_stand_in.Finder.find_spec('mmcv._ext').loader is mmcv_stand_in.Finder
    assert mmcv_stand_in.Finder.find_spec('mmcv.ops') is None
    compiled = ModuleSpec('mmcv._ext', object())
    with mock.patch('importlib.util.find_spec', return_value=compiled):
        assert not mmcv_stand_in.is_used()
    with mock.patch('importlib.util.find_spec', return_value=None):
        assert not mmcv_stand_in.is_used()


def test_it_serves_whoever_imports_mmdetection3d_first():
    code = (
        'import ssal3d, torch, mmdet3d.models, mmcv.ops\n'
        'import ssal3d.register\n'
        'boxes = torch.tensor([[0.0, 0, 4, 2, 0], [0, 0, 4, 2, 0.1]])\n'
        'print(mmcv.ops.nms_rotated(boxes, torch.tensor([0.9, 0.8]), 0.5)[1].tolist())\n'
    )
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == '[0]'
