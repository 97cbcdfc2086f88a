"""The detector as a whole: order of rows, a frame alone and in a batch, twice, and on the CPU."""

import copy
from typing import Any
from unittest import mock

import torch
from benchmarks.train_step import sample
from torch import Tensor

from gpu_checks.inputs import build, model_config, two_clouds
from gpu_checks.norms import input_statistics
from gpu_checks.record import Figures, NotHeldError, Record, require_near


def run(record: Record) -> None:
    """Compare features.

    Args:
        record: Where results go.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    model, (points, other) = build(model_config(record), record.device), two_clouds()
    with input_statistics(model):
        encode(model, [points, other])
    backend = type(model.middle_encoder.conv_input[0]).__module__.split('.')[0]

    def rows_stand_frame_by_frame() -> None:
        levels = encode(model, [points, other])['levels']
        mixed = [number for number, rows in enumerate(levels) if (rows[1:, 0] < rows[:-1, 0]).any()]
        unsorted = [number for number, rows in enumerate(levels[1:], 1) if rows.tolist() != sorted(rows.tolist())]
        if mixed or unsorted:
            raise NotHeldError(f'frames are mixed in levels {mixed}, rows are not sorted in levels {unsorted}')

    def alone_and_in_a_batch() -> Figures:
        alone = torch.cat([encode(model, [cloud])['key points'] for cloud in (points, other)])
        return require_near({'key points': (encode(model, [points, other])['key points'], alone)}, 1e-3)

    def twice() -> Figures:
        first, second = (encode(model, [points]) for _ in range(2))
        return require_near({name: (first[name], second[name]) for name in ('dense map', 'key points')}, 1e-5)

    def here_and_there() -> Figures:
        with mock.patch.object(type(model.points_encoder), 'sample_key_points', evenly):
            there, here = encode(model, [points]), encode(copy.deepcopy(model).cpu(), [points])
        return require_near({name: (there[name], here[name]) for name in ('dense map', 'key points')}, 1e-2)

    record.check(f'rows of the 3D backbone are sorted by frame, z, y, x ({backend})', rows_stand_frame_by_frame)
    record.check('a frame means the same alone and in a batch', alone_and_in_a_batch)
    record.check('the same frame gives the same twice', twice)
    if backend == 'spconv':  # mmcv's own sparse convolution has no kernel for the CPU
        record.check('the CPU and this device agree', here_and_there)


def evenly(encoder: Any, points: list[Tensor], _: Tensor) -> Tensor:
    """Choose key points by their index: the furthest ones of two devices differ where two points are equally far."""
    rows = [torch.linspace(0, len(own) - 1, encoder.num_keypoints).long().to(own.device) for own in points]
    return torch.stack([own[which, :3] for own, which in zip(points, rows, strict=True)])


def encode(model: Any, clouds: list[Tensor]) -> dict[str, Any]:
    """Return the dense map, the rows of the levels and the features of the key points of some frames."""
    seen: dict[str, Any] = {}

    def note_encoder(_: Any, __: Any, output: Any) -> None:
        seen.update({'dense map': output[0], 'levels': [level.indices.cpu() for level in output[1]]})

    hooks = [
        model.middle_encoder.register_forward_hook(note_encoder),
        model.points_encoder.register_forward_hook(
            lambda _, __, output: seen.update({'key points': output['keypoint_features']})
        ),
    ]
    with torch.no_grad():
        data = {'inputs': {'points': [cloud.clone() for cloud in clouds]}, 'data_samples': [sample([]) for _ in clouds]}
        model.test_step(data)
    for hook in hooks:
        hook.remove()
    return seen
