import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import mmdet3d
import mmengine
import numpy as np
import pytest
from mmdet3d.datasets import KittiDataset
from mmdet3d.datasets.transforms import DataBaseSampler
from mmdet3d.evaluation.metrics import KittiMetric

from ssal3d.data.boxes import to_gravity_array
from ssal3d.data.infos import read_infos
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.kitti_format import CLASSES, camera_boxes_to_lidar, png_size, read_calibration
from ssal3d.data.kitti_infos import difficulty
from ssal3d.data.kitti_objects import read_objects
from ssal3d.errors import UserError
from ssal3d.fileio import LOCK_NAME
from ssal3d.ops.boxes import points_per_box

ROOT = Path(__file__).resolve().parents[2]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Everything a conversion leaves behind, except the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path.name != LOCK_NAME
    }


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def points_of(folder: Path, frame: str) -> np.ndarray:
    return np.fromfile(folder / 'training' / 'velodyne_reduced' / f'{frame}.bin', np.float32).reshape(-1, 4)


# ---------------------------------------------------------------- against MMDetection3D


@pytest.mark.usefixtures('mmdet3d_scope')
def test_stock_kitti_dataset_reads_real_frames(mini_folder, tmp_path):
    out = tmp_path / 'out'
    convert_kitti(mini_folder, out, workers=1)
    dataset = KittiDataset(
        data_root=str(out),
        ann_file='kitti_infos_train.pkl',
        data_prefix=dict(pts='training/velodyne_reduced'),
        pipeline=[
            dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
            dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
            dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
        ],
        modality=dict(use_lidar=True, use_camera=False),
        metainfo=dict(classes=['Pedestrian', 'Cyclist', 'Car']),
    )
    frames = (mini_folder / 'ImageSets' / 'train.txt').read_text().split()
    assert len(dataset) == len(frames)
    boxes = 0
    for index, frame in enumerate(frames):
        sample = dataset[index]
        assert Path(sample['data_samples'].lidar_path).stem == frame
        objects = read_objects(mini_folder / 'training' / 'label_2' / f'{frame}.txt')
        objects = objects[np.isin(objects.names, ('Pedestrian', 'Cyclist', 'Car'))]
        calibration = read_calibration(mini_folder / 'training' / 'calib' / f'{frame}.txt')
        truth = sample['data_samples'].gt_instances_3d
        expected = camera_boxes_to_lidar(objects, calibration)
        found = to_gravity_array(truth.bboxes_3d)
        np.testing.assert_allclose(found[:, :6], expected[:, :6], atol=5e-5)
        np.testing.assert_allclose(np.cos(found[:, 6] - expected[:, 6]), 1, atol=1e-6)
        assert [('Pedestrian', 'Cyclist', 'Car')[label] for label in truth.labels_3d] == objects.names.tolist()
        np.testing.assert_array_equal(sample['inputs']['points'].numpy(), points_of(out, frame))
        boxes += len(objects)
    assert boxes > 20


def test_infos_equal_those_of_the_stock_converter(mini_folder, tmp_path):
    """The stock converter needs images, so it gets black ones; it must then agree in every key that both write."""
    tools = Path(mmdet3d.__file__).parent / '.mim' / 'tools'
    frames = (mini_folder / 'ImageSets' / 'train.txt').read_text().split()
    images = mini_folder / 'training' / 'image_2'
    images.mkdir()
    for frame, (width, height) in zip(frames, 3 * [(1224, 370), (1242, 375), (1238, 374)], strict=True):
        cv2.imwrite(str(images / f'{frame}.png'), np.zeros((height, width, 3), np.uint8))
    out = tmp_path / 'out'
    convert_kitti(mini_folder, out, splits=['train'], workers=1)
    (tmp_path / 'v1').mkdir()
    (tmp_path / 'v2').mkdir()
    sys.path.insert(0, str(tools))
    try:
        from dataset_converters.kitti_converter import _calculate_num_points_in_gt, get_kitti_image_info
        from dataset_converters.update_infos_to_v2 import update_kitti_infos

        ids = [int(frame) for frame in frames]
        old = get_kitti_image_info(str(mini_folder), velodyne=True, calib=True, image_ids=ids, relative_path=True)
        _calculate_num_points_in_gt(str(mini_folder), old, True)
        mmengine.dump(old, tmp_path / 'v1' / 'kitti_infos_train.pkl')
        update_kitti_infos(str(tmp_path / 'v1' / 'kitti_infos_train.pkl'), str(tmp_path / 'v2'))
    finally:
        sys.path.remove(str(tools))
    stock = mmengine.load(tmp_path / 'v2' / 'kitti_infos_train.pkl')
    ours = read_infos(out / 'kitti_infos_train.pkl')
    assert {**stock['metainfo']['categories'], 'DontCare': -1} == ours['metainfo']['categories']
    assert {key: ours['metainfo'][key] for key in ('dataset', 'info_version')} == {
        'dataset': 'kitti',
        'info_version': '1.1',
    }
    instances = 0
    for expected, found in zip(stock['data_list'], ours['data_list'], strict=True):
        expected.pop('cam_instances')  # only the monocular detectors read these
        found['lidar_points'].pop('num_points')  # ours alone
        assert set(found) == set(expected)
        for key in ('sample_idx', 'lidar_points', 'images'):
            assert found[key] == expected[key]
        assert len(found['instances']) == len(expected['instances'])
        for one, other in zip(found['instances'], expected['instances'], strict=True):
            assert set(one) == set(other)
            for key, value in other.items():
                np.testing.assert_allclose(one[key], value, rtol=1e-6, err_msg=key)
            instances += 1
    assert instances > 60


def test_stock_kitti_metric_reads_the_annotations(kitti_folder):
    convert_kitti(kitti_folder.root, workers=1)
    path = kitti_folder.root / 'kitti_infos_train.pkl'
    frames = KittiMetric(str(path)).convert_annos_to_kitti_annos(mmengine.load(path))
    names = [list(frame['kitti_annos']['name']) for frame in frames]
    assert names == [['Car', 'Pedestrian', 'DontCare']] * 3 + [[]]
    np.testing.assert_allclose(frames[0]['kitti_annos']['dimensions'][0], [4.0, 1.5, 1.6])


def test_the_whole_of_kitti_mini_has_the_boxes_of_its_readme(kitti_mini, tmp_path):
    summaries = {summary.name: summary for summary in convert_kitti(kitti_mini, tmp_path, workers=2)}
    assert {name: summary.frames for name, summary in summaries.items()} == {
        'train': 178,
        'val': 16,
        'trainval': 194,
        'unlabelled': 37,
    }
    counts = {
        name: [summary.boxes[kind] for kind in ('Car', 'Pedestrian', 'Cyclist', 'Van', 'Truck', 'Misc')]
        for name, summary in summaries.items()
    }
    assert counts['train'] == [352, 29, 157, 302, 0, 0]
    assert counts['val'] == [48, 15, 9, 14, 6, 1]
    assert sum(counts['unlabelled']) == 0
    assert not summaries['unlabelled'].labelled
    assert all(summary.quarantined == summary.not_finite == 0 for summary in summaries.values())
    infos = {name: read_infos(tmp_path / f'kitti_infos_{name}.pkl')['data_list'] for name in summaries}
    assert all('instances' not in info for info in infos['unlabelled'])
    assert infos['trainval'] == sorted(infos['train'] + infos['val'], key=lambda info: info['sample_idx'])
    # README: of the Car, Pedestrian and Cyclist boxes with occlusion <= 2, 599 of 606 hold a point; the reduced scan
    # lacks what is outside the image, so a few border boxes more can be empty.
    cared = [
        instance['num_lidar_pts']
        for info in infos['trainval']
        for instance in info['instances']
        if instance['bbox_label'] in (0, 1, 2) and instance['occluded'] <= 2
    ]
    assert len(cared) == 606
    assert 590 <= sum(count > 0 for count in cared) <= 599
    assert summaries['train'].points == 7151429


# ---------------------------------------------------------------- what a frame becomes


def test_a_synthetic_frame(kitti_folder, tmp_path):
    (kitti_folder.root / 'training' / 'planes').mkdir()
    kitti_folder.path('planes', '000001').write_text('# Matrix\nWIDTH 4\nHEIGHT 1\n0 -1 0 1.65\n')
    out = tmp_path / 'out'
    convert_kitti(kitti_folder.root, out, workers=1)
    frames = read_infos(out / 'kitti_infos_train.pkl')['data_list']
    assert [frame['lidar_points']['lidar_path'] for frame in frames] == [f'00000{i}.bin' for i in range(4)]
    assert 'plane' not in frames[0]
    assert frames[1]['plane'] == [0, -1, 0, 1.65]
    assert (frames[0]['images']['CAM2']['width'], frames[0]['images']['CAM2']['height']) == (1242, 375)
    assert 'img_path' not in frames[0]['images']['CAM2']
    car, pedestrian, ignored = frames[0]['instances']
    points = points_of(out, '000000')
    assert frames[0]['lidar_points']['num_points'] == len(points)
    objects = read_objects(kitti_folder.path('label_2', '000000'))
    boxes = camera_boxes_to_lidar(objects[:2], read_calibration(kitti_folder.path('calib', '000000')))
    assert [car['num_lidar_pts'], pedestrian['num_lidar_pts']] == points_per_box(points, boxes).tolist()
    assert car['num_lidar_pts'] > 50
    assert [entry['bbox_label'] for entry in (car, pedestrian, ignored)] == [2, 0, -1]
    assert [entry['index'] for entry in (car, pedestrian, ignored)] == [0, 1, -1]
    assert [entry['group_id'] for entry in (car, pedestrian, ignored)] == [0, 1, 2]
    assert [entry['difficulty'] for entry in (car, pedestrian)] == [0, 1]
    assert ignored['num_lidar_pts'] == -1
    assert frames[3]['instances'] == [], 'labelled, no objects'
    unlabelled = read_infos(out / 'kitti_infos_unlabelled.pkl')['data_list']
    assert len(unlabelled) == 2
    assert all('instances' not in frame and 'images' in frame for frame in unlabelled)
    assert not (kitti_folder.root / 'kitti_infos_train.pkl').exists(), 'nothing is written to the raw data'


def test_dontcare_may_stand_anywhere(kitti_folder):
    lines = kitti_folder.path('label_2', '000000').read_text().splitlines()
    kitti_folder.write('label_2', '000000', '\n'.join(reversed(lines)) + '\n\n')
    convert_kitti(kitti_folder.root, workers=1)
    instances = read_infos(kitti_folder.root / 'kitti_infos_train.pkl')['data_list'][0]['instances']
    assert [entry['bbox_label'] for entry in instances] == [-1, 0, 2]
    assert [entry['index'] for entry in instances] == [-1, 0, 1]
    assert [entry['num_lidar_pts'] < 0 for entry in instances] == [True, False, False]


def test_difficulty_by_the_benchmark_rule(kitti_folder):
    fields = '0 560 100 660 {bottom} 1.5 1.6 4 0.5 1.65 20 0'
    cases = [('0.15 0', 141, 0), ('0.16 0', 141, 1), ('0 1', 141, 1), ('0.31 1', 141, 2), ('0 2', 126, 2)]
    cases += [('0 0', 140, 1), ('0 0', 125, -1), ('0 3', 300, -1), ('0.51 0', 300, -1)]
    text = ''.join(f'Car {start} {fields.format(bottom=bottom)}\n' for start, bottom, _ in cases)
    kitti_folder.write('label_2', '000000', text)
    objects = read_objects(kitti_folder.path('label_2', '000000'))
    assert difficulty(objects).tolist() == [level for _, _, level in cases]


def test_image_size_of_the_png_header_wins(kitti_folder):
    images = kitti_folder.root / 'training' / 'image_2'
    images.mkdir()
    cv2.imwrite(str(images / '000000.png'), np.zeros((200, 600, 3), np.uint8))
    convert_kitti(kitti_folder.root, workers=1, image_size=(1000, 300))
    first, second, *_ = read_infos(kitti_folder.root / 'kitti_infos_train.pkl')['data_list']
    assert (first['images']['CAM2']['width'], first['images']['CAM2']['height']) == (600, 200)
    assert first['images']['CAM2']['img_path'] == '000000.png'
    assert png_size(images / '000000.png') == (600, 200)
    assert (second['images']['CAM2']['width'], second['images']['CAM2']['height']) == (1000, 300)


def test_lidar_only_frames_are_copied_whole(kitti_folder):
    for frame in ('000004', '000005'):
        kitti_folder.path('calib', frame).unlink()
    convert_kitti(kitti_folder.root, workers=1)
    frame = read_infos(kitti_folder.root / 'kitti_infos_unlabelled.pkl')['data_list'][0]
    assert set(frame) == {'sample_idx', 'lidar_points'}
    assert len(points_of(kitti_folder.root, '000004')) == 600 == frame['lidar_points']['num_points']
    assert len(points_of(kitti_folder.root, '000000')) < 600


def test_the_split_test_is_read_from_the_folder_testing(kitti_folder):
    kitti_folder.split('test', '000000')
    names = {summary.name for summary in convert_kitti(kitti_folder.root, workers=1)}
    assert names == {'train', 'unlabelled'}, 'no scans of test here'
    (kitti_folder.root / 'testing' / 'velodyne').mkdir(parents=True)
    kitti_folder.path('velodyne', '000001').rename(kitti_folder.root / 'testing' / 'velodyne' / '000000.bin')
    with pytest.raises(UserError, match=r'training/velodyne/000001\.bin: no such file'):
        convert_kitti(kitti_folder.root, workers=1)
    summaries = convert_kitti(kitti_folder.root, workers=1, splits=['test'])
    assert [(summary.name, summary.frames, summary.labelled) for summary in summaries] == [('test', 1, False)]
    assert (kitti_folder.root / 'testing' / 'velodyne_reduced' / '000000.bin').exists()


# ---------------------------------------------------------------- determinism, resuming


def test_the_number_of_workers_changes_no_byte(mini_folder, tmp_path):
    for workers in (1, 2):
        convert_kitti(mini_folder, tmp_path / str(workers), workers=workers)
    one, two = (snapshot(tmp_path / str(workers)) for workers in (1, 2))
    assert len(one) == 13  # ten scans, two annotation files, the manifest
    assert one == two


def test_a_rerun_does_only_what_changed(kitti_folder):
    convert_kitti(kitti_folder.root, workers=1)
    folder = kitti_folder.root / 'training' / 'velodyne_reduced'
    before, times = snapshot(kitti_folder.root), {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    cut(folder / '000002.bin', 16)  # a damaged result
    kitti_folder.path('velodyne', '000003').touch()  # a source that may have changed
    calibration = kitti_folder.path('calib', '000004')
    calibration.write_text(calibration.read_text().replace('P2: 721.5377', 'P2: 500'))  # another view
    (folder / '.000009.bin.123.tmp').write_bytes(b'half')  # what a killed run left
    convert_kitti(kitti_folder.root, workers=1)
    after, written = snapshot(kitti_folder.root), {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in times if times[name] != written[name]} == {'000002.bin', '000003.bin', '000004.bin'}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        'manifest.json',
        'kitti_infos_unlabelled.pkl',
        'training/calib/000004.txt',
        'training/velodyne_reduced/000004.bin',
    }
    assert set(before) == set(after)


def test_new_labels_are_picked_up_without_new_crops(kitti_folder):
    convert_kitti(kitti_folder.root, workers=1)
    kitti_folder.write('label_2', '000003', kitti_folder.path('label_2', '000000').read_text())
    convert_kitti(kitti_folder.root, workers=1)
    instances = read_infos(kitti_folder.root / 'kitti_infos_train.pkl')['data_list'][3]['instances']
    assert len(instances) == 3
    assert instances[0]['num_lidar_pts'] > 20


@pytest.mark.parametrize('workers', [1, 2])
def test_a_killed_conversion_is_finished_by_the_next(mini_folder, tmp_path, workers):
    """Enough frames to be killed in the middle: three real ones, many times."""
    frames = []
    for copy in range(9):
        for frame in ('000000', '000001', '000002'):
            name = f'1{copy:02d}{frame[3:]}'
            if copy:
                for kind, suffix in (('velodyne', '.bin'), ('calib', '.txt'), ('label_2', '.txt')):
                    folder = mini_folder / 'training' / kind
                    (folder / f'{name}{suffix}').symlink_to(os.readlink(folder / f'{frame}{suffix}'))
            frames.append(name if copy else frame)
    (mini_folder / 'ImageSets' / 'train.txt').write_text('\n'.join(frames) + '\n')
    expected, out = tmp_path / 'expected', tmp_path / 'out'
    convert_kitti(mini_folder, expected, workers=1)
    code = f'from ssal3d.data.kitti_converter import convert_kitti as c\nif __name__ == "__main__": c({str(mini_folder)!r}, {str(out)!r}, workers={workers})'
    script = tmp_path / 'run.py'
    script.write_text(code)
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.DEVNULL)
    reduced = out / 'training' / 'velodyne_reduced'
    deadline = time.monotonic() + 60
    while len(list(reduced.glob('[0-9]*.bin')) if reduced.exists() else []) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = [path for path in reduced.iterdir() if not path.name.startswith('.')]
    assert 3 <= len(done) < len(frames)
    assert not (out / 'kitti_infos_train.pkl').exists()
    for path in done:
        assert path.read_bytes() == (expected / 'training' / 'velodyne_reduced' / path.name).read_bytes(), (
            'no half file'
        )
    convert_kitti(mini_folder, out, workers=1)
    assert snapshot(out) == snapshot(expected)


# ---------------------------------------------------------------- paste database


@pytest.mark.usefixtures('mmdet3d_scope')
def test_the_stock_sampler_reads_the_paste_database(mini_folder, tmp_path, capsys):
    out = tmp_path / 'out'
    convert_kitti(mini_folder, out, workers=1, gt_database=True)
    assert 'ALL train frames' in ' '.join(capsys.readouterr().out.split())
    with open(out / 'kitti_dbinfos_train.pkl', 'rb') as file:
        entries = pickle.load(file)
    infos = read_infos(out / 'kitti_infos_train.pkl')['data_list']
    for label, name in enumerate(CLASSES):
        expected = [entry for info in infos for entry in info['instances'] if entry['bbox_label'] == label]
        assert [entry['num_points_in_gt'] for entry in entries.get(name, [])] == [e['num_lidar_pts'] for e in expected]
    sampler = DataBaseSampler(
        info_path=str(out / 'kitti_dbinfos_train.pkl'),
        data_root=str(out),
        rate=1.0,
        prepare=dict(filter_by_difficulty=[-1], filter_by_min_points=dict(Car=5)),
        classes=['Car'],
        sample_groups=dict(Car=2),
    )
    for entry in sampler.db_infos['Car']:
        points = sampler.points_loader(dict(lidar_points=dict(lidar_path=str(out / entry['path']))))['points']
        assert len(points) == entry['num_points_in_gt']
        box = entry['box3d_lidar']
        local = points.tensor.numpy()
        assert (np.hypot(local[:, 0], local[:, 1]) <= np.hypot(box[3], box[4]) / 2 + 1e-3).all()
        assert ((local[:, 2] >= -1e-3) & (local[:, 2] <= box[5] + 1e-3)).all(), 'relative to the bottom centre'


def test_the_paste_database_needs_labels_and_is_off_by_default(kitti_folder):
    with pytest.raises(UserError, match='needs the labelled split train'):
        convert_kitti(kitti_folder.root, workers=1, splits=['unlabelled'], gt_database=True)
    convert_kitti(kitti_folder.root, workers=1)
    assert not (kitti_folder.root / 'kitti_dbinfos_train.pkl').exists()
