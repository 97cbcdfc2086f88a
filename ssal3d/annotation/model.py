"""What every annotation tool understands: frames with a scan, cameras and boxes, whatever the file format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cuboid:
    """One box of one object in one frame.

    Attributes:
        class_name: Name of the object's class.
        box: (x, y, z, dx, dy, dz, yaw): gravity centre, size along and across the heading and upwards, yaw
            counter-clockwise about +z in [-pi, pi), LiDAR frame, m and rad.
        id: Unique in the frame; empty for a box whose file gives it none.
        track_id: The same for one object in several frames; empty if unknown.
        score: Confidence in [0, 1]; None for a box that a person drew.
        attributes: Whatever else the file says about the object.
        tilt: Angle between the vertical and the box's z axis in the file, in rad; the box itself stands upright.
        untouched: Whether the tool says that no person has edited or confirmed the box; None if it does not say.
        where: File and line, for messages.
    """

    class_name: str
    box: tuple[float, ...]
    id: str = ''
    track_id: str = ''
    score: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tilt: float = 0.0
    untouched: bool | None = None
    where: str = ''


@dataclass(frozen=True)
class Camera:
    """A calibrated camera of a frame.

    Attributes:
        name: For instance ``CAM2``.
        projection: ``(4, 4)`` camera frame (x right, y down, z forward) to image, in pixels.
        lidar_to_camera: ``(4, 4)`` rigid.
        size: (width, height) of the image in pixels; None if unknown.
        image: The image file; None if there is none.
    """

    name: str
    projection: Array
    lidar_to_camera: Array
    size: tuple[int, int] | None = None
    image: Path | None = None

    @property
    def pinhole(self) -> tuple[Array, Array]:
        """``(3, 3)`` intrinsic and ``(4, 4)`` LiDAR-to-camera matrix that together project like this camera.

        A fourth column of the projection (KITTI's cameras stand 6 cm beside the reference camera) does not fit an
        intrinsic matrix; it moves the camera instead.
        """
        intrinsic, moved = self.projection[:3, :3].copy(), self.lidar_to_camera.copy()
        moved[:3, 3] += np.linalg.solve(intrinsic, self.projection[:3, 3])
        return intrinsic, moved


@dataclass(frozen=True)
class LabelFrame:
    """One frame on its way to the annotators or back.

    Attributes:
        frame_id: Its id in the pool.
        cuboids: Its boxes.
        scan: File of its points; None on the way back.
        load_dim: float32 values a point in a ``.bin`` scan.
        cameras: Its calibrated cameras.
        pose: ``(4, 4)`` LiDAR to world frame; None if unknown.
        time_ns: Time of the scan in ns; None if unknown.
        facts: Why the query chose it: rank, utility, similarity, ...
        calibration: Named ``(4, 4)`` matrices of its data set, to be handed on as they are: `P2`, `R0_rect`, ...
        origin: On the way back: the file that holds its boxes.
        edited: On the way back: when its boxes were edited, ISO 8601, if the tool says so.
        is_finished: On the way back: whether it was said that somebody has finished the frame, whatever its boxes.
    """

    frame_id: str
    cuboids: tuple[Cuboid, ...] = ()
    scan: Path | None = None
    load_dim: int = 4
    cameras: tuple[Camera, ...] = ()
    pose: Array | None = None
    time_ns: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Array] = field(default_factory=dict)
    origin: Path | None = None
    edited: tuple[str, ...] = ()
    is_finished: bool = False

    @property
    def looked_at(self) -> bool:
        """Whether the tool or its user says that a person looked at the frame; not so if nobody says anything."""
        return self.is_finished or any(cuboid.untouched is False for cuboid in self.cuboids)

    @property
    def boxes(self) -> Array:
        """``(N, 7)`` boxes."""
        return boxes_of(self.cuboids)


def boxes_of(cuboids: Sequence[Cuboid]) -> Array:
    """Return the boxes of cuboids as ``(N, 7)``."""
    return np.array([cuboid.box for cuboid in cuboids], dtype=np.float64).reshape(-1, 7)
