"""Values of a config that follow from a few settings; a config refers to them as ``'${num_classes}'``.

The parameters of a function are the settings that its value follows from.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssal3d.errors import UserError

Range = Sequence[float]  # x, y, z minimum, then maximum, metres
Anchors = Mapping[str, Mapping[str, Any]]  # by class: size, bottom, pos_iou_thr, neg_iou_thr

ANCHOR_KEYS = ('size', 'bottom', 'pos_iou_thr', 'neg_iou_thr')
OPTIONAL_ANCHOR_KEYS = ('min_pos_iou',)  # IoU from which an object's best anchor is positive, by default neg_iou_thr
_BESIDE = 10.0  # metres around the range in which CenterPoint keeps centres; and above and below the sensor


def num_classes(class_names: Sequence[str]) -> int:
    """Return the number of classes that a head tells apart."""
    return len(class_names)


def grid_size(point_cloud_range: Range, voxel_size: Sequence[float]) -> list[int]:
    """Return the number of voxels along x, y and z.

    Raises:
        UserError: If a side of the range is no whole number of voxels.

    >>> grid_size([0, -40, -3, 70.4, 40, 1], [0.05, 0.05, 0.1])
    [1408, 1600, 40]
    """
    _check_length('point_cloud_range', point_cloud_range, 6)
    _check_length('voxel_size', voxel_size, 3)
    cells = []
    for axis, size in enumerate(voxel_size):
        side = point_cloud_range[3 + axis] - point_cloud_range[axis]
        if side <= 0 or size <= 0 or abs(side / size - round(side / size)) > 1e-3:
            raise UserError(
                f'point_cloud_range: found {side:g} m along {"xyz"[axis]}, expected a whole number of voxels of '
                f'{size:g} m; change point_cloud_range={list(point_cloud_range)} or voxel_size={list(voxel_size)}'
            )
        cells.append(round(side / size))
    return cells


def sparse_shape(point_cloud_range: Range, voxel_size: Sequence[float]) -> list[int]:
    """Return the shape of a `SparseEncoder`: voxels along z, plus one, y and x."""
    x, y, z = grid_size(point_cloud_range, voxel_size)
    return [z + 1, y, x]


def bev_shape(point_cloud_range: Range, voxel_size: Sequence[float]) -> list[int]:
    """Return the shape of a `PointPillarsScatter`: pillars along y and x."""
    x, y, _ = grid_size(point_cloud_range, voxel_size)
    return [y, x]


def bev_origin(point_cloud_range: Range) -> list[float]:
    """Return the least x and y."""
    return list(point_cloud_range[:2])


def bev_voxel_size(voxel_size: Sequence[float]) -> list[float]:
    """Return the size of a voxel along x and y."""
    return list(voxel_size[:2])


def post_center_range(point_cloud_range: Range) -> list[float]:
    """Return where CenterPoint keeps centres of boxes: 10 m beyond the range, 10 m above and below the sensor."""
    low_x, low_y, low_z, high_x, high_y, high_z = point_cloud_range
    beyond = [low_x - _BESIDE, low_y - _BESIDE, min(low_z, -_BESIDE)]
    return [*beyond, high_x + _BESIDE, high_y + _BESIDE, max(high_z, _BESIDE)]


def anchor_ranges(class_names: Sequence[str], anchors: Anchors, point_cloud_range: Range) -> list[list[float]]:
    """Return where the anchors of each class stand: all over the range, at one height."""
    low, high = list(point_cloud_range[:2]), list(point_cloud_range[3:5])
    return [[*low, entry['bottom'], *high, entry['bottom']] for entry in _of_classes(class_names, anchors)]


def anchor_sizes(class_names: Sequence[str], anchors: Anchors) -> list[list[float]]:
    """Return the size (dx, dy, dz) of the anchors of each class."""
    return [list(entry['size']) for entry in _of_classes(class_names, anchors)]


def anchor_assigners(class_names: Sequence[str], anchors: Anchors) -> list[dict[str, Any]]:
    """Return what gives each class' anchors their objects."""
    calculator = dict(type='BboxOverlapsNearest3D')
    return [
        _assigner(calculator, entry['pos_iou_thr'], entry['neg_iou_thr'], entry.get('min_pos_iou'))
        for entry in _of_classes(class_names, anchors)
    ]


def roi_assigners(class_names: Sequence[str], roi_iou_thr: float) -> list[dict[str, Any]]:
    """Return what gives the RoIs of each class their objects."""
    calculator = dict(type='BboxOverlaps3D', coordinate='lidar')
    return [_assigner(calculator, roi_iou_thr, roi_iou_thr) for _ in class_names]


def center_tasks(class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the tasks of a CenterPoint with a heat map and branches of its own for each class."""
    return [dict(num_class=1, class_names=[name]) for name in class_names]


def nms_radii(class_names: Sequence[str], nms_radius: Mapping[str, float]) -> list[float]:
    """Return CenterPoint's radius of suppression of each task of `center_tasks`.

    Raises:
        UserError: If a class has none.
    """
    for name in class_names:
        if name not in nms_radius:
            raise UserError(f"nms_radius: class '{name}' is missing; add nms_radius=dict({name}=1.0)")
    return [nms_radius[name] for name in class_names]


DERIVED: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        num_classes,
        grid_size,
        sparse_shape,
        bev_shape,
        bev_origin,
        bev_voxel_size,
        post_center_range,
        anchor_ranges,
        anchor_sizes,
        anchor_assigners,
        roi_assigners,
        center_tasks,
        nms_radii,
    )
}


def check_anchors(anchors: Anchors) -> None:
    """Check that the anchors of every class are complete.

    Raises:
        UserError: If a key is missing or unknown; a mistyped class has some keys only.
    """
    for name, entry in anchors.items():
        if not isinstance(entry, Mapping) or set(entry) - set(OPTIONAL_ANCHOR_KEYS) != set(ANCHOR_KEYS):
            found = ', '.join(entry) if isinstance(entry, Mapping) else repr(entry)
            raise UserError(
                f"anchors: found {found} for class '{name}', expected {', '.join(ANCHOR_KEYS)}; "
                f'change anchors.{name}, or leave it out'
            )


def _of_classes(class_names: Sequence[str], anchors: Anchors) -> list[Mapping[str, Any]]:
    for name in class_names:
        if name not in anchors:
            raise UserError(
                f"anchors: class '{name}' is missing; add anchors=dict({name}=dict(size=[length, width, height], "
                'bottom=..., pos_iou_thr=0.6, neg_iou_thr=0.45)), in metres'
            )
    return [anchors[name] for name in class_names]


def _assigner(
    calculator: Mapping[str, Any], positive: float, negative: float, best: float | None = None
) -> dict[str, Any]:
    return dict(
        type='Max3DIoUAssigner',
        iou_calculator=dict(calculator),
        pos_iou_thr=positive,
        neg_iou_thr=negative,
        min_pos_iou=negative if best is None else best,
        ignore_iof_thr=-1,
    )


def _check_length(name: str, values: Sequence[float], length: int) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != length:
        raise UserError(f'{name}: found {values!r}, expected {length} numbers in metres')
