"""Batches of several branches: moved to the device, voxelised when it is known what to learn from."""

from collections.abc import Sequence
from typing import Any

from mmdet3d.models.data_preprocessors import Det3DDataPreprocessor
from mmdet3d.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class SemiDataPreprocessor(Det3DDataPreprocessor):
    """Leaves batches with branches without voxels; an ordinary batch is processed as in the stock class."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return ``inputs`` and ``data_samples`` by branch, or those of an ordinary batch.

        Args:
            data: What the loader collated: by branch, or ``inputs`` and ``data_samples``.
            training: Whether to train.
        """
        if 'inputs' in data:
            return super().forward(data, training)
        branches = {name: self.cast_data(branch) for name, branch in data.items()}
        return {
            'inputs': {name: branch['inputs']['points'] for name, branch in branches.items()},
            'data_samples': {name: branch['data_samples'] for name, branch in branches.items()},
        }

    def voxelised(self, points: Sequence[Tensor], samples: Sequence[Any]) -> dict[str, Any]:
        """Return the inputs of a detector (points and voxels) for some clouds.

        Args:
            points: ``(N, F)`` points of each frame.
            samples: Their data samples.
        """
        data = {'inputs': {'points': list(points)}, 'data_samples': list(samples)}
        return super().forward(data, training=True)['inputs']
