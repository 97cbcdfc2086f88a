"""A detector of two layers and a pool of clouds for it: what engines do with them takes no time of its own."""

import hashlib
import time
from pathlib import Path

import numpy as np
import torch
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.structures import InstanceData
from torch import nn

CLASSES = ['Car', 'Pedestrian']


class TinyDetector(nn.Module):
    """Makes one box of every tenth point; a class that does not say which columns it gives.

    Args:
        seconds: What a batch takes at least.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 9))
        random = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=random)

    def test_step(self, data):
        """Return a sample per cloud."""
        time.sleep(self.seconds)
        return [self._sample(points[::10]) for points in data['inputs']['points']]

    def _sample(self, points):
        values = self.layers(points)
        boxes = torch.cat((points[:, :3], values[:, :3].exp(), values[:, 3:4]), 1)
        found = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(boxes),
            scores_3d=values[:, 4].sigmoid(),
            labels_3d=(values[:, 5] > 0).long(),
            box_features=values[:, 6:],
        )
        return Det3DDataSample(pred_instances_3d=found)


class TinyPool:
    """A view of a few clouds without annotations."""

    metainfo = {'classes': CLASSES}  # noqa: RUF012

    def __init__(self, frames: int) -> None:
        self.frame_ids = [f'{frame:06d}' for frame in range(frames)]

    def __len__(self) -> int:
        return len(self.frame_ids)

    def __getitem__(self, index: int):
        points = np.random.default_rng(index).uniform(-1, 1, (30 + index, 4)).astype(np.float32)
        return {'inputs': {'points': torch.from_numpy(points)}, 'data_samples': Det3DDataSample()}

    def get_data_info(self, index: int):
        """Return what the data set knows of a frame: nothing."""
        return {}


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
