"""Fixtures shared by all tests: real data, when `SSAL3D_TEST_DATA` names its folder."""

import os
import tarfile
from pathlib import Path

import pytest

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: waiting threads slow a small machine down many times

from ssal3d.compat import mmcv_lite

mmcv_lite.install_if_missing()  # test modules import MMDetection3D before anything of ours


def pytest_configure(config):
    """Hide the GPU from all tests but those that need it: `pytest -m gpu`."""
    if config.option.markexpr != 'gpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''


def pytest_collection_modifyitems(items):
    import torch

    for item in items:
        if item.get_closest_marker('gpu') and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason='needs a GPU: pytest -m gpu'))


def _real_data(name: str) -> Path:
    root = os.environ.get('SSAL3D_TEST_DATA')
    if not root:
        pytest.skip('set SSAL3D_TEST_DATA to the folder with the real test data to run this test')
    folder = Path(root).resolve() / name
    if not folder.is_dir():
        pytest.skip(f'{folder} is not there; SSAL3D_TEST_DATA must hold the folder {name}')
    return folder


@pytest.fixture(scope='session')
def kitti_mini() -> Path:
    """Real LiDAR frames in the official KITTI layout (178 train, 16 val)."""
    return _real_data('kitti_mini')


@pytest.fixture(scope='session')
def kitti_labels(tmp_path_factory) -> Path:
    """All official KITTI training labels and calibrations, unpacked, with the split lists."""
    source = _real_data('kitti_labels')
    target = tmp_path_factory.mktemp('kitti_labels')
    for name in ('label_2', 'calib'):
        with tarfile.open(source / f'{name}.tar.gz') as archive:
            archive.extractall(target, filter='data')
    (target / 'ImageSets').symlink_to(source / 'ImageSets')
    return target


@pytest.fixture(scope='session')
def kitti_eval(tmp_path_factory) -> Path:
    """Detections on the official val split (`data/`) and the AP they score (`expected.json`)."""
    source = _real_data('kitti_eval')
    target = tmp_path_factory.mktemp('kitti_eval')
    with tarfile.open(source / 'pointgnn_val_detections.tar.gz') as archive:
        archive.extractall(target, filter='data')
    (target / 'expected.json').symlink_to(source / 'expected.json')
    return target
