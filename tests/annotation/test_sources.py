"""Frames for the annotators: from a folder of scans or an annotation file, with what the file knows of them."""

import os

import numpy as np
import pytest

from ssal3d.annotation.sources import choose, frames_of_folder, frames_of_infos
from ssal3d.data.folder.layout import find_scans
from ssal3d.errors import UserError
from ssal3d.fileio import write_json

CAM = np.diag([700.0, 700, 1, 1]).tolist()
TURN = [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0.5], [0, 0, 0, 1]]


def scan(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.ones((3, 4), np.float32).tofile(path)
    return path


def infos(tmp_path, *entries):
    path = tmp_path / 'x_infos_train.json'
    write_json(path, {'metainfo': {'categories': {'Car': 0}}, 'data_list': list(entries)})
    return path


def entry(name='000007.bin', **more):
    return {'sample_idx': 7, 'lidar_points': {'lidar_path': name, 'num_pts_feats': 4}, 'instances': [], **more}


def test_a_folder_gives_a_frame_for_each_scan(tmp_path):
    for name in ('b.bin', 'a.npy', 'notes.txt'):
        scan(tmp_path / name)
    frames = frames_of_folder(tmp_path, load_dim=5)
    assert list(frames) == ['a', 'b']
    assert (frames['b'].scan, frames['b'].load_dim) == (tmp_path / 'b.bin', 5)


def test_frames_have_the_ids_that_a_conversion_gives_them(tmp_path):
    for name in ('a.pcd.bin', 'b.PCD', 'c.npy', 'd.ply', '._a.pcd.bin'):
        scan(tmp_path / name)
    assert list(frames_of_folder(tmp_path)) == ['a', 'b', 'c', 'd']
    assert list(frames_of_folder(tmp_path)) == [found.frame_id for found in find_scans(tmp_path, tmp_path / 'out')]


@pytest.mark.parametrize('name', [os.fsencode('narrow\u202f0'), b'stra\xdfe', b'a\\b'])
def test_names_that_no_file_can_carry_are_refused(tmp_path, name):
    os.rename(scan(tmp_path / 'a.bin'), os.path.join(os.fsencode(tmp_path), name + b'.bin'))
    with pytest.raises(
        UserError, match=r"\.bin': found a name that is not UTF-8, has a sign that cannot .*; rename the file"
    ):
        frames_of_folder(tmp_path)
    with pytest.raises(UserError, match=r"frame a\\\\b': found a name that .*, or a backslash; rename the file"):
        frames_of_infos(infos(tmp_path, entry('a\\b.bin')), tmp_path)


def test_folders_that_give_no_frame_or_two_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match=r'none: no such folder; expected scans'):
        frames_of_folder(tmp_path / 'none')
    with pytest.raises(UserError, match=r'found no scan, expected files that end in \.bin or \.npy'):
        frames_of_folder(tmp_path)
    scan(tmp_path / 'a.bin')
    scan(tmp_path / 'a.npy')
    with pytest.raises(UserError, match=r'a\.npy: frame a has another scan, .*a\.bin; remove one of them'):
        frames_of_folder(tmp_path)


def test_an_annotation_file_gives_calibration_pose_and_time(tmp_path):
    image = tmp_path / 'images' / '000007.png'
    image.parent.mkdir()
    image.touch()
    camera = {'cam2img': CAM, 'lidar2cam': TURN, 'img_path': 'elsewhere/000007.png', 'width': 1242, 'height': 375}
    path = infos(
        tmp_path,
        entry(
            images={'CAM2': camera, 'CAM3': {'img_path': 'x.png'}, 'R0_rect': np.eye(3).tolist()},
            lidar_points={
                'lidar_path': 'far/away/000007.bin',
                'num_pts_feats': 5,
                'Tr_velo_to_cam': TURN[:3],
                'lidar2ego': np.diag([1.0, 1, 1, 1]).tolist(),
            },
            ego2global=[[0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 0], [0, 0, 0, 1]],
            timestamp=1.5e9,
        ),
    )
    (frame,) = frames_of_infos(path, scan(tmp_path / 'scans' / '000007.bin').parent, tmp_path / 'images').values()
    assert (frame.frame_id, frame.scan, frame.load_dim) == ('000007', tmp_path / 'scans' / '000007.bin', 5)
    assert [(found.name, found.size, found.image) for found in frame.cameras] == [('CAM2', (1242, 375), image)]
    np.testing.assert_array_equal(frame.cameras[0].lidar_to_camera, TURN)
    assert frame.time_ns == 1_500_000_000_000_000_000
    np.testing.assert_array_equal(frame.pose @ [1, 2, 0, 1], [8, 21, 0, 1])
    assert sorted(frame.calibration) == ['P2', 'R0_rect', 'Tr_velo_to_cam']
    np.testing.assert_array_equal(frame.calibration['Tr_velo_to_cam'], TURN)


@pytest.mark.parametrize(
    ('time', 'nanoseconds'),
    [
        (0.25, 250_000_000),
        (1_700_000_000.5, 1_700_000_000_500_000_000),
        (1_700_000_000_500, 1_700_000_000_500_000_000),
        (1_700_000_000_500_000, 1_700_000_000_500_000_000),
        (1_700_000_000_500_000_001, 1_700_000_000_500_000_001),
    ],
)
def test_the_unit_of_a_time_follows_from_its_size(tmp_path, time, nanoseconds):
    (frame,) = frames_of_infos(infos(tmp_path, entry(timestamp=time)), tmp_path).values()
    assert frame.time_ns == nanoseconds


@pytest.mark.parametrize('time', [-5.0, 10**19, 10**400, 'noon'], ids=['negative', 'absurd', 'huge', 'text'])
def test_times_that_cannot_be_are_named(tmp_path, time):
    with pytest.raises(
        UserError, match=f'train.json, frame 000007: found the timestamp {time!r}, expected s, ms, us or'
    ):
        frames_of_infos(infos(tmp_path, entry(timestamp=time)), tmp_path)


def test_times_in_microseconds_and_frames_that_know_nothing(tmp_path):
    path = infos(tmp_path, entry(timestamp=1_500_000_000_000_000), entry('000008.bin', sample_idx=8))
    first, second = frames_of_infos(path, tmp_path).values()
    assert first.time_ns == 1_500_000_000_000_000_000
    assert (second.cameras, second.pose, second.time_ns, dict(second.calibration)) == ((), None, None, {})


def test_frames_listed_twice_are_refused(tmp_path):
    with pytest.raises(UserError, match=r'frame 000007 is listed twice; LiDAR file names must be unique'):
        frames_of_infos(infos(tmp_path, entry(), entry()), tmp_path)


def test_frames_are_chosen_in_the_order_of_the_query(tmp_path):
    for name in ('a.bin', 'b.bin'):
        scan(tmp_path / name)
    frames = frames_of_folder(tmp_path)
    assert [frame.frame_id for frame in choose(frames, ['b', 'a'], 'query.json')] == ['b', 'a']
    with pytest.raises(UserError, match=r'query\.json: no frame c; query and scans belong to different pools'):
        choose(frames, ['a', 'c'], 'query.json')
    (tmp_path / 'b.bin').unlink()
    with pytest.raises(UserError, match=r'b\.bin: no such file; frame b needs its scan, check --scans'):
        choose(frames, ['b'], 'query.json')
