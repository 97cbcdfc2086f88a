"""Where the frames of a query lie: a folder of scans, or MMDetection3D's annotation file with its calibrations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.model import Camera, LabelFrame
from ssal3d.data.folder.layout import check_frame_id, is_hidden, scan_stem
from ssal3d.data.folder.point_files import SUFFIXES
from ssal3d.data.infos import frame_id, read_infos
from ssal3d.errors import UserError

_UNITS = (10**9, 10**6, 10**3, 1)  # ns, of the time stamps that files have: s (most), ms, us (Waymo), ns (ROS)
_LATEST = 2**31 * 10**9  # ns since 1970, in the year 2038; the stamps of ROS 2 hold no later time


def frames_of_folder(scans: str | Path, load_dim: int = 4) -> dict[str, LabelFrame]:
    """Return the frames of a folder of scans by id, which is the file's name without ending.

    Args:
        scans: Folder with files of `SUFFIXES`.
        load_dim: float32 values a point in ``.bin`` files.

    Raises:
        UserError: If there is no scan, two scans have the same id, or a name cannot be one.
    """
    folder = Path(scans)
    if not folder.is_dir():
        raise UserError(f'{folder}: no such folder; expected scans, one file a frame')
    frames: dict[str, LabelFrame] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or is_hidden(path.name):
            continue
        name = scan_stem(path)
        check_frame_id(name, path)
        if name in frames:
            raise UserError(f'{path}: frame {name} has another scan, {frames[name].scan}; remove one of them')
        frames[name] = LabelFrame(name, scan=path, load_dim=load_dim)
    if not frames:
        raise UserError(f'{folder}: found no scan, expected files that end in {" or ".join(SUFFIXES)}')
    return frames


def frames_of_infos(infos: str | Path, scans: str | Path, images: str | Path | None = None) -> dict[str, LabelFrame]:
    """Return the frames of an annotation file by id, with calibration, pose and time; labels are not looked at.

    Args:
        infos: In MMDetection3D's format, e.g. ``kitti_infos_train.pkl``.
        scans: Folder below which the scans lie, e.g. ``data/kitti/training/velodyne``.
        images: Folder below which the images lie; without it frames have no images.

    Raises:
        UserError: If the file is damaged, lists a frame twice, or a name or a time cannot be one.
    """
    frames: dict[str, LabelFrame] = {}
    for info in read_infos(infos)['data_list']:
        name = frame_id(info)
        if name in frames:
            raise UserError(f'{infos}: frame {name} is listed twice; LiDAR file names must be unique')
        where = f'{infos}, frame {name}'
        check_frame_id(name, where)
        frames[name] = _frame(info, name, Path(scans), Path(images) if images else None, where)
    return frames


def choose(frames: Mapping[str, LabelFrame], frame_ids: Sequence[str], source: object) -> list[LabelFrame]:
    """Return some frames, in their order.

    Raises:
        UserError: If a frame or its scan is missing.
    """
    chosen = []
    for name in frame_ids:
        if name not in frames:
            raise UserError(f'{source}: no frame {name}; query and scans belong to different pools')
        scan = frames[name].scan
        if scan is None or not scan.is_file():
            raise UserError(f'{scan}: no such file; frame {name} needs its scan, check --scans')
        chosen.append(frames[name])
    return chosen


def _frame(info: Mapping[str, Any], name: str, scans: Path, images: Path | None, where: str) -> LabelFrame:
    lidar = info['lidar_points']
    scan = scans / lidar['lidar_path']
    if not scan.is_file():  # paths of foreign files begin with folders of their own
        scan = scans / scan.name
    cameras = tuple(
        camera for key, entry in info.get('images', {}).items() if (camera := _camera(key, entry, images)) is not None
    )
    time = info.get('timestamp')
    matrices = {'R0_rect': info.get('images', {}).get('R0_rect'), 'Tr_velo_to_cam': lidar.get('Tr_velo_to_cam')}
    calibration = {key: _homogeneous(value) for key, value in matrices.items() if value is not None}
    if len(calibration) == 2 and cameras:
        calibration['P2'] = cameras[0].projection
    return LabelFrame(
        name,
        scan=scan,
        load_dim=int(lidar.get('num_pts_feats', 4)),
        cameras=cameras,
        pose=_pose(info),
        time_ns=None if time is None else _nanoseconds(time, where),
        calibration=calibration,
    )


def _camera(name: str, entry: Any, images: Path | None) -> Camera | None:
    if not isinstance(entry, Mapping) or entry.get('lidar2cam') is None or entry.get('cam2img') is None:
        return None
    path = entry.get('img_path')
    image = None
    if images is not None and path:
        image = next((file for file in (images / path, images / Path(path).name) if file.is_file()), None)
    size = (int(entry['width']), int(entry['height'])) if entry.get('width') and entry.get('height') else None
    return Camera(name, _homogeneous(entry['cam2img']), _homogeneous(entry['lidar2cam']), size, image)


def _pose(info: Mapping[str, Any]) -> NDArray[np.float64] | None:
    if info.get('ego2global') is None:
        return None
    to_ego = info['lidar_points'].get('lidar2ego')
    return _homogeneous(info['ego2global']) @ (np.eye(4) if to_ego is None else _homogeneous(to_ego))


def _nanoseconds(time: Any, where: str) -> int:
    """Return a time in nanoseconds; its unit is the coarsest of `_UNITS` in which it lies before `_LATEST`."""
    known = isinstance(time, int | float) and time >= 0
    unit = next((unit for unit in _UNITS if known and time * unit < _LATEST), None)
    if unit is None:
        raise UserError(
            f'{where}: found the timestamp {time!r}, expected s, ms, us or ns since 1970, before 2038; correct it where '
            'the file comes from, or leave it out of all frames'
        )
    return round(time * unit)


def _homogeneous(matrix: Any) -> NDArray[np.float64]:
    given = np.asarray(matrix, dtype=np.float64)
    result = np.eye(4)
    result[: given.shape[0], : given.shape[1]] = given
    return result
