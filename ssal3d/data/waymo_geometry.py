"""From Waymo's range images to points, by the geometry that the data set's own tools use.

A row of a range image is a beam, from the highest inclination to the lowest, a column an azimuth, from the back over
the left (positive) to the back again. The top LiDAR turns while the vehicle drives: each of its pixels has a pose of
its own, and its points are brought into the vehicle frame of the whole scan.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

RANGE, INTENSITY, ELONGATION, IN_NO_LABEL_ZONE = range(4)  # channels of a range image


def points_of_range_image(
    image: Array,
    pixels: NDArray[np.bool_],
    inclinations: Array,
    extrinsic: Array,
    pixel_pose: Array | None = None,
    vehicle_pose: Array | None = None,
) -> NDArray[np.float64]:
    """Return the points of some pixels in the vehicle frame.

    Args:
        image: ``(H, W)`` ranges in metres.
        pixels: ``(H, W)`` which pixels.
        inclinations: ``(H,)`` of the rows, radians above the horizon.
        extrinsic: ``(4, 4)`` LiDAR to vehicle.
        pixel_pose: ``(H, W, 6)`` roll, pitch, yaw, x, y, z of the vehicle in the world at the time of each pixel.
        vehicle_pose: ``(4, 4)`` vehicle to world of the whole scan; given with ``pixel_pose``.

    Returns:
        ``(N, 3)`` x, y, z in metres, row by row.
    """
    width = image.shape[1]
    rows, columns = np.nonzero(pixels)
    # The image is cut at the back of the vehicle, not of the LiDAR, whose own x axis may point elsewhere.
    turned = np.arctan2(extrinsic[1, 0], extrinsic[0, 0])
    azimuth = ((width - columns - 0.5) / width * 2 - 1) * np.pi - turned
    distance, inclination = image[pixels].astype(np.float64), np.asarray(inclinations, dtype=np.float64)[rows]
    level = distance * np.cos(inclination)
    points = np.stack((level * np.cos(azimuth), level * np.sin(azimuth), distance * np.sin(inclination)), axis=1)
    points = transformed(points, extrinsic)
    if pixel_pose is None:
        return points
    assert vehicle_pose is not None
    pose = np.asarray(pixel_pose[pixels], dtype=np.float64)
    in_world = np.einsum('nij,nj->ni', rotations(pose[:, :3]), points) + pose[:, 3:]
    return transformed(in_world, np.linalg.inv(np.asarray(vehicle_pose, dtype=np.float64)))


def uniform_inclinations(low: float, high: float, rows: int) -> NDArray[np.float64]:
    """Return the inclinations of evenly spread beams, ascending: the middles of ``rows`` equal parts."""
    return (np.arange(rows) + 0.5) / rows * (high - low) + low


def rotations(angles: Array) -> NDArray[np.float64]:
    """Return ``(N, 3, 3)`` rotations of ``(N, 3)`` roll, pitch, yaw: about x, then y, then z, right-handed, radians."""
    sin, cos = np.sin(angles).T, np.cos(angles).T
    (sr, sp, sy), (cr, cp, cy) = sin, cos
    rows = (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )
    return np.moveaxis(np.array(rows), -1, 0)


def transformed(points: Array, matrix: Array) -> NDArray[np.float64]:
    """Return ``(N, 3)`` points after a rigid ``(4, 4)`` transform, in double precision."""
    matrix = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
