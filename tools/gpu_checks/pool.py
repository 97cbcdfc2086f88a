"""A pass over a pool: frames a second by batch, and the share of the time that is not the detector's."""

import tempfile
from pathlib import Path

import numpy as np
from benchmarks.pool_inference import Pool
from benchmarks.train_step import ROOT

from gpu_checks.inputs import build, model_config, two_clouds
from gpu_checks.record import Figures, NotHeldError, Record
from ssal3d.configs import read_config
from ssal3d.predictions.pool_inference import predict_pool

OUTSIDE = 0.10  # share of a pass, at most


def run(record: Record) -> None:
    """Predict one scan under many names.

    Args:
        record: Where results go.
    """
    config = read_config(ROOT / 'configs' / 'ssal' / 'pvrcnn_kitti.py')
    model = build(model_config(record), record.device)

    def passes(batch: int, workers: int) -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'scan.bin'
            two_clouds()[0].numpy().astype(np.float32).tofile(path)
            frames = 128 if record.on_gpu else 4
            predict_pool(model, Pool(path, batch, config), Path(folder) / 'warm', batch_size=batch, num_workers=0)
            timing = predict_pool(
                model, Pool(path, frames, config), Path(folder) / 'pool', batch_size=batch, num_workers=workers
            )
        figures = {
            'frames/s': timing.frames / (timing.load + timing.forward + timing.write),
            'outside the model': timing.outside_share,
        }
        if record.on_gpu and timing.outside_share > OUTSIDE:
            raise NotHeldError(f'{figures["outside the model"]:.3f} of the pass outside the model, {OUTSIDE} allowed')
        return figures

    for batch, workers in ((1, 1), (2, 2), (4, 2), (8, 4)) if record.on_gpu else ((2, 0),):
        record.check(f'batch {batch}, {workers} workers', lambda batch=batch, workers=workers: passes(batch, workers))
