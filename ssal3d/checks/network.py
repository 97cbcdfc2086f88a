"""What the layers between voxels and head make of the grid, computed without weights."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ssal3d.checks.finding import Checked, Finding
from ssal3d.checks.subject import Subject
from ssal3d.checks.tree import numbers

_ENCODERS = ('SparseEncoder', 'ShuffleSparseEncoder')
_STAGES = 4  # of a sparse encoder, by default
_CHANNELS = 128  # that it gives, by default


class FeatureMap(NamedTuple):
    """What the head reads: channels, cells along y and along x."""

    channels: int
    height: int
    width: int


class MisfitError(Exception):
    """Two layers do not fit together."""


def part(model: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]]:
    """Return the key and the config of a part of a detector; multi-modal ones put ``pts_`` in front."""
    for key in (name, f'pts_{name}'):
        if isinstance(model.get(key), Mapping):
            return key, model[key]
    return name, {}


def encoder_stride(model: Mapping[str, Any]) -> int:
    """Return the voxels along a cell of the map that the encoder gives."""
    _, encoder = part(model, 'middle_encoder')
    if encoder.get('type') not in _ENCODERS:
        return 1
    return 2 ** (len(encoder.get('encoder_channels') or range(_STAGES)) - 1)


def encoder_output(model: Mapping[str, Any]) -> tuple[int | None, int, int] | None:
    """Return channels (None if unknown), height and width of the bird's-eye view; None for other encoders."""
    _, encoder = part(model, 'middle_encoder')
    if encoder.get('type') == 'PointPillarsScatter' and (shape := numbers(encoder.get('output_shape'), 2)):
        return encoder.get('in_channels'), int(shape[0]), int(shape[1])
    shape = numbers(encoder.get('sparse_shape'), 3)
    if encoder.get('type') not in _ENCODERS or shape is None:
        return None
    stride = encoder_stride(model)
    channels = None
    if encoder.get('block_type', 'conv_module') == 'conv_module':
        channels = encoder.get('output_channels', _CHANNELS) * _depth(int(shape[0]), encoder)
    return channels, -(-int(shape[1]) // stride), -(-int(shape[2]) // stride)


def _depth(high: int, encoder: Mapping[str, Any]) -> int:
    """Return the layers of cells that are left of a grid: strided convolutions of size 3, then one without padding."""
    usual = ((1,), (1, 1, 1), (1, 1, 1), ((0, 1, 1), 1, 1))
    for paddings in (encoder.get('encoder_paddings') or usual)[1:]:
        first = paddings[0]
        padding = first[0] if isinstance(first, list | tuple) else first
        high = (high + 2 * padding - 3) // 2 + 1
    return (high - 3) // 2 + 1


def feature_map(model: Mapping[str, Any]) -> FeatureMap | None:
    """Return the map that the head reads; None for detectors of another kind.

    Raises:
        MisfitError: If two layers do not fit together.
    """
    import torch
    from mmdet3d.registry import MODELS
    from mmengine.registry import DefaultScope

    given, layers = encoder_output(model), [part(model, name)[1] for name in ('backbone', 'neck')]
    if given is None or not layers[0] or any(layer.get('type') is None for layer in layers if layer):
        return None
    channels, height, width = given
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmdet3d'), torch.no_grad():
        value: Any = torch.zeros(1, channels or layers[0].get('in_channels', 1), height, width)
        for layer in filter(None, layers):
            try:
                built = MODELS.build(dict(layer)).eval()
            except (AssertionError, AttributeError, ImportError, KeyError, TypeError, ValueError):
                return None  # `check_options` says what is wrong with its options
            try:
                value = built(value)
            except RuntimeError as error:
                raise MisfitError(f'{layer["type"]}: {" ".join(str(error).split())[:200]}') from None
    last = value[-1] if isinstance(value, list | tuple) and not layers[1] else value
    last = last[0] if isinstance(last, list | tuple) else last
    return FeatureMap(*last.shape[1:])


def check_network(subject: Subject) -> Checked:
    """Compare what each layer gives with what the next one takes."""
    name, model, found = 'layers', subject.model, []
    given = encoder_output(model)
    key, backbone = part(model, 'backbone')
    if given is None or not backbone:
        return Checked(name, 'not a detector with a grid and a 2D backbone')
    if given[0] is not None and backbone.get('in_channels', given[0]) != given[0]:
        where = f'{subject.model_key}.{key}.in_channels'
        return Checked(
            name, 'channels', (Finding(where, str(backbone['in_channels']), f'{given[0]} as the encoder gives'),)
        )
    try:
        seen = feature_map(model)
    except MisfitError as error:
        return Checked(
            name, 'channels', (Finding(f'{subject.model_key}.{key}', str(error), 'layers that fit together'),)
        )
    if seen is None:
        return Checked(name, 'unknown layers')
    for head in ('rpn_head', 'bbox_head'):
        key, config = part(model, head)
        channels = config.get('in_channels', seen.channels)
        if 'type' in config and channels != seen.channels:
            where = f'{subject.model_key}.{key}.in_channels'
            found.append(Finding(where, str(channels), f'{seen.channels} as the neck gives'))
    return Checked(name, f'the head reads {seen.channels} channels of {seen.height} x {seen.width} cells', tuple(found))
