"""Waymo's .bin files, written by protobuf's compiler from the test's own text."""

import numpy as np
import pytest

from ssal3d.errors import UserError
from ssal3d.evaluation import waymo_objects
from ssal3d.evaluation.waymo_objects import counted_truth, read_objects, write_objects
from tests.helpers.waymo_wire import LABEL, METRICS, compiled, objects_message

BOX = (10.0, -2.0, 0.5, 4.5, 2.0, 1.6, 0.25)
CAR = dict(context_name='segment', frame_timestamp_micros=1_550_000_000_000_000, type=1, box=BOX)


def write(path, rows):
    path.write_bytes(objects_message(rows).SerializeToString())
    return path


def test_every_field_that_counts_is_read(tmp_path):
    rows = [
        {**CAR, 'score': 0.25, 'overlap_with_nlz': True, 'camera_name': 2, 'id': 'a', 'tracking_difficulty_level': 2},
        {**CAR, 'type': 4, 'detection_difficulty_level': 2, 'num_lidar_points_in_box': 77},
        {**CAR, 'context_name': 'other', 'type': 2},
    ]
    numbers = {}
    objects = read_objects(write(tmp_path / 'a.bin', rows), numbers)
    time = CAR['frame_timestamp_micros']
    assert numbers == {('segment', 2, time): 0, ('segment', 0, time): 1, ('other', 0, time): 2}
    np.testing.assert_array_equal(objects.boxes, [BOX] * 3)
    assert objects.frames.tolist() == [0, 1, 2]
    assert objects.types.tolist() == [1, 4, 2]
    assert objects.scores.tolist() == [0.25, 1, 1]
    assert objects.levels.tolist() == [0, 2, 0]
    assert objects.num_points.tolist() == [0, 77, 0]
    assert objects.in_no_label_zone.tolist() == [True, False, False]


def test_pieces_of_any_size_give_the_same(tmp_path, monkeypatch):
    rows = [{**CAR, 'context_name': f's{i % 3}', 'score': i / 40, 'id': 'x' * (i * 20)} for i in range(40)]
    message = objects_message(rows)
    message.no_label_zone_objects.add(context_name='s1').zone.x.extend([0.0, 1.0])
    path = tmp_path / 'a.bin'
    path.write_bytes(message.SerializeToString())
    whole, whole_numbers = read_objects(path, numbers := {}), numbers
    monkeypatch.setattr(waymo_objects, '_PIECE_BYTES', 100)
    pieces = read_objects(path, numbers := {})
    assert numbers == whole_numbers
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(getattr(pieces, name), values)


def test_what_we_write_is_what_the_official_messages_say(tmp_path):
    numbers = {}
    rows = [{**CAR, 'score': 0.5}, {**CAR, 'type': 2, 'num_lidar_points_in_box': 3, 'overlap_with_nlz': True}]
    objects = read_objects(write(tmp_path / 'a.bin', rows), numbers)
    write_objects(tmp_path / 'b.bin', objects, list(numbers))
    written = compiled(LABEL + METRICS)['Objects'].FromString((tmp_path / 'b.bin').read_bytes()).objects
    assert [item.object.type for item in written] == [1, 2]
    assert [item.score for item in written] == [0.5, 1]
    assert [item.overlap_with_nlz for item in written] == [False, True]
    assert written[1].object.num_lidar_points_in_box == 3
    assert written[0].object.box == objects_message(rows).objects[0].object.box
    assert {item.context_name for item in written} == {'segment'}
    assert {item.frame_timestamp_micros for item in written} == {CAR['frame_timestamp_micros']}


def test_the_level_is_the_annotators_or_follows_from_the_points(tmp_path):
    points_and_levels = ((0, 0), (5, 0), (6, 0), (100, 2), (2, 1), (0, 1))
    rows = [
        {**CAR, 'num_lidar_points_in_box': n, 'detection_difficulty_level': level} for n, level in points_and_levels
    ]
    truth = counted_truth(read_objects(write(tmp_path / 'a.bin', rows), {}))
    assert truth.num_points.tolist() == [5, 6, 100, 2]
    assert truth.levels.tolist() == [2, 1, 2, 1]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'score': 1.5}, r'frame segment at 1550000000000000: found the score 1\.5 .*expected a number in \[0, 1\]'),
        ({'score': float('nan')}, 'found the score nan'),
        ({'box': (float('inf'), *BOX[1:])}, 'found the box .*expected finite numbers'),
        ({'box': (*BOX[:3], 0.0, *BOX[4:])}, 'expected a size above 0'),
    ],
)
def test_impossible_values_name_file_and_frame(tmp_path, change, message):
    with pytest.raises(UserError, match=rf'bad\.bin: .*{message}'):
        read_objects(write(tmp_path / 'bad.bin', [CAR, {**CAR, **change}]), {})


@pytest.mark.parametrize('content', [b'{"schema": 1}', b'\x0a', b'\x0a\xff\xff\xff\xff\xff\xff\x01', b'\x12\x05\x00'])
def test_another_format_is_a_user_error(tmp_path, content):
    path = tmp_path / 'bad.bin'
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.bin: not a serialised Waymo message 'Objects'"):
        read_objects(path, {})


def test_a_cut_or_garbled_file_is_a_user_error(tmp_path):
    content = objects_message([CAR] * 3).SerializeToString()
    (tmp_path / 'cut.bin').write_bytes(content[:-5])
    with pytest.raises(UserError, match=r'cut\.bin: not a serialised'):
        read_objects(tmp_path / 'cut.bin', {})
    (tmp_path / 'garbled.bin').write_bytes(content[:2] + b'\xff' * 9 + content[11:])
    with pytest.raises(UserError, match=r'garbled\.bin: not a serialised'):
        read_objects(tmp_path / 'garbled.bin', {})


def test_a_missing_file_is_a_user_error_and_an_empty_one_holds_nothing(tmp_path):
    with pytest.raises(UserError, match=r'none\.bin: cannot be read \(No such file'):
        read_objects(tmp_path / 'none.bin', {})
    (tmp_path / 'empty.bin').touch()
    assert len(read_objects(tmp_path / 'empty.bin', {})) == 0
