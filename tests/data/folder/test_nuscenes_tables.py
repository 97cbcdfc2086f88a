"""nuScenes' tables written down by hand: boxes, points and poses are as worked out by hand."""

import numpy as np
import pytest

pytest.importorskip('nuscenes')

from ssal3d.data.folder.nuscenes import CLASSES, convert_nuscenes
from ssal3d.data.infos import read_infos
from tests.helpers.nuscenes_tables import FIRST, SECOND, TIMES, write_nuscenes

QUARTER = np.pi / 2
# Ours: x forward, y left, z up; gravity centre, length, width, height, yaw.
BOXES = {
    FIRST: [
        ('car', (10, 2, -1, 4, 2, 1.5, 0)),
        ('pedestrian', (20, -0.5, -1.5, 1, 0.5, 1.75, QUARTER)),
    ],
    SECOND: [('bus', (16, -8, -1.25, 12, 3, 3.5, -QUARTER))],
}
SCANS = {
    FIRST: [(10, 2, -1, 0.2, 3), (20, -0.5, -1.5, 1, 31), (-4, -3, 0.25, 0, 0)],
    SECOND: [(16, -8, -1.25, 0.4, 7)],
}
# From our axes at the LiDAR to the world. First the vehicle looks along the world's y and the LiDAR is 1 m ahead of
# its centre and 2 m above; then the vehicle looks along -x, 1 m higher.
POSES = {
    FIRST: [[0, -1, 0, 411], [1, 0, 0, 1181], [0, 0, 1, 2], [0, 0, 0, 1]],
    SECOND: [[-1, 0, 0, 399], [0, -1, 0, 1200], [0, 0, 1, 3], [0, 0, 0, 1]],
}


def test_tables_by_hand_give_boxes_points_and_poses_by_hand(tmp_path):
    write_nuscenes(tmp_path)
    # Three points are no street: what the checks of labels say about it is not asked here.
    summaries = convert_nuscenes(tmp_path, tmp_path / 'out', 'v1.0-mini', workers=1, accept_implausible=True)
    assert [(entry.name, entry.frames, entry.labelled_frames) for entry in summaries] == [('train', 2, 2)]
    infos = read_infos(tmp_path / 'out' / 'nuscenes_infos_train.pkl')['data_list']
    assert [info['token'] for info in infos] == [f'scene-0061__{TIMES[token]}' for token in (FIRST, SECOND)], 'no sweep'
    for token, info in zip((FIRST, SECOND), infos, strict=True):
        assert [CLASSES[entry['bbox_label_3d']] for entry in info['instances']] == [name for name, _ in BOXES[token]]
        found = [entry['bbox_3d'] for entry in info['instances']]
        np.testing.assert_allclose(found, [box for _, box in BOXES[token]], atol=1e-9)
        assert [entry['num_lidar_pts'] for entry in info['instances']] == [1] * len(found)
        np.testing.assert_allclose(info['ego2global'], POSES[token], atol=1e-9)
        assert info['timestamp'] == pytest.approx(TIMES[token] / 1e6, abs=1e-6)
        points = np.fromfile(tmp_path / 'out' / 'points' / f'{info["token"]}.bin', '<f4').reshape(-1, 5)
        np.testing.assert_array_equal(points, np.array(SCANS[token], np.float32))
