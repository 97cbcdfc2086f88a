"""Plain JSON and CSV: files of several frames, and mistakes that people make in them."""

import json

import pytest

from ssal3d.annotation import build_format

GOOD = [5, 0, -1, 4, 1.7, 1.5, 0]
HEAD = 'frame_id,class,x,y,z,dx,dy,dz,yaw\n'


def read(tool, folder):
    """Return the frame ids that were read, and the problems as (frame id, text)."""
    reading = build_format(tool).read(folder)
    return [frame.frame_id for frame in reading.frames], [(found.frame_id, found.text) for found in reading.problems]


def write_json(folder, *frames):
    """Write a file of several frames, one box of each given."""
    entries = [{'frame_id': name, 'boxes': [{'class': 'Car', **box}]} for name, box in frames]
    path = folder / 'all.json'
    path.write_text(json.dumps({'schema': 1, 'frames': entries}).replace('{"frame_id"', '\n{"frame_id"'))
    return path


def test_a_mistake_in_one_frame_of_a_json_file_keeps_no_other_out(tmp_path):
    path = write_json(tmp_path, ('a', {'box': GOOD}), ('b', {'box': [*GOOD[:6], 90]}), ('c', {'box': GOOD}))
    frames, ((name, text),) = read('json', tmp_path)
    assert (frames, name) == (['a', 'c'], 'b')
    assert text.startswith(f'{path}, line 3: found yaw 90')
    path.write_text(path.read_text().replace('"frame_id": "a", ', ''))
    frames, problems = read('json', tmp_path)
    assert frames == ['c']
    assert [name for name, _ in problems] == ['all', 'b']
    assert "'frame_id' is missing" in problems[0][1]


@pytest.mark.parametrize('value', ['NaN', '{"deep": [1, Infinity]}', '1e400'])
def test_attributes_that_json_cannot_hold_are_a_problem_of_their_frame(tmp_path, value):
    path = write_json(tmp_path, ('a', {'box': GOOD}), ('b', {'box': GOOD, 'attributes': {'speed': 7}}))
    path.write_text(path.read_text().replace('"speed": 7', f'"speed": {value}'))
    frames, ((name, text),) = read('json', tmp_path)
    assert (frames, name) == (['a'], 'b')
    assert text.startswith(f"{path}, line 3: found {{'speed': ")
    assert 'expected finite numbers in attributes' in text


def test_null_is_no_id(tmp_path):
    write_json(tmp_path, ('a', {'box': GOOD, 'id': None, 'track_id': None}), ('b', {'box': GOOD, 'id': 0}))
    first, second = build_format('json').read(tmp_path).frames
    assert (first.cuboids[0].id, first.cuboids[0].track_id) == ('', '')
    assert (second.cuboids[0].id, second.cuboids[0].track_id) == ('0', '')


def test_a_mistake_in_one_frame_of_a_table_keeps_no_other_out(tmp_path):
    path = tmp_path / 'all.csv'
    rows = ['a,Car,5,0,-1,4,1.7,1.5,0', 'b,Car,5,0,-1,4,1.7,1.5,0', 'b,Car,6,0,-1,4,1.7,"1,5",0', 'c,,,,,,,,']
    path.write_text(HEAD + '\n'.join(rows))
    frames, ((name, text),) = read('csv', tmp_path)
    assert (frames, name) == (['a', 'c'], 'b')
    assert text == f"{path}, line 4: found dz '1,5', expected a number with a point (frame b)"


def test_a_row_without_a_frame_may_belong_to_any_so_no_frame_of_the_table_is_taken(tmp_path):
    path = tmp_path / 'all.csv'
    path.write_text(HEAD + 'a,Car,5,0,-1,4,1.7,1.5,0\n,Car,9,0,-1,4,1.7,1.5,0\n')
    frames, ((name, text),) = read('csv', tmp_path)
    assert (frames, name) == ([], 'all')
    assert text.startswith(f"{path}, line 3: column 'frame_id' is empty")


def test_blank_lines_count(tmp_path):
    (tmp_path / 'a.csv').write_text(HEAD + '\n\na,Car,5,0,-1,4,1.7,1.5,x\n')
    _, ((_, text),) = read('csv', tmp_path)
    assert text.startswith(f"{tmp_path}/a.csv, line 4: found yaw 'x'")
