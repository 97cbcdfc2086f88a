"""A frame of the Waymo Open Dataset, whichever release it was read from, and its points."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.waymo_geometry import ELONGATION, IN_NO_LABEL_ZONE, INTENSITY, RANGE, points_of_range_image
from ssal3d.errors import UserError

TOP = 1  # number of the LiDAR on the roof, the only one with a pose for each pixel
LASERS = {1: 'TOP', 2: 'FRONT', 3: 'SIDE_LEFT', 4: 'SIDE_RIGHT', 5: 'REAR'}
CAMERAS = {1: 'CAM_FRONT', 2: 'CAM_FRONT_LEFT', 3: 'CAM_FRONT_RIGHT', 4: 'CAM_SIDE_LEFT', 5: 'CAM_SIDE_RIGHT'}
POINT_FEATURES = 6  # x, y, z, tanh of the intensity, elongation, pixel of the top LiDAR


@dataclass(frozen=True)
class Laser:
    """What one LiDAR measured in a frame.

    Attributes:
        name: Its number in `LASERS`.
        returns: Up to two range images ``(H, W, 4)`` float32: range, intensity, elongation, in a no-label zone (1).
        inclinations: ``(H,)`` of the rows, descending, radians.
        extrinsic: ``(4, 4)`` LiDAR to vehicle.
        pixel_pose: ``(H, W, 6)`` roll, pitch, yaw, x, y, z in the world; None for all LiDARs but that on the roof.
    """

    name: int
    returns: list[NDArray[np.float32]]
    inclinations: NDArray[np.float64]
    extrinsic: NDArray[np.float64]
    pixel_pose: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Camera:
    """One camera of the vehicle.

    Attributes:
        name: Its number in `CAMERAS`.
        intrinsic: f_u, f_v, c_u, c_v in pixels.
        extrinsic: ``(4, 4)`` camera (x ahead, y left, z up) to vehicle.
        size: (width, height) in pixels.
    """

    name: int
    intrinsic: tuple[float, float, float, float]
    extrinsic: NDArray[np.float64]
    size: tuple[int, int]


@dataclass(frozen=True)
class WaymoLabels:
    """N annotated objects.

    Attributes:
        boxes: ``(N, 7)`` gravity-centred boxes in the vehicle frame, m and rad.
        types: ``(N,)`` 1 vehicle, 2 pedestrian, 3 sign, 4 cyclist.
        levels: ``(N,)`` detection difficulty 1 or 2 as an annotator set it, else 0.
        num_points: ``(N,)`` LiDAR points inside.
        ids: ``(N,)`` the same for an object in all frames of a segment.
    """

    boxes: NDArray[np.float64]
    types: NDArray[np.int64]
    levels: NDArray[np.int64]
    num_points: NDArray[np.int64]
    ids: list[str]

    def __post_init__(self) -> None:
        wrong = ~np.isfinite(self.boxes).all(axis=1) | (self.boxes[:, 3:6] <= 0).any(axis=1)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise UserError(
                f'object {self.ids[row]} has the box {self.boxes[row].tolist()}, expected finite numbers and sizes above '
                '0; fetch the file again'
            )

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class WaymoFrame:
    """A frame.

    Attributes:
        segment: Name of the driving segment.
        index: Number of the frame in it.
        timestamp: Microseconds.
        pose: ``(4, 4)`` vehicle to world.
        lasers: By number.
        cameras: By number.
        labels: None for a frame without labels, which is not one without objects.
        no_label_zones: ``(K, 2)`` corners of each zone that nobody labelled, in the vehicle frame.
    """

    segment: str
    index: int
    timestamp: int
    pose: NDArray[np.float64]
    lasers: list[Laser]
    cameras: list[Camera]
    labels: WaymoLabels | None
    no_label_zones: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def frame_id(self) -> str:
        """The frame's id: it does not depend on which other segments there are."""
        return f'{self.segment}_{self.index:03d}'


def frame_points(frame: WaymoFrame, keep_no_label_zones: bool = False) -> tuple[NDArray[np.float32], int]:
    """Return the points of a frame: first those of the first returns, LiDAR by LiDAR, then those of the second.

    Args:
        frame: With its range images.
        keep_no_label_zones: Keep points in zones that nobody labelled, where objects look like background.

    Returns:
        ``(N, 6)`` float32: x, y, z in the vehicle frame, tanh of the intensity in [0, 1), elongation, and for points of
        the LiDAR on the roof ``(return * H + row) * W + column``, -1 for others. Then the number of points left out
        because they are in a no-label zone.

    Raises:
        UserError: If the LiDAR on the roof has no pose for its pixels, or an image does not fit its LiDAR.
    """
    parts, in_zone = [np.zeros((0, POINT_FEATURES), np.float32)], 0
    lasers = sorted(frame.lasers, key=lambda laser: laser.name)
    for number in range(2):
        for laser in lasers:
            if number < len(laser.returns):
                _check(frame, laser)
                image = laser.returns[number]
                hit = image[..., RANGE] > 0
                pixels = hit if keep_no_label_zones else hit & (image[..., IN_NO_LABEL_ZONE] != 1)
                in_zone += int(hit.sum() - pixels.sum())
                parts.append(_features(frame, laser, number, pixels))
    return np.concatenate(parts), in_zone


def _features(frame: WaymoFrame, laser: Laser, number: int, pixels: NDArray[np.bool_]) -> NDArray[np.float32]:
    image, pose = laser.returns[number], laser.pixel_pose
    points = points_of_range_image(image[..., RANGE], pixels, laser.inclinations, laser.extrinsic, pose, frame.pose)
    result = np.empty((len(points), POINT_FEATURES), np.float32)
    result[:, :3] = points
    result[:, 3] = np.tanh(image[..., INTENSITY][pixels])  # raw intensities have no upper bound
    result[:, 4] = image[..., ELONGATION][pixels]
    result[:, 5] = np.flatnonzero(pixels) + number * pixels.size if laser.name == TOP else -1
    return result


def _check(frame: WaymoFrame, laser: Laser) -> None:
    where = f'frame {frame.frame_id}, LiDAR {LASERS.get(laser.name, laser.name)}'
    for image in laser.returns:
        if image.ndim != 3 or image.shape[2] != 4 or image.shape[0] != len(laser.inclinations):
            raise UserError(
                f'{where}: found a range image of {image.shape}, expected ({len(laser.inclinations)}, width, 4); the file '
                'is damaged, fetch it again'
            )
        if laser.pixel_pose is not None and laser.pixel_pose.shape != (*image.shape[:2], 6):
            raise UserError(f'{where}: found pixel poses of {laser.pixel_pose.shape}, expected {(*image.shape[:2], 6)}')
    if laser.name == TOP and laser.pixel_pose is None:
        raise UserError(f'{where}: the poses of its pixels are missing; without them, points are off by the way driven')
