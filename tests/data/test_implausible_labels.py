"""Labels and calibrations that cannot belong to their scans stop the conversion, and the likely cause is named."""

import numpy as np
import pytest

from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.label_checks import check_fit, check_numbers, in_runs, usual_mistakes
from ssal3d.data.label_fit import LabelledScan, object_points
from ssal3d.errors import UserError
from tests.helpers.kitti_street import CALIBRATION, GROUND, label, line, write_labels, write_street


def in_lidar_frame(name, box, bottom=False):
    x, y, z, length, width, height, yaw = box
    return line(name, (height, width, length), (x, y, z - bottom * height / 2), yaw, (0, 0, 0, 0))


def changed(*, sizes=(0, 1, 2), factor=1.0, size_factor=1.0, angle=lambda turn: turn, lifted=0.0):
    """Return a writer of labels with one mistake; sizes are height, width, length."""

    def write(name, box):
        fields = label(name, box).split()
        numbers = np.array(fields[8:15], dtype=float)
        numbers[4] -= lifted * numbers[0]
        numbers[:3] = numbers[:3][list(sizes)] * factor * size_factor
        numbers[3:6] *= factor
        return line(name, numbers[:3], numbers[3:6], angle(numbers[6]))

    return write


MISTAKES = {
    'degrees': (changed(angle=np.degrees), 'degrees instead of radians'),
    'other sign': (changed(angle=lambda turn: -turn), 'angles that turn the other way'),
    'a quarter': (changed(angle=lambda turn: turn + np.pi / 2), 'boxes turned by 90 degrees'),
    'h and l swapped': (changed(sizes=(2, 1, 0)), 'sizes in another order'),
    'l w h': (changed(sizes=(2, 1, 0)), r'\(height, width, length taken for length, width, height\)'),
    'w and l swapped': (changed(sizes=(0, 2, 1)), r'\(width, length, height taken for length, width, height\)'),
    'centimetres': (changed(factor=100), 'sizes in centimetres'),
    'sizes in centimetres': (changed(size_factor=100), 'sizes in centimetres'),
    'sizes in millimetres': (changed(size_factor=1000), 'sizes in millimetres'),
    'centre for bottom': (changed(lifted=0.5), 'the centre of the box taken for that of its bottom'),
    'LiDAR frame': (in_lidar_frame, r'labels in the LiDAR frame \(see --label-frame\)'),
    'LiDAR frame, bottom': (lambda n, b: in_lidar_frame(n, b, bottom=True), 'LiDAR frame .*, bottom centre'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_the_likely_cause_is_named(tmp_path, mistake):
    writer, cause = MISTAKES[mistake]
    write_street(tmp_path, write_label=writer)
    with pytest.raises(UserError, match=rf'split train: .*likely cause: .*{cause}.*--accept-implausible'):
        convert_kitti(tmp_path, workers=1)
    assert not (tmp_path / 'kitti_infos_train.pkl').exists()


def test_right_labels_pass(tmp_path):
    write_street(tmp_path)
    (summary,) = convert_kitti(tmp_path, workers=1)
    assert summary.faults == ()
    assert [row[1:] for row in summary.table] == [(8, 0, 0), (8, 0, 0), (16, 0, 0)]


def test_who_knows_better_goes_on(tmp_path):
    write_street(tmp_path, write_label=in_lidar_frame)
    (summary,) = convert_kitti(tmp_path, workers=1, accept_implausible=True)
    assert any('LiDAR frame' in fault for fault in summary.faults)
    assert sum(empty for _, _, empty, _ in summary.table) > 24
    assert (tmp_path / 'kitti_infos_train.pkl').exists()


@pytest.mark.parametrize(
    ('step', 'cause'), [(1, 'label files that belong to the frame before'), (-1, 'label files that belong to the next')]
)
def test_labels_of_a_neighbour_are_told_by_the_points(tmp_path, step, cause):
    truth = write_street(tmp_path)
    frames = list(truth)
    for position, frame in enumerate(frames):  # the label file of the frame `step` further on holds this frame's labels
        names, boxes = truth[frames[(position - step) % len(frames)]]
        write_labels(tmp_path, frame, [label(name, box) for name, box in zip(names, boxes, strict=True)])
    with pytest.raises(UserError, match=f'hold no point of an object; likely cause: {cause}'):
        convert_kitti(tmp_path, workers=1)


def test_a_slow_neighbour_whose_boxes_still_hold_points_is_found_by_vote():
    """Objects that move by 0.8 m a frame: every box holds points of its object, but those of the neighbour hold all."""
    random, scans = np.random.default_rng(0), []
    places = [
        np.array([[10 + 0.8 * time, 0, 0, 4, 2, 1.6, 0], [30 - 0.8 * time, 6, 0, 4, 2, 1.6, 0]]) for time in range(12)
    ]
    for time in range(11):
        true = places[time]
        points = np.concatenate([box[:3] + random.uniform(-0.5, 0.5, (200, 3)) * box[3:6] for box in true])
        scans.append(LabelledScan(str(time), points, places[time + 1], places[time + 1], lambda rows: rows))
    found = check_fit(scans, usual_mistakes(on_bottom=False))
    assert found.held == 1
    assert 'likely cause: label files that belong to the next' in found.fault
    right = [LabelledScan(s.frame, s.points, places[i], places[i], s.read) for i, s in enumerate(scans)]
    assert check_fit(right, usual_mistakes(on_bottom=False)).fault is None


def test_labels_of_other_data_have_no_better_reading(tmp_path):
    truth = write_street(tmp_path)
    other = write_street(tmp_path / 'other', seed=99)
    for frame in truth:
        names, boxes = other[frame]
        write_labels(
            tmp_path,
            frame,
            [label(name, box + np.array([3, 2.5, 0, 0, 0, 0, 0])) for name, box in zip(names, boxes, strict=True)],
        )
    with pytest.raises(UserError, match='likely cause: calibration or labels of other data'):
        convert_kitti(tmp_path, workers=1)


def test_boxes_that_the_camera_cannot_see(tmp_path):
    write_street(tmp_path, behind=True)
    with pytest.raises(UserError, match=r'the camera does not see 50 % of 32 boxes; likely cause: .*whole turn'):
        convert_kitti(tmp_path, workers=1)


def test_identity_matrices_for_a_calibration(tmp_path):
    truth = write_street(tmp_path, write_label=in_lidar_frame)
    ones = '1 0 0 0 0 1 0 0 0 0 1 0'
    for frame in truth:
        (tmp_path / 'training' / 'calib' / f'{frame}.txt').write_text(
            f'P2: {ones}\nR0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: {ones}\n'
        )
    with pytest.raises(
        UserError, match=r'none of \d+ points is in the camera view; the camera .* mere identities; .*--label-frame'
    ):
        convert_kitti(tmp_path, workers=1)


def test_a_calibration_that_sees_hardly_anything(tmp_path):
    truth = write_street(tmp_path, frames=3)
    for frame in truth:  # a camera that looks sideways through a keyhole
        text = CALIBRATION.replace('721.5377 0 609.5593', '72153.77 0 609.5593')
        (tmp_path / 'training' / 'calib' / f'{frame}.txt').write_text(text)
    with pytest.raises(UserError, match=r'split train: only 0\.\d % of the points are in the camera view'):
        convert_kitti(tmp_path, workers=1)


def test_a_whole_class_without_points(tmp_path):
    truth = write_street(tmp_path, frames=24)
    for frame, (names, boxes) in truth.items():
        lifted = [
            box + np.array([0, 0, 5 * (name == 'Cyclist'), 0, 0, 0, 0]) for name, box in zip(names, boxes, strict=True)
        ]
        write_labels(tmp_path, frame, [label(name, box) for name, box in zip(names, lifted, strict=True)])
    with pytest.raises(UserError, match='24 of 24 boxes of class Cyclist hold no point'):
        convert_kitti(tmp_path, workers=1)


def test_real_labels_are_plausible_and_their_mistakes_are_not(kitti_mini, tmp_path):
    (tmp_path / 'ImageSets').mkdir()
    (tmp_path / 'training').mkdir()
    for kind in ('velodyne', 'calib', 'label_2'):
        (tmp_path / 'training' / kind).symlink_to(kitti_mini / 'training' / kind)
    official = [path.stem for path in sorted((kitti_mini / 'training' / 'label_2').glob('0*.txt'))]
    drive = [path.stem for path in sorted((kitti_mini / 'training' / 'label_2').glob('9*.txt'))][:40]
    for name, frames in (('official', official), ('drive', drive)):
        (tmp_path / 'ImageSets' / f'{name}.txt').write_text('\n'.join(frames))
    for summary in convert_kitti(tmp_path, tmp_path / 'out', workers=1):
        assert summary.faults == ()
    (tmp_path / 'training' / 'label_2').unlink()
    (tmp_path / 'training' / 'label_2').mkdir()
    for frames in (official, drive):
        for frame, other in zip(frames, frames[1:] + frames[:1], strict=True):
            (tmp_path / 'training' / 'label_2' / f'{frame}.txt').symlink_to(
                kitti_mini / 'training' / 'label_2' / f'{other}.txt'
            )
    summaries = convert_kitti(tmp_path, tmp_path / 'shifted', workers=1, accept_implausible=True)
    for summary in summaries:
        assert any('likely cause: label files that belong to the next' in fault for fault in summary.faults), summary


def test_units_of_sizes_and_angles():
    sizes, angles = np.full((10, 3), 2.0), np.linspace(-3.1, 3.1, 10)
    assert check_numbers(sizes, angles) is None
    assert check_numbers(sizes[:0], angles[:0]) is None
    assert check_numbers(sizes, np.where(np.arange(10) == 3, 6.2, angles)) is None, 'less than a full turn'
    assert 'degrees' in check_numbers(sizes, angles * 57.3)
    assert 'sizes in centimetres' in check_numbers(sizes * 100, angles)
    assert 'sizes in millimetres' in check_numbers(sizes * 1000, angles)


def test_the_road_is_no_object():
    random = np.random.default_rng(1)
    road = np.column_stack((random.uniform(-10, 10, (4000, 2)), random.normal(GROUND, 0.02, 4000)))
    box = np.array([[0, 0, GROUND + 0.75, 4, 2, 1.5, 0.3]])
    assert object_points(road, box).tolist() == [0]
    post = np.column_stack((random.uniform(-0.5, 0.5, (50, 2)), np.linspace(GROUND, GROUND + 1.4, 50)))
    assert 35 <= object_points(np.concatenate((road, post)), box)[0] < 50, 'what is close to the road is left out'
    assert object_points(road[:0], box).tolist() == [0]
    assert object_points(road, box[:0]).tolist() == []


def test_few_boxes_prove_nothing():
    empty = np.zeros((0, 7))
    scans = [
        LabelledScan(str(i), np.zeros((1, 3)), np.ones((1, 7)), np.ones((1, 7)), lambda rows: rows) for i in range(3)
    ]
    assert check_fit(scans, {}).fault is None
    assert check_fit([], {}).boxes == 0
    assert np.isnan(check_fit([LabelledScan('a', np.zeros((1, 3)), empty, empty, lambda rows: rows)], {}).held)


def test_runs_of_frames_hold_neighbours():
    assert in_runs(4, 60) == [0, 1, 2, 3]
    runs = in_runs(10_000, 60)
    assert len(runs) == 60
    assert (runs[0], runs[-1]) == (0, 9999)
    assert all(first + 1 in runs or first - 1 in runs for first in runs)
