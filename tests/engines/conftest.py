"""What the tests of the engines share."""

import pytest
import torch
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from tests.helpers.paths import TINY


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """Weights of the tiny detector that nobody trained."""
    from mmdet3d.registry import MODELS

    init_default_scope('mmdet3d')
    torch.manual_seed(0)
    model = MODELS.build(read_config(TINY, {}).model)
    path = tmp_path_factory.mktemp('weights') / 'tiny.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path
