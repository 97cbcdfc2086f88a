"""Checkpoints that cannot be one are refused in one line, before a model is built from them."""

import errno
import re
import resource
import signal

import pytest
import torch

from ssal3d.errors import REMEDIES, UnwritableError, UserError
from ssal3d.models.loading import is_readable, newest_checkpoint, require_checkpoint, write_weights
from tests.helpers.paths import ROOT


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


@pytest.fixture
def small_disk():
    """No file may grow beyond 64 KiB, as if the disk were full; what writes gets an error, not a signal."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_weights_that_do_not_fit_on_the_disk_are_told_in_one_line(tmp_path, monkeypatch, small_disk):
    write_weights(tmp_path / 'small.pth', {'weight': torch.arange(10.0)}, stage='normal')
    assert is_readable(tmp_path / 'small.pth')
    monkeypatch.setattr('ssal3d.fileio.REFUSALS', (errno.EFBIG,))  # which stands for ENOSPC here
    monkeypatch.setitem(REMEDIES, errno.EFBIG, 'make room')
    with pytest.raises(UnwritableError, match=r'big\.pth: cannot be written \(File too large\); make room'):
        write_weights(tmp_path / 'big.pth', {'weight': torch.zeros(1 << 16)})
    assert [path.name for path in tmp_path.iterdir()] == ['small.pth']


def test_checkpoints_are_written_in_one_place():
    """torch.save by path raises a RuntimeError without a file name where the disk is full."""
    calls = {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'ssal3d').rglob('*.py')
        if re.search(r'\btorch\.save\(', path.read_text())
    }
    assert calls == {'ssal3d/models/loading.py'}
