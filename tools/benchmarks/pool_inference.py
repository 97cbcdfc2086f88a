"""A pass over a pool, the prediction contract written: time inside the model and outside it, on this machine's device.

``--frames`` is the size of the pool. Its scans are one real one if SSAL3D_TEST_DATA names the test data, else a
synthetic street, written to disk once and loaded, cropped and predicted like any other.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.train_step import ROOT, build, scan
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

import ssal3d.register  # noqa: F401 - the detector and the transforms are registered there
from ssal3d.configs import read_config
from ssal3d.predictions.pool_inference import predict_pool

DEFAULT_FRAMES = 24


class Pool(Dataset):
    """One scan under many frame ids, with the test pipeline of the KITTI configs."""

    def __init__(self, path: Path, frames: int, config: Config) -> None:
        self.path = str(path)
        self.frame_ids = tuple(f'{frame:06d}' for frame in range(frames))
        self.metainfo = {'classes': config.class_names}
        self.pipeline = Compose(config.test_pipeline)

    def __len__(self) -> int:
        return len(self.frame_ids)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return what the loader needs of a frame."""
        from mmdet3d.structures import Box3DMode, LiDARInstance3DBoxes

        return {
            'sample_idx': index,
            'lidar_points': {'lidar_path': self.path, 'num_pts_feats': 4},
            'box_type_3d': LiDARInstance3DBoxes,
            'box_mode_3d': Box3DMode.LIDAR,
        }

    def __getitem__(self, index: int) -> Any:
        return self.pipeline(self.get_data_info(index))


def run(frames: int) -> list[dict[str, Any]]:
    """Predict the pool with the full and with the small PV-RCNN, weights random."""
    init_default_scope('mmdet3d')
    config = read_config(ROOT / 'configs' / 'ssal' / 'pvrcnn_kitti.py')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'scan.bin'
        scan().numpy().astype(np.float32).tofile(path)
        for name in ('pvrcnn_kitti', 'pvrcnn_kitti_mini'):
            model = build(read_config(ROOT / 'configs' / 'ssal' / f'{name}.py')).to(device)
            pool = Pool(path, frames, config)
            predict_pool(model, Pool(path, 2, config), Path(folder) / f'{name}-warm')  # compiles
            timing = predict_pool(model, pool, Path(folder) / name, batch_size=2, num_workers=1)
            seconds = timing.load + timing.forward + timing.write
            rows += [
                {'part': f'{name}, {device}: a pass', 'value': frames / seconds, 'unit': 'frames/s'},
                {
                    'part': f'{name}, {device}: outside the model',
                    'value': 100 * timing.outside_share,
                    'unit': '%',
                    'target': 10,
                },
            ]
    return rows
