"""nuScenes through its development kit: key frames of the LiDAR, their boxes, and the official splits.

nuScenes' LiDAR has x to the right and y forward; scans and boxes are turned into x forward, y left.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.class_names import unknown_class
from ssal3d.data.conversion import SplitSummary
from ssal3d.data.folder.converter import convert_scans
from ssal3d.data.folder.labels import FrameLabels, LabelSource
from ssal3d.data.folder.layout import JOINT, FoundScan
from ssal3d.data.folder.point_files import choose_columns
from ssal3d.errors import UserError, unknown_name

CLASSES = (
    *('car', 'truck', 'bus', 'trailer', 'construction_vehicle'),
    *('pedestrian', 'motorcycle', 'bicycle', 'traffic_cone', 'barrier'),
)
LIDAR = 'LIDAR_TOP'
_COLUMNS = ('x', 'y', 'z', 'intensity', 'ring')
_TO_FILE = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # from our axes to nuScenes'
_SPLITS = {'v1.0-mini': ('mini_train', 'mini_val'), 'v1.0-trainval': ('train', 'val'), 'v1.0-test': ('', 'test')}


def convert_nuscenes(
    root: str | Path,
    out: str | Path,
    version: str = 'v1.0-trainval',
    classes: Sequence[str] = CLASSES,
    *,
    extra_tag: str = 'nuscenes',
    intensity_max: float | None = 255.0,
    workers: int | None = None,
    on_error: str = 'stop',
    accept_implausible: bool = False,
) -> list[SplitSummary]:
    """Convert the key frames of nuScenes.

    Args:
        root: Folder with ``samples`` and the tables in a folder named like the version.
        out: Where to write.
        version: ``v1.0-mini``, ``v1.0-trainval`` or ``v1.0-test``, which has no labels.
        classes: Which of `CLASSES`; boxes of others are left out.
        extra_tag: Prefix of the annotation files.
        intensity_max: Intensities are divided by it; None keeps them.
        workers: Number of processes; by default one for each core.
        on_error: ``stop`` at the first bad frame, or ``quarantine``.
        accept_implausible: Go on with labels that cannot belong to the scans.

    Returns:
        One summary for each split.

    Raises:
        UserError: If the tables are not there, a class is unknown, or a frame is bad.
    """
    for name in classes:
        if name not in CLASSES:
            raise unknown_class(name, CLASSES)
    tables = _open(Path(root), version)
    scenes = _splits(version)
    scans: list[FoundScan] = []
    table: dict[str, FrameLabels] = {}
    lists: dict[str, list[str]] = {name: [] for name in scenes}
    for scene in tables.scene:
        for split in (name for name, members in scenes.items() if scene['name'] in members):
            for sample in _samples(tables, scene):
                scan, boxes = _read(tables, sample, scene['name'])
                scans.append(scan)
                lists[split].append(scan.frame_id)
                if split != 'test':
                    table[scan.frame_id] = boxes
    lists = {name: frames for name, frames in lists.items() if frames}
    if not lists:
        raise UserError(f'{root}: no scene of {version} is in the official splits {", ".join(scenes)}; check --version')
    options = dict(
        classes=tuple(classes),
        dropped=frozenset(CLASSES) - set(classes),
        columns=choose_columns(_COLUMNS, None),
        label_frame=None,
        intensity_max=intensity_max,
    )
    return convert_scans(
        scans,
        LabelSource({}, table),
        lists,
        Path(out),
        options,
        extra_tag=extra_tag,
        workers=workers,
        on_error=on_error,
        accept_implausible=accept_implausible,
        judge_boxes=False,
    )


def _open(root: Path, version: str) -> Any:
    if version not in _SPLITS:
        raise unknown_name('version of nuScenes', version, list(_SPLITS))
    if not (root / version / 'sample_data.json').exists():
        raise UserError(
            f'{root / version}: no tables of nuScenes here; download {version} from https://www.nuscenes.org/download and '
            'unpack it, so that samples and the tables lie in --root-path'
        )
    from nuscenes.nuscenes import NuScenes

    return NuScenes(version, str(root), verbose=False)


def _splits(version: str) -> dict[str, set[str]]:
    from nuscenes.utils.splits import create_splits_scenes

    official, (train, measured) = create_splits_scenes(), _SPLITS[version]
    names = {'test': measured} if measured == 'test' else {'train': train, 'val': measured}
    return {name: set(official[theirs]) for name, theirs in names.items()}


def _samples(tables: Any, scene: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the key frames of a scene in the order of recording."""
    samples, token = [], scene['first_sample_token']
    while token:
        samples.append(tables.get('sample', token))
        token = samples[-1]['next']
    return samples


def _read(tables: Any, sample: dict[str, Any], scene: str) -> tuple[FoundScan, FrameLabels]:
    from nuscenes.eval.detection.utils import category_to_detection_name

    token = sample['data'][LIDAR]
    data = tables.get('sample_data', token)
    chain = [tables.get('ego_pose', data['ego_pose_token'])]
    chain.append(tables.get('calibrated_sensor', data['calibrated_sensor_token']))
    pose = _matrix(chain[0]) @ _matrix(chain[1]) @ _TO_FILE
    frame = JOINT.join((scene, str(data['timestamp'])))
    path = Path(tables.dataroot, data['filename'])
    scan = FoundScan(frame, path, scene, tuple(pose.reshape(-1).tolist()), data['timestamp'] / 1e6, 'y')
    named = [(category_to_detection_name(box.name), box) for box in tables.get_boxes(token)]
    kept = [(name, box) for name, box in named if name is not None]
    boxes = np.array([_box(box, pose) for _, box in kept]).reshape(-1, 7)
    return scan, FrameLabels(tuple(name for name, _ in kept), boxes, f'sample {sample["token"]}')


def _box(box: Any, pose: NDArray[np.float64]) -> list[float]:
    """Return a box of the global frame in ours: gravity centre, length, width, height, yaw."""
    to_lidar = np.linalg.inv(pose)
    centre = to_lidar[:3, :3] @ box.center + to_lidar[:3, 3]
    ahead = to_lidar[:3, :3] @ box.orientation.rotation_matrix[:, 0]
    width, length, height = box.wlh
    return [*centre, length, width, height, float(np.arctan2(ahead[1], ahead[0]))]


def _matrix(record: dict[str, Any]) -> NDArray[np.float64]:
    from pyquaternion import Quaternion

    matrix = np.eye(4)
    matrix[:3, :3] = Quaternion(record['rotation']).rotation_matrix
    matrix[:3, 3] = record['translation']
    return matrix
