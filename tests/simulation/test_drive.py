"""Drives: a long street seen all around every two seconds, written as the Waymo converter writes."""

import json

import numpy as np
import pytest
from mmdet3d.registry import DATASETS
from mmengine.registry import init_default_scope

import ssal3d.data.waymo_dataset
from ssal3d.cli.simulate import main
from ssal3d.data.infos import read_infos
from ssal3d.errors import UserError
from ssal3d.evaluation.waymo_metric import WaymoAPMetric
from ssal3d.ops.boxes import bev_iou
from ssal3d.simulation.drive import FRAMES, INTERVAL, build_drive, drive_step_of
from ssal3d.simulation.drive_frame import simulate_drive_frame
from ssal3d.simulation.drive_writer import simulate_waymo
from ssal3d.simulation.presets import sensor_preset
from ssal3d.simulation.sequences import split_frames
from ssal3d.simulation.writer import simulate_kitti
from tests.helpers.simulation_files import files_of

assert ssal3d.data.waymo_dataset  # registers the data set
SEED = 1


@pytest.fixture(scope='module')
def made():
    """Three frames of one drive and three of others."""
    return [simulate_drive_frame(SEED, frame) for frame in (20, 21, 29, 45, 66, 192)]


@pytest.fixture(scope='module')
def simulated(tmp_path_factory):
    out = tmp_path_factory.mktemp('drives')
    simulate_waymo(out, 20, SEED, val=10, workers=1)
    return out


def test_ten_frames_are_a_drive_and_no_drive_straddles_the_split():
    assert [drive_step_of(0, frame).sequence for frame in (0, 9, 10, 37)] == [0, 0, 10, 30]
    assert [drive_step_of(0, frame).step for frame in (0, 9, 10, 37)] == [0, 9, 0, 7]
    train, val = split_frames(0, 100, 30, drive_step_of)
    assert len(val) == 30
    assert not {frame // FRAMES for frame in train} & {frame // FRAMES for frame in val}
    assert sorted(train + val) == list(range(100))


def test_the_vehicle_goes_on_along_one_street(made):
    drive = build_drive(SEED, 20)
    places = [one.frame.pose[:3, 3] for one in made[:3]]
    steps = [one.step.step for one in made[:3]]
    assert steps == [0, 1, 9]
    assert drive.speed > 1
    for place, step in zip(places, steps, strict=True):
        np.testing.assert_allclose(place[0], drive.speed * INTERVAL * step, atol=1.6)  # the road bends, the body sways
    times = [one.frame.timestamp for one in made[:3]]
    assert np.diff(times).tolist() == [2_000_000, 16_000_000]
    assert [one.frame.frame_id for one in made[:2]] == ['sim1_000020_000', 'sim1_000020_020']


def test_the_sensor_is_waymos(made):
    sensor = sensor_preset('waymo')
    assert (len(sensor.elevations), sensor.elevations[0], sensor.elevations[-1]) == (64, 2.4, -17.6)
    for one in made:
        seen = one.points[:, :3] - np.array(sensor.mount)
        distance = np.linalg.norm(seen, axis=1)
        elevation = np.degrees(np.arcsin(seen[:, 2] / distance))
        assert -17.8 < elevation.min() < -17.4
        assert elevation.max() < 2.6
        azimuth = np.degrees(np.arctan2(seen[:, 1], seen[:, 0]))
        assert np.histogram(azimuth, 36, (-180, 180))[0].min() > 500, 'a whole turn'
        assert distance.max() < sensor.max_range + 1
        ground = one.points[distance < 15, 2]
        assert abs(np.median(ground[ground < 0.5])) < 0.35, 'z = 0 is the ground below the vehicle'
        assert 0 <= one.points[:, 3].min() <= one.points[:, 3].max() < 1


def test_every_object_that_returned_a_point_is_labelled_where_it_is(made):
    behind, missed, total = 0, 0, 0
    for one in made:
        labels, owners = one.frame.labels, one.snapshot.owners[one.scan.faces]
        rows = np.unique(owners[owners >= 0])
        assert len(labels) == len(rows)
        behind += int((labels.boxes[:, 0] < -3).sum())
        exact = one.scan.exact + np.array(sensor_preset('waymo').mount)
        for box, row, count in zip(labels.boxes, rows, labels.num_points, strict=True):
            own = exact[owners == row] - box[:3]
            assert len(own) == count >= 1
            cosine, sine = np.cos(box[6]), np.sin(box[6])
            local = np.stack(
                (cosine * own[:, 0] + sine * own[:, 1], cosine * own[:, 1] - sine * own[:, 0], own[:, 2]), 1
            )
            missed += int((np.abs(local) > box[3:6] / 2 + 0.05).any(1).sum())
            total += len(own)
    assert behind > 10
    assert missed <= 0.01 * total


def test_objects_of_a_frame_do_not_stand_in_each_other(made):
    for one in made:
        labels = one.frame.labels
        boxes = labels.boxes[labels.types == 1].astype(np.float32)
        overlap = bev_iou(boxes, boxes)
        np.fill_diagonal(overlap, 0)
        assert overlap.max(initial=0) < 0.02


def test_an_object_keeps_its_name_and_size_during_a_drive(made):
    first, second = (dict(zip(one.frame.labels.ids, one.frame.labels.boxes[:, 3:6], strict=True)) for one in made[:2])
    common = set(first) & set(second)
    assert len(common) >= 3
    for name in common:
        np.testing.assert_allclose(first[name], second[name], rtol=0.08)  # the box is upright in a swaying vehicle


def test_the_mixture_has_a_long_tail():
    counts = np.zeros(5, np.int64)
    for frame in range(5, 200, 10):
        labels = simulate_drive_frame(3, frame).frame.labels
        counts += np.bincount(labels.types, minlength=5)
    vehicles, pedestrians, cyclists = counts[[1, 2, 4]]
    assert vehicles > pedestrians > cyclists > 0
    assert cyclists < 0.1 * counts.sum()


def test_the_annotation_files_are_waymos(simulated):
    init_default_scope('mmdet3d')
    infos = {name: read_infos(simulated / f'waymo_infos_{name}.pkl') for name in ('train', 'val')}
    assert [len(content['data_list']) for content in infos.values()] == [10, 10]
    pipeline = [
        dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=6, use_dim=5),
        dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
        dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
    ]
    data = DATASETS.build(
        dict(
            type='WaymoFrameDataset',
            data_root=str(simulated),
            ann_file='waymo_infos_val.pkl',
            data_prefix=dict(pts='training/velodyne'),
            pipeline=pipeline,
            test_mode=False,
        )
    )
    metric = WaymoAPMetric(str(simulated / 'waymo_infos_val.pkl'))
    metric.dataset_meta = data.metainfo
    results = []
    for index in range(len(data)):
        truth = data[index]['data_samples'].gt_instances_3d
        boxes = truth.bboxes_3d.tensor.numpy().copy()
        boxes[:, 2] += boxes[:, 5] / 2
        found = {'boxes': boxes, 'labels': truth.labels_3d.numpy(), 'scores': np.ones(len(boxes))}
        results.append({'frame': data.frame_ids[index], **found})
    scores = metric.compute_metrics(results)
    assert scores['VEHICLE_L1_AP'] == pytest.approx(1)
    assert scores['mean_L2_APH'] == pytest.approx(1)
    summary = json.loads((simulated / 'simulation.json').read_text())
    assert (summary['preset'], summary['complete'], summary['splits']['val']['sequences']) == ('waymo', True, 1)
    objects = summary['splits']['train']['objects']
    assert objects['Car'] == sum(
        row['bbox_label_3d'] == 0 for info in infos['train']['data_list'] for row in info['instances']
    )


def test_two_processes_and_a_continuation_give_the_same_bytes(simulated, tmp_path):
    simulate_waymo(tmp_path, 10, SEED, workers=1)
    damaged = next((tmp_path / 'training' / 'velodyne').glob('*_060.bin'))
    damaged.write_bytes(damaged.read_bytes()[:-24])
    simulate_waymo(tmp_path, 20, SEED, val=10, workers=2)
    assert files_of(tmp_path) == files_of(simulated)


def test_a_folder_holds_one_simulation(simulated, tmp_path):
    with pytest.raises(UserError, match='found seed 1, expected 2'):
        simulate_waymo(simulated, 10, 2)
    with pytest.raises(UserError, match=r"found preset 'waymo', expected 'kitti'"):
        simulate_kitti(simulated, 10, SEED)


def test_the_command_simulates_and_draws(tmp_path, capsys):
    words = ['--preset', 'waymo', '--seed', '1', '--workers', '1']
    for call in (
        ['--out', str(tmp_path / 'out'), '--frames', '10', '--val', '0', *words],
        ['--picture', str(tmp_path / 'a.png'), '--frame', '45', *words],
    ):
        with pytest.raises(SystemExit, match='0'):
            main(call)
    shown = capsys.readouterr().out
    assert 'ssal3d::ssal/pvrcnn_waymo.py --cfg-options data_root=' in shown
    assert (tmp_path / 'a.png').stat().st_size > 20_000
    assert (tmp_path / 'out' / 'waymo_infos_train.pkl').exists()
    assert not (tmp_path / 'out' / 'waymo_infos_val.pkl').exists()
