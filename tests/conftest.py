"""Fixtures shared by all tests: real data, when `SSAL3D_TEST_DATA` names its folder."""

import gc
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import ssal3d  # noqa: F401 - before anything that imports mmcv

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: waiting threads slow a small machine down many times

collect_ignore = [
    'compat/probes.py',
    'configs',
    'helpers/killer.py',
    'helpers/warm_server.py',
]  # run in processes of their own
pytest_plugins = ['tests.helpers.street']


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPU from all tests but those that need it: ``pytest -m gpu``."""
    if config.option.markexpr != 'gpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    for item in items:
        if item.get_closest_marker('gpu') and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason='needs a GPU: pytest -m gpu'))


def pytest_collect_file(file_path: Path) -> None:
    """Mend the upstream stack, as every command does, before a test module imports it; other tests need not wait."""
    if file_path.suffix == '.py' and re.search(
        r'^\s*(from|import) (mmcv|mmdet3d)\b', file_path.read_text(), re.MULTILINE
    ):
        from ssal3d import compat

        compat.apply_all()


def pytest_collection_finish() -> None:
    """Take what the imports made out of garbage collection: MMEngine collects for every data set that it builds."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_scope_left_over() -> Iterator[None]:
    """A runner sets mmengine's default scope for the whole process; the next test must not depend on it."""

    def scopes() -> dict:
        module = sys.modules.get('mmengine.registry.default_scope')
        return module.DefaultScope._instance_dict if module else {}

    before = dict(scopes())
    yield
    scopes().clear()
    scopes().update(before)


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


@pytest.fixture(scope='session')
def waymo_metrics() -> Path:
    """Detections and ground truth in Waymo's format, and the AP that the official tool gives them."""
    return _real_data('waymo_metrics')
