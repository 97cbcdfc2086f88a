"""Defects of spconv on machines without CUDA."""

import torch

from ssal3d.compat.fix import Fix, replace_everywhere


def _stream_needs_cuda() -> bool:
    from spconv.pytorch import cppcore

    if torch.cuda.is_available():
        return False
    try:
        cppcore.get_current_stream()
    except (AssertionError, RuntimeError):
        return True
    return False


def _answer_without_cuda() -> None:
    from spconv.pytorch import cppcore, ops

    replace_everywhere(cppcore.get_current_stream, lambda: 0)  # the handle of the default stream; unused on the CPU
    assert ops.get_current_stream() == 0


FIXES = (
    Fix(
        name='spconv-stream',
        problem='The backward pass asks for the current CUDA stream, also for tensors on the CPU.',
        link='https://github.com/traveller59/spconv/issues/366',
        needs=('spconv',),
        is_needed=_stream_needs_cuda,
        apply=_answer_without_cuda,
    ),
)
