"""Parsing and writing of KITTI object lines."""

from collections import Counter

import numpy as np
import pytest

from ssal3d.data.kitti_objects import (
    KittiObjects,
    concatenate,
    format_objects,
    parse_objects,
    read_frames,
    read_objects,
)
from ssal3d.errors import UserError
from ssal3d.ops.box_geometry import bev_corners

LABEL = 'Car 0.25 1 -1.57 599.41 156.40 629.75 189.25 1.50 1.60 3.90 0.47 1.49 69.44 -1.56'
DETECTION = 'Pedestrian -1 -1 0.5 10 20 30 80 1.8 0.6 0.7 -3 1.7 12.5 3.1 0.93'


def test_a_label_line_fills_every_column():
    objects = parse_objects(LABEL, 'x.txt')
    assert objects.names.tolist() == ['Car']
    assert (objects.truncated[0], objects.occluded[0], objects.alpha[0]) == (0.25, 1, -1.57)
    assert objects.bbox.tolist() == [[599.41, 156.40, 629.75, 189.25]]
    assert objects.dimensions.tolist() == [[1.5, 1.6, 3.9]]
    assert objects.location.tolist() == [[0.47, 1.49, 69.44]]
    assert objects.rotation_y[0] == -1.56
    assert np.isnan(objects.scores[0])


def test_a_detection_line_has_a_score():
    objects = parse_objects(DETECTION, 'x.txt')
    assert objects.scores.tolist() == [0.93]
    assert objects.occluded.dtype.kind == 'i'


def test_lines_with_and_without_score_keep_their_order():
    objects = parse_objects('\n'.join((DETECTION, LABEL, DETECTION)), 'x.txt')
    assert objects.names.tolist() == ['Pedestrian', 'Car', 'Pedestrian']
    np.testing.assert_array_equal(objects.scores, [0.93, np.nan, 0.93])
    assert objects.location[:, 2].tolist() == [12.5, 69.44, 12.5]


@pytest.mark.parametrize('text', ['', '\n', '  \n\n'])
def test_an_empty_file_holds_no_objects(text):
    objects = parse_objects(text, 'x.txt')
    assert len(objects) == 0
    assert objects.bbox.shape == (0, 4)
    assert objects.upright_boxes().shape == (0, 7)
    assert format_objects(objects) == ''


@pytest.mark.parametrize('text', [f'\n{LABEL}\n\n{LABEL}', f'{LABEL} \r\n{LABEL}\r\n', f'\t{LABEL}\n{LABEL}\n\n'])
def test_blank_lines_and_line_ends_do_not_matter(text):
    assert len(parse_objects(text, 'x.txt')) == 2


@pytest.mark.parametrize(
    ('line', 'found', 'expected'),
    [
        (LABEL.rsplit(' ', 1)[0], '14 fields', '15 or 16'),
        (f'{DETECTION} 7', '17 fields', '15 or 16'),
        ('garbage', '1 fields', '15 or 16'),
        (f'0 3 {LABEL}', '17 fields', 'frame and track like a line of the tracking benchmark, remove these two'),
        (f'0 3 {DETECTION}', '18 fields', 'tracking benchmark'),
        (f'{LABEL} 436 2018_03_07 0002', '18 fields', 'remove the fields behind the first 15'),
        (LABEL.replace(' 0.25 ', " b'0.25' "), "b'0.25'' as field", 'not as bytes of Python'),
        (LABEL.replace('69.44', 'far'), "'far' as field 14", 'finite number'),
        (LABEL.replace('1.60', 'nan'), "'nan' as field 10", 'finite number'),
        (DETECTION.replace('0.93', '-inf'), "'-inf' as field 16", 'finite number'),
        (LABEL.replace(' 1 ', ' 1.5 '), "occlusion '1.5'", 'whole number'),
        (LABEL.replace(' 1 ', ' 1e22 '), "occlusion '1e22'", 'whole number'),  # no int64 holds it
    ],
)
def test_a_bad_line_is_named(line, found, expected):
    text = f'{LABEL}\n\n{line}\n{LABEL}\n'
    with pytest.raises(UserError) as caught:
        parse_objects(text, 'labels/000123.txt')
    message = str(caught.value)
    assert message.startswith('labels/000123.txt, line 3: found ')
    assert found in message
    assert expected in message


def test_detections_must_have_scores(tmp_path):
    (tmp_path / '1.txt').write_text(LABEL)
    with pytest.raises(UserError, match=r'1\.txt, line 1: found 15 fields, expected 16'):
        read_frames(tmp_path, ['1'], detections=True)


def test_missing_and_binary_files_are_user_errors(tmp_path):
    with pytest.raises(UserError, match=r'absent\.txt: no such file'):
        read_objects(tmp_path / 'absent.txt')
    (tmp_path / 'scan.txt').write_bytes(b'\xff\xfe\x00\x01')
    with pytest.raises(UserError, match=r'scan\.txt: not a text file'):
        read_objects(tmp_path / 'scan.txt')
    with pytest.raises(UserError, match='nowhere: no such folder'):
        read_frames(tmp_path / 'nowhere', ['1'])


def test_a_file_under_another_spelling_is_named(tmp_path):
    (tmp_path / '000007.txt').write_text(LABEL)
    with pytest.raises(
        UserError, match=r'/7\.txt: no such file; frame 7 has no label file; did you mean 000007\.txt\?'
    ):
        read_frames(tmp_path, ['7'])


@pytest.mark.parametrize(('detections', 'kind'), [(False, 'label'), (True, 'detection')])
def test_a_frame_without_file_is_named(tmp_path, detections, kind):
    (tmp_path / '000001.txt').write_text('')
    with pytest.raises(UserError, match=rf'000002\.txt: .*frame 000002 has no {kind} file; write an empty file'):
        read_frames(tmp_path, ['000001', '000002'], detections=detections)


def test_frames_come_in_the_order_asked_for(tmp_path):
    (tmp_path / 'a.txt').write_text(f'{LABEL}\n{LABEL}\n')
    (tmp_path / 'b.txt').write_text('')
    (tmp_path / 'c.txt').write_text(DETECTION)
    frames = read_frames(tmp_path, ['c', 'b', 'a'])
    assert len(frames) == 3
    assert frames.offsets.tolist() == [0, 1, 1, 3]
    assert [frames[index].names.tolist() for index in range(3)] == [['Pedestrian'], [], ['Car', 'Car']]


def test_a_bad_line_among_many_files_is_found(tmp_path):
    for name in 'abc':
        (tmp_path / f'{name}.txt').write_text(LABEL if name != 'b' else f'{LABEL}\n{LABEL} oops')
    with pytest.raises(UserError, match=r"b\.txt, line 2: found 'oops' as field 16"):
        read_frames(tmp_path, list('abc'))


def test_concatenate_equals_reading_together(tmp_path):
    (tmp_path / 'a.txt').write_text(f'{LABEL}\n{DETECTION}\n')
    (tmp_path / 'b.txt').write_text('')
    together = read_frames(tmp_path, ['a', 'b'])
    apart = concatenate([read_objects(tmp_path / 'a.txt'), read_objects(tmp_path / 'b.txt')])
    assert apart.offsets.tolist() == together.offsets.tolist() == [0, 2, 2]
    np.testing.assert_array_equal(apart.objects.upright_boxes(), together.objects.upright_boxes())
    assert len(concatenate([])) == 0


def test_what_is_written_can_be_read_again():
    written = format_objects(parse_objects(f'{LABEL}\n{DETECTION}\n', 'x.txt'))
    first, second = written.splitlines()
    assert len(first.split()) == 15
    assert len(second.split()) == 16
    again, original = parse_objects(written, 'y.txt'), parse_objects(f'{LABEL}\n{DETECTION}\n', 'x.txt')
    for column in KittiObjects.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, column), getattr(original, column))


def test_scores_keep_single_precision_and_unknown_image_boxes_become_minus_one():
    objects = parse_objects(DETECTION, 'x.txt')
    objects.bbox[:], objects.scores[:] = np.nan, np.float32(1 / 3)
    again = parse_objects(format_objects(objects), 'y.txt')
    assert again.bbox.tolist() == [[-1, -1, -1, -1]]
    assert np.float32(again.scores[0]) == np.float32(1 / 3)


@pytest.mark.parametrize('rotation', [0.0, 0.4, -np.pi / 2, 2.9])
def test_upright_boxes_turn_like_the_corners_of_the_devkit(rotation):
    line = f'Car 0 0 0 0 0 9 9 1.5 1.6 3.9 4 1.7 20 {rotation}'
    box = parse_objects(line, 'x.txt').upright_boxes()
    turn = np.array([[np.cos(rotation), np.sin(rotation)], [-np.sin(rotation), np.cos(rotation)]])
    along = np.array([[1.95, -1.95, -1.95, 1.95], [0.8, 0.8, -0.8, -0.8]])
    expected = (turn @ along).T + np.array([4, 20])
    np.testing.assert_allclose(bev_corners(box)[0], expected, atol=1e-12)
    assert box[0, 2] == pytest.approx(-1.7 + 0.75)
    assert box[0, 5] == 1.5


def test_all_official_labels_parse(kitti_labels):
    frames = read_frames(kitti_labels / 'training' / 'label_2', [f'{index:06d}' for index in range(7481)])
    counts = Counter(frames.objects.names.tolist())
    assert len(frames) == 7481
    assert len(frames.objects) == 51865
    assert counts['Car'] == 28742
    assert counts['Pedestrian'] == 4487
    assert counts['Cyclist'] == 1627
    assert counts['Van'] == 2914
    assert counts['DontCare'] == 11295
