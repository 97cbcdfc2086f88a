"""What an experiment may begin with, and which hooks its stages get."""

import pytest
from mmengine.config import Config

import ssal3d.register  # noqa: F401
from ssal3d.errors import UserError
from ssal3d.loop.hooks import without_loop_hooks
from ssal3d.loop.start import StartFrom


def test_what_cannot_be_begun_with_is_refused(tmp_path):
    with pytest.raises(UserError, match='is not a file; give the path of a checkpoint'):
        StartFrom.of(str(tmp_path / 'none.pth'))
    (tmp_path / 'a.pth').touch()
    with pytest.raises(UserError, match=r"start_from\.use 'modell'"):
        StartFrom.of(dict(checkpoint=str(tmp_path / 'a.pth'), use='modell'))
    with pytest.raises(UserError, match="option of start_from 'key'"):
        StartFrom.of(dict(checkpoint=str(tmp_path / 'a.pth'), key={}))
    assert StartFrom.of(None) is None
    assert StartFrom.of(str(tmp_path / 'a.pth')).use == 'weights'


def test_stages_do_not_get_the_hooks_of_the_experiment():
    config = Config(dict(custom_hooks=[dict(type='HeldOutReportHook'), dict(type='EpochSeedHook')]))
    assert [hook.type for hook in without_loop_hooks(config).custom_hooks] == ['EpochSeedHook']
    assert len(config.custom_hooks) == 2
