import json
import os
import subprocess
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
CALIBRATION = (
    'P2: 700 0 600 0 0 700 180 0 0 0 1 0\nR0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n'
)
LABEL = 'Car 0.00 0 0.10 560.00 170.00 660.00 230.00 1.50 1.60 4.00 0.50 1.65 20.00 -1.50\n'


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / 'tools' / 'create_data.py', *map(str, arguments)],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three labelled frames, made by hand."""
    for kind in ('velodyne', 'label_2', 'calib'):
        (tmp_path / 'training' / kind).mkdir(parents=True)
    for frame in ('000000', '000001', '000002'):
        points = np.random.default_rng(int(frame)).uniform((2, -5, -2, 0), (60, 5, 1, 1), (300, 4))
        points.astype(np.float32).tofile(tmp_path / 'training' / 'velodyne' / f'{frame}.bin')
        (tmp_path / 'training' / 'calib' / f'{frame}.txt').write_text(CALIBRATION)
        (tmp_path / 'training' / 'label_2' / f'{frame}.txt').write_text(LABEL)
    (tmp_path / 'ImageSets').mkdir()
    (tmp_path / 'ImageSets' / 'train.txt').write_text('000000\n000001\n000002\n')
    return tmp_path


def test_it_converts_and_says_what_it_did(folder):
    result = run('kitti', '--root-path', folder, '--out-dir', folder / 'out', '--workers', 1, '--extra-tag', 'mine')
    assert result.returncode == 0, result.stderr
    assert 'converting: 3/3' in result.stdout
    row = next(line for line in result.stdout.splitlines() if 'train' in line).replace('│', ' ').split()
    assert row[:5] == ['train', '3', '3', '0', '900']
    assert row[6:] == ['%', '0'], 'share in view, not finite'
    boxes = result.stdout.split('labelled boxes')[1]
    row = next(line for line in boxes.splitlines() if 'train' in line).replace('│', ' ').split()
    assert row[:3] == ['train', 'Car', '3']
    infos = mmengine.load(folder / 'out' / 'mine_infos_train.pkl')
    assert [info['sample_idx'] for info in infos['data_list']] == [0, 1, 2]
    assert infos['data_list'][0]['images']['CAM2']['width'] == 1242, 'an unknown camera gets the usual size'


def test_labels_without_any_object_are_said(folder):
    for path in (folder / 'training' / 'label_2').glob('*.txt'):
        path.write_text('DontCare -1 -1 -10 706.29 188.14 730.21 203.54 -1 -1 -1 -1000 -1000 -1000 -10\n')
    result = run('kitti', '--root-path', folder, '--workers', 1)
    assert result.returncode == 0, result.stderr
    assert 'train: none of 3 labelled frames holds an object of a class' in result.stdout


def test_options_reach_the_converter(folder):
    (folder / 'training' / 'velodyne' / '000001.bin').write_bytes(b'x')
    arguments = ('kitti', '--root-path', folder, '--workers', 1, '--splits', 'train')
    result = run(*arguments, '--image-size', 800, 300, '--on-error', 'quarantine', '--gt-database')
    assert result.returncode == 0, result.stderr
    assert 'quarantined training/000001' in result.stdout
    assert 'ALL train frames' in result.stdout
    assert mmengine.load(folder / 'kitti_infos_train.pkl')['data_list'][0]['images']['CAM2']['width'] == 800
    assert [frame['frame'] for frame in json.loads((folder / 'quarantine.json').read_text())['frames']] == [
        'training/000001'
    ]
    assert (folder / 'kitti_dbinfos_train.pkl').exists()


@pytest.mark.parametrize(
    ('mistake', 'message'),
    [
        (
            lambda root: (root / 'training' / 'velodyne' / '000001.bin').write_bytes(b''),
            '000001.bin: found an empty file',
        ),
        (
            lambda root: (root / 'training' / 'label_2' / '000001.txt').write_text('Cra' + LABEL[3:]),
            "did you mean 'Car'",
        ),
        (lambda root: (root / 'training' / 'calib' / '000001.txt').unlink(), 'calib/000001.txt: no such file'),
        (lambda root: (root / 'ImageSets' / 'train.txt').write_text(''), 'train.txt: no frame in it'),
    ],
)
def test_bad_input_is_one_line_and_exit_2(folder, mistake, message):
    mistake(folder)
    result = run('kitti', '--root-path', folder, '--workers', 1)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (folder / 'kitti_infos_train.pkl').exists()


def test_bad_usage_is_exit_2(tmp_path):
    for arguments in ((), ('kiti',), ('kitti', '--root-path', tmp_path, '--on-error', 'ignore')):
        assert run(*arguments).returncode == 2
    result = run('kitti', '--root-path', tmp_path / 'nowhere')
    assert result.returncode == 2
    assert 'download velodyne, label_2, calib' in result.stderr
    assert 'Traceback' not in result.stderr
