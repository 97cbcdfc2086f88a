"""The built-in LiDAR pool: a procedural street simulator that writes the KITTI object layout."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.simulation.frame import Frame as Frame
    from ssal3d.simulation.frame import simulate_frame as simulate_frame
    from ssal3d.simulation.presets import sensor_preset as sensor_preset
    from ssal3d.simulation.writer import simulate_kitti as simulate_kitti

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'frame': ['Frame', 'simulate_frame'],
        'presets': ['sensor_preset'],
        'writer': ['simulate_kitti'],
    },
)
