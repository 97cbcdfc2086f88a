"""A method is a folder: `ssal3d.semi` imports whatever folders there are."""

import pytest
from mmdet3d.registry import MODELS

import ssal3d.semi  # noqa: F401
from tests.helpers.paths import ROOT

FOLDERS = sorted(path.parent.name for path in (ROOT / 'ssal3d' / 'semi').glob('*/__init__.py'))


@pytest.mark.parametrize('method', FOLDERS)
def test_a_folder_registers_its_model_and_no_list_names_it(method):
    registered = {kind.__module__ for kind in MODELS.module_dict.values()}
    assert f'ssal3d.semi.{method}.detector' in registered
    assert method not in (ROOT / 'ssal3d' / 'register.py').read_text()
