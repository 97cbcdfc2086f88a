import json
import re
from pathlib import Path

import numpy as np
import pytest

from ssal3d.data.infos import read_infos
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.errors import UserError


def points_of(folder: Path, frame: str) -> np.ndarray:
    return np.fromfile(folder / 'training' / 'velodyne_reduced' / f'{frame}.bin', np.float32).reshape(-1, 4)


def quarantined(out: Path) -> dict[str, str]:
    return {entry['frame']: entry['reason'] for entry in json.loads((out / 'quarantine.json').read_text())['frames']}


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_every_bad_scan_is_named_and_can_be_quarantined(kitti_folder):
    scans = {f'00000{i}': kitti_folder.path('velodyne', f'00000{i}') for i in range(5)}
    scans['000000'].write_bytes(b'')
    cut(scans['000001'], 599 * 16 + 7)
    points = np.fromfile(scans['000002'], np.float32).reshape(-1, 4)
    np.column_stack((points, np.arange(600) % 64)).astype(np.float32).tofile(scans['000002'])  # five values a point
    np.full_like(points, np.nan).tofile(scans['000003'])
    scans['000004'].unlink()
    reasons = {
        '000000': 'found an empty file',
        '000001': 'found 9591 bytes, expected a multiple of 16',
        '000002': 'another number of values a point',
        '000003': 'none of 600 points is finite',
        '000004': r'no such file, but frame 000004 is listed in ImageSets/unlabelled\.txt',
    }
    with pytest.raises(UserError, match=r'velodyne/000000\.bin: found an empty file.*--on-error quarantine'):
        convert_kitti(kitti_folder.root, workers=1)
    assert not (kitti_folder.root / 'kitti_infos_train.pkl').exists()
    with pytest.raises(UserError, match='no frame is left'):
        convert_kitti(kitti_folder.root, workers=1, on_error='quarantine', splits=['train'])
    kitti_folder.add('000007')
    kitti_folder.split('train', '000000', '000001', '000002', '000003', '000007')
    summaries = convert_kitti(kitti_folder.root, workers=1, on_error='quarantine')
    assert [(s.name, s.frames, s.quarantined) for s in summaries] == [('train', 1, 4), ('unlabelled', 1, 1)]
    found = quarantined(kitti_folder.root)
    assert set(found) == {f'training/{frame}' for frame in reasons}
    for frame, reason in reasons.items():
        assert re.search(reason, found[f'training/{frame}'])
        assert f'{frame}.bin' in found[f'training/{frame}']
    kept = read_infos(kitti_folder.root / 'kitti_infos_train.pkl')['data_list']
    assert [info['lidar_points']['lidar_path'] for info in kept] == ['000007.bin']


@pytest.mark.parametrize(
    ('values', 'plausible'),
    [
        (lambda p: p.astype(np.float64).view(np.float32), False),  # double precision
        (lambda p: p.view(np.int32).byteswap().view(np.float32), False),  # other byte order
        (lambda p: (p * 1000).astype(np.float32), False),  # millimetres
        (lambda p: p * np.float32([1, 1, 1, 255]), True),  # intensity in [0, 255]
        (lambda p: np.where(np.arange(len(p))[:, None] == 3, np.float32(1e9), p), True),  # one stray point
    ],
)
def test_implausible_numbers_are_refused(kitti_folder, values, plausible):
    path = kitti_folder.path('velodyne', '000001')
    points = np.fromfile(path, np.float32).reshape(-1, 4)
    values(points).astype(np.float32).tofile(path)
    convert_kitti(kitti_folder.root, workers=1, on_error='quarantine')
    assert ('training/000001' in quarantined(kitti_folder.root)) is not plausible


def test_points_that_are_no_numbers_are_filtered_and_counted(kitti_folder):
    whole = kitti_folder.root / 'a'
    convert_kitti(kitti_folder.root, whole, workers=1)
    path = kitti_folder.path('velodyne', '000001')
    points = np.fromfile(path, np.float32).reshape(-1, 4)
    rows = np.arange(5) * 100
    points[rows, np.arange(5) % 4] = [np.nan, np.inf, -np.inf, np.nan, np.nan]
    points.tofile(path)
    summaries = convert_kitti(kitti_folder.root, kitti_folder.root / 'b', workers=1)
    assert summaries[0].not_finite == 5
    clean = np.delete(np.fromfile(path, np.float32).reshape(-1, 4), rows, axis=0)
    reduced = points_of(kitti_folder.root / 'b', '000001')
    assert np.isfinite(reduced).all()
    before = {tuple(point) for point in points_of(whole, '000001').tolist()}
    assert {tuple(point) for point in reduced.tolist()} == before & {tuple(point) for point in clean.tolist()}


def test_a_scan_cut_between_two_points_is_noticed_in_the_next_run(kitti_folder):
    convert_kitti(kitti_folder.root, workers=1)
    cut(kitti_folder.path('velodyne', '000002'), 500 * 16)
    for _ in range(2):  # and not forgotten after the first time
        with pytest.raises(UserError, match=r'000002\.bin: found 500 points, expected 600 as in the last conversion'):
            convert_kitti(kitti_folder.root, workers=1)
    summaries = convert_kitti(kitti_folder.root, workers=1, on_error='quarantine')
    assert summaries[0].quarantined == 1
    (kitti_folder.root / 'manifest.json').unlink()  # the remedy for a scan that was replaced on purpose
    assert convert_kitti(kitti_folder.root, workers=1)[0].quarantined == 0
    assert not (kitti_folder.root / 'quarantine.json').exists()


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        ('Cra 0 0 0 1 1 2 2 1 1 1 0 1 9 0\n', r"000001\.txt: unknown class 'Cra'.*did you mean 'Car'"),
        ('car 0 0 0 1 1 2 2 1 1 1 0 1 9 0\n', r"unknown class 'car'.*did you mean 'Car'"),
        ('Car 0 0 0 1 1 2 2 1 1 1 0 1 9\n', r'000001\.txt, line 1: found 14 fields'),
        ('Car 0 0 0 1 1 2 2 1 1 x 0 1 9 0\n', r"000001\.txt, line 1: found 'x'"),
        ('Car 0 0 0 1 1 2 2 1 0 4 0 1 9 0\n', r'000001\.txt: object 1 \(Car\) has the size 1 x 0 x 4 m'),
        ('Car 0 0 0 1 1 2 2 1 nan 4 0 1 9 0\n', r"000001\.txt, line 1: found 'nan'"),
    ],
)
def test_bad_labels_are_named(kitti_folder, labels, message):
    kitti_folder.write('label_2', '000001', labels)
    with pytest.raises(UserError, match=message):
        convert_kitti(kitti_folder.root, workers=1)
    summaries = convert_kitti(kitti_folder.root, workers=1, on_error='quarantine')
    assert (summaries[0].frames, summaries[0].quarantined) == (3, 1)


def test_a_frame_without_calibration_among_others_is_an_error(kitti_folder):
    kitti_folder.path('calib', '000001').unlink()
    with pytest.raises(UserError, match=r'calib/000001\.txt: no such file, but other frames of split train'):
        convert_kitti(kitti_folder.root, workers=1)
    assert convert_kitti(kitti_folder.root, workers=1, splits=['unlabelled'])[0].frames == 2


def test_a_calibration_that_looks_elsewhere_is_noticed(kitti_folder):
    path = kitti_folder.path('calib', '000001')
    path.write_text(path.read_text().replace('-0.08 1 0 0 -0.27', '-0.08 1 0 0 -500'))
    with pytest.raises(
        UserError, match=r'000001\.bin: none of 600 points is in the camera view; check the calibration'
    ):
        convert_kitti(kitti_folder.root, workers=1)


def test_missing_folders_and_lists_are_named(kitti_folder, tmp_path):
    with pytest.raises(UserError, match='download velodyne'):
        convert_kitti(tmp_path / 'nowhere')
    with pytest.raises(UserError, match=r"unknown split.*'trian'.*did you mean 'train'"):
        convert_kitti(kitti_folder.root, splits=['trian'])
    for path in (kitti_folder.root / 'ImageSets').iterdir():
        path.unlink()
    with pytest.raises(UserError, match='no split lists'):
        convert_kitti(kitti_folder.root)
    (tmp_path / 'file').touch()
    kitti_folder.split('train', '000000')
    with pytest.raises(UserError, match='--out-dir'):
        convert_kitti(kitti_folder.root, tmp_path / 'file')


def test_a_damaged_manifest_is_named(kitti_folder):
    convert_kitti(kitti_folder.root, workers=1)
    (kitti_folder.root / 'manifest.json').write_text('{"schema": 1, "fra')
    with pytest.raises(UserError, match=r'manifest\.json: not valid JSON'):
        convert_kitti(kitti_folder.root, workers=1)


def test_a_scan_under_another_name_is_recognised(kitti_folder):
    scan = kitti_folder.path('velodyne', '000001')
    scan = scan.with_suffix('.bin')
    scan.rename(scan.with_suffix('.npy'))
    with pytest.raises(UserError, match=r'000001\.bin: no such file, .*train\.txt; did you mean 000001\.npy\?'):
        convert_kitti(kitti_folder.root, workers=1)
    scan.with_suffix('.npy').rename(scan.with_name('1.bin'))
    with pytest.raises(UserError, match=r'000001\.bin: no such file, .*did you mean 1\.bin\?'):
        convert_kitti(kitti_folder.root, workers=1)
    scan.with_name('1.bin').unlink()
    with pytest.raises(UserError, match=r'download it or take the frame out of the list'):
        convert_kitti(kitti_folder.root, workers=1)
