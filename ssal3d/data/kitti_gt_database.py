"""The classic paste database of MMDetection3D, for stock, fully supervised configs only.

It holds the labels of every train frame, bought or not. Nothing in ssal3d reads it.
"""

import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.data.infos import frame_id
from ssal3d.data.kitti_format import CLASSES, info_boxes_to_lidar
from ssal3d.data.kitti_frame import REDUCED
from ssal3d.data.scans import read_scan
from ssal3d.fileio import atomic_path
from ssal3d.ops.boxes import points_in_boxes
from ssal3d.terminal import console, track

WARNING = (
    'warning: the paste database holds the labels of ALL train frames; a model that trains with it has seen labels that '
    'were never bought. It is for stock, fully supervised configs; ssal3d never uses it.'
)


def write_gt_database(out: Path, extra_tag: str, infos: dict[str, Any]) -> None:
    """Write ``<tag>_gt_database/`` and ``<tag>_dbinfos_train.pkl`` in the format of the stock ``DataBaseSampler``.

    Args:
        out: Data root that holds the reduced scans.
        extra_tag: Prefix of the names.
        infos: The converted train split.
    """
    console.print(WARNING, style='bold', soft_wrap=True)
    folder = f'{extra_tag}_gt_database'
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    group = 0
    with atomic_path(out / folder) as temporary:
        temporary.mkdir()
        for position, info in enumerate(track(infos['data_list'], 'paste database')):
            points = read_scan(out / 'training' / REDUCED / f'{frame_id(info)}.bin')
            for row, entry in enumerate(_objects(info)):
                inside = points[points_in_boxes(points, entry.pop('gravity_box')[None]) >= 0]
                inside[:, :3] -= entry['box3d_lidar'][:3]
                name = f'{frame_id(info)}_{entry["name"]}_{row}.bin'
                (temporary / name).write_bytes(inside.tobytes())
                entry |= {'path': f'{folder}/{name}', 'image_idx': position, 'gt_idx': row}
                entry |= {'num_points_in_gt': len(inside), 'group_id': group}
                entries[entry['name']].append(entry)
                group += 1
    with atomic_path(out / f'{extra_tag}_dbinfos_train.pkl') as temporary:
        temporary.write_bytes(pickle.dumps(dict(entries), protocol=4))


def _objects(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Return name, difficulty, and both kinds of LiDAR box of a frame's objects: gravity centre, and theirs."""
    instances = [instance for instance in info['instances'] if instance['bbox_label_3d'] >= 0]
    lidar_to_camera = np.array(info['images']['CAM2']['lidar2cam'])
    boxes = info_boxes_to_lidar(np.array([instance['bbox_3d'] for instance in instances]), lidar_to_camera)
    bottom_centred = boxes - np.outer(boxes[:, 5] / 2, (0, 0, 1, 0, 0, 0, 0))
    return [
        {
            'name': CLASSES[instance['bbox_label_3d']],
            'difficulty': instance['difficulty'],
            'score': instance['score'],
            'box3d_lidar': stock_box.astype(np.float32),
            'gravity_box': box,
        }
        for instance, box, stock_box in zip(instances, boxes, bottom_centred, strict=True)
    ]
