"""What a frame and a part cost in bytes, seconds and requests: the measured numbers of docs/scaling.md.

Times are CPU seconds. Requests to an object store are counted with moto's server, if it is installed.
"""

import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._clock import fastest
from benchmarks._cpsp_pool import CLASSES, SyntheticPool
from mmengine.dataset import BaseDataset
from torch import distributed

from ssal3d.bank import shared_cuts
from ssal3d.cpsp.refresh import update_frames
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.cpsp.shard import pool_shard
from ssal3d.predictions.places import place, write_manifest
from ssal3d.predictions.pool_inference import missing_parts
from ssal3d.predictions.reader import read_predictions
from ssal3d.predictions.synthetic import synthetic_pool, write_predictions
from ssal3d.predictions.writer import write_part

DEFAULT_FRAMES = 2048
SIZES = {'width': 64, 'rois': 128, 'gradient_width': 4096}
COLUMNS = {
    'boxes, scores, labels': (),
    'box_features of 64 values': ('box_features',),
    'roi_features of 128 x 64 values': ('roi_features', 'roi_valid'),
    'gradient of 4,096 values': ('gradient',),
}
PARTS = 500


def run(frames: int) -> list[dict[str, Any]]:
    """Measure every part."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        return [
            *_column_bytes(root, frames),
            _row('annotations of a frame without labels, in memory', _info_bytes(frames), 'B/frame'),
            *_bank_pieces(root, min(frames, 512)),
            _row('looking at a finished part when a pass goes on', 1e3 * _look(root) / PARTS, 'ms/part'),
            _row('taking a part through the store of the processes', 1e3 * _take(root), 'ms/part'),
            *_requests(),
        ]


def _row(part: str, value: float, unit: str) -> dict[str, Any]:
    return {'part': part, 'value': value, 'unit': unit}


def _column_bytes(root: Path, frames: int) -> Iterator[dict[str, Any]]:
    """Yield bytes on disk and seconds to read, by column; those of boxes are in all files and are taken away."""
    alone = (0.0, 0.0)
    for name, fields in COLUMNS.items():
        out = root / name.partition(' ')[0]
        write_predictions(synthetic_pool(frames, fields=fields, **SIZES), out)
        size = sum(path.stat().st_size for path in out.glob('part-*')) / frames
        seconds = fastest(partial(read_predictions, out, fields), 3) / frames
        yield _row(f'{name}: on disk', size - alone[0], 'B/frame')
        yield _row(f'{name}: reading', 1e6 * (seconds - alone[1]), 'us/frame')
        alone = alone if fields else (size, seconds)


def _info_bytes(frames: int) -> float:
    """Return what a process keeps in memory for a frame of a view, as MMEngine packs it."""
    image = {'img_path': '000000.png', 'height': 375, 'width': 1242}
    matrices = {name: np.eye(4).tolist() for name in ('cam2img', 'lidar2img', 'lidar2cam')}
    infos = [
        {
            'sample_idx': number,
            'images': {'CAM2': {**image, **matrices}},
            'lidar_points': {
                'num_pts_feats': 4,
                'lidar_path': f'training/velodyne_reduced/{number:06d}.bin',
                'Tr_velo_to_cam': np.eye(4).tolist(),
            },
        }
        for number in range(frames)
    ]
    view = BaseDataset(lazy_init=True)
    view.data_list = infos
    data, addresses = view._serialize_data()
    return (data.nbytes + addresses.nbytes) / frames


def _bank_pieces(root: Path, frames: int) -> Iterator[dict[str, Any]]:
    """Yield what cutting a frame takes, and what a piece of it costs on its way to the first process."""
    pool = SyntheticPool(root, frames)
    shard = pool_shard(CLASSES, cpsp_settings(), pool.predict(1), None, None, None)
    updates = update_frames(shard, pool.load_points)
    seconds = fastest(partial(update_frames, shard, pool.load_points), 3)
    yield _row('cutting a frame of 20,000 points', 1e3 * seconds / frames, 'ms/frame')
    path = root / 'piece.npz'
    start = time.process_time()
    shared_cuts._write(path, updates)
    shared_cuts._read(path)
    yield _row('writing and reading a piece of the bank', 1e3 * (time.process_time() - start) / frames, 'ms/frame')
    yield _row('a piece of the bank', path.stat().st_size / frames, 'B/frame')


def _look(root: Path) -> float:
    """Return the seconds that a pass takes to find that all its parts are there."""
    metadata = {'classes': ['Car'], 'frames_per_part': 1}
    for number in range(PARTS):
        write_part(root / 'many' / f'part-{number:05d}.parquet', [], (), metadata)
    return fastest(lambda: missing_parts(root / 'many', PARTS, metadata), 3)


def _take(root: Path) -> float:
    """Return the seconds to take a part and to tell that it is done, by a process on the same machine."""
    store = distributed.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    start = time.process_time()
    for number in range(PARTS):
        store.add('taken', 1)
        store.add(f'done/{number}', 1)
        store.add('done', 1)
    return (time.process_time() - start) / PARTS


def _requests() -> Iterator[dict[str, Any]]:
    """Yield the requests that a part costs when it is written and when it is read."""
    if find_spec('moto') is None or find_spec('flask') is None:  # flask comes with moto's server
        return
    with _server() as seen:
        folder, parts = place('s3://pool/run'), 8
        metadata = {'classes': ['Car'], 'frames_per_part': 1}
        box = {'bboxes_3d': np.zeros((1, 7)), 'scores_3d': np.ones(1), 'labels_3d': np.zeros(1)}
        for number in range(parts):
            write_part(folder / f'part-{number:05d}.parquet', [(str(number), box)], (), metadata)
        for method in ('PUT', 'POST', 'HEAD', 'GET'):
            yield _row(f'writing a part: {method}', seen[method] / parts, 'requests')
        write_manifest(folder, {})
        seen.clear()
        read_predictions('s3://pool/run')
        for method in ('HEAD', 'GET'):
            yield _row(f'reading a part: {method}', seen[method] / parts, 'requests')


@contextmanager
def _server() -> Iterator[Counter[str]]:
    """Yield the requests by method that an S3 server with a bucket ``pool`` sees."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    seen: Counter[str] = Counter()
    answer = DomainDispatcherApplication.__call__

    def count(self: Any, environ: dict[str, Any], start_response: Any) -> Any:
        seen[environ['REQUEST_METHOD']] += 1
        return answer(self, environ, start_response)

    DomainDispatcherApplication.__call__ = count
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    address = 'http://{}:{}'.format(*server.get_host_and_port())
    names = ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_DEFAULT_REGION')
    os.environ.update({**dict.fromkeys(names, 'us-east-1'), 'AWS_ENDPOINT_URL': address})
    fs.FileSystem.from_uri('s3://pool?allow_bucket_creation=true')[0].create_dir('pool')
    seen.clear()
    try:
        yield seen
    finally:
        server.stop()
        DomainDispatcherApplication.__call__ = answer
