"""One grid: voxel size times number of voxels is the range, in every part of the detector."""

from collections.abc import Iterator

from ssal3d.checks.finding import Checked, Finding, merged
from ssal3d.checks.network import encoder_stride
from ssal3d.checks.subject import VOXELS, Subject
from ssal3d.checks.tree import join, mappings, numbers, shown

ROUNDING = 0.02  # of a voxel


def check_voxels(subject: Subject) -> Checked:
    """Compare every voxel size and every grid with the voxel layer's."""
    name, size, cells = 'voxels', subject.voxel_size, subject.cells
    if size is None or cells is None or min(cells) <= 0:
        return Checked(name, 'the detector has no voxels')
    sizes = [
        (join(path, 'voxel_size'), values)
        for path, part in mappings(subject.model, subject.model_key)
        if path != VOXELS and (values := numbers(part.get('voxel_size'))) and len(values) in (2, 3)
    ]
    wrong = [
        Finding(key, shown(values), f'{shown(size[: len(values)])} as {VOXELS}.voxel_size')
        for key, values in sizes
        if any(abs(value - other) > 1e-6 for value, other in zip(values, size))
    ]
    wrong += _whole(cells)
    grid = [round(value) for value in cells]
    wrong += [*_grids(subject, grid), *_stride(subject, grid)]
    looked_at = f'{shown(size)} m in {len(sizes) + 1} places, {grid[0]} x {grid[1]} x {grid[2]} voxels'
    return Checked(name, looked_at, merged(wrong))


def _whole(cells: list[float]) -> Iterator[Finding]:
    for axis, count in zip('xyz', cells):
        if abs(count - round(count)) > ROUNDING:
            yield Finding(f'{VOXELS}.voxel_size', f'{count:.2f} voxels along {axis}', 'a size that divides the range')


def _grids(subject: Subject, grid: list[int]) -> Iterator[Finding]:
    wide, deep, high = grid
    for path, part in mappings(subject.model, subject.model_key):
        shape = numbers(part.get('sparse_shape'), 3)
        if shape and shape not in ([high, deep, wide], [high + 1, deep, wide]):
            expected = f'{shown([high + 1, deep, wide])}: z + 1, y and x voxels of the range'
            yield Finding(join(path, 'sparse_shape'), shown(shape), expected)
        shape = numbers(part.get('output_shape'), 2)
        if shape and str(part.get('type', '')).endswith('Scatter') and shape != [deep, wide]:
            yield Finding(
                join(path, 'output_shape'), shown(shape), f'{shown([deep, wide])}: y and x pillars of the range'
            )
        shape = numbers(part.get('grid_size'), 3)
        if shape and shape[:2] != [wide, deep]:
            yield Finding(join(path, 'grid_size'), shown(shape), f'{shown(grid)}: x, y and z voxels of the range')


def _stride(subject: Subject, grid: list[int]) -> Iterator[Finding]:
    """Anchors are spread evenly over the range; cells of the map are only if the encoder's stride divides the grid."""
    stride = encoder_stride(subject.model)
    for axis, count, voxel in zip('xy', grid, subject.voxel_size or ()):
        rest = -count % stride
        if rest:
            off = rest * voxel
            yield Finding(
                f'{VOXELS}.point_cloud_range',
                f'{count} voxels along {axis}: the last anchors are {off:.2g} m beside their cells',
                f'a multiple of {stride} voxels',
                'error' if off > stride * voxel / 2 else 'warning',
            )
