"""Checkpoints that cannot be one are refused in one line, before a model is built from them."""

import pytest
import torch

from ssal3d.errors import UserError
from ssal3d.models.loading import is_readable, newest_checkpoint, require_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'epoch_2.pth'
    torch.save({'state_dict': {'weight': torch.arange(1000.0)}, 'meta': {}}, path)
    return path


@pytest.mark.parametrize('share', [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_cut_checkpoint_is_refused_wherever_it_was_cut(checkpoint, share):
    require_checkpoint(checkpoint)
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r'epoch_2\.pth: not readable as a checkpoint: it is truncated, damaged or'):
        require_checkpoint(checkpoint)
    assert not is_readable(checkpoint)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'none\.pth: no such checkpoint; check the path'):
        require_checkpoint(tmp_path / 'none.pth')
    with pytest.raises(UserError, match='no such checkpoint'):
        require_checkpoint(tmp_path)
    (tmp_path / 'page.pth').write_text('<html>404</html>')
    with pytest.raises(UserError, match='something else'):
        require_checkpoint(tmp_path / 'page.pth')


def test_the_newest_whole_checkpoint_is_taken(checkpoint):
    cut = checkpoint.with_name('epoch_10.pth')
    cut.write_bytes(checkpoint.read_bytes()[:500])
    assert newest_checkpoint(checkpoint.parent) == checkpoint
    checkpoint.unlink()
    assert newest_checkpoint(checkpoint.parent) is None
