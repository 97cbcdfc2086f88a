import pytest

from ssal3d.annotation.json_lines import listed, member, numbers, read_located_json, where
from ssal3d.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(text, encoding='utf-8'):
        path = tmp_path / 'a.json'
        path.write_text(text, encoding=encoding)
        return path

    return write


def test_objects_know_their_line(write):
    path = write('{"a": [\n {"x": 1},\n\n {"x": {"y":\n {"z": 2}}}\n]}')
    first, second = read_located_json(path)['a']
    assert where(first) == f'{path}, line 2'
    assert where(second['x']) == f'{path}, line 4'
    assert where(second['x']['y']) == f'{path}, line 5'
    assert where(3, 'elsewhere') == 'elsewhere'


def test_content_is_that_of_the_json_module(write):
    text = '{"a": [1, 2.5, "\\u00e9", null, true], "b": {}, "c": -1e-3}'
    assert read_located_json(write(text)) == {'a': [1, 2.5, 'é', None, True], 'b': {}, 'c': -1e-3}
    assert read_located_json(write('{"a": 1}', encoding='utf-8-sig')) == {'a': 1}  # as Windows editors save it


@pytest.mark.parametrize(
    ('text', 'message'),
    [('{"a":\n 1,,}', 'line 2: not valid JSON'), ('', 'line 1: not valid JSON'), ('[' * 5000, 'not readable as JSON')],
)
def test_damaged_files_name_the_line(write, text, message):
    with pytest.raises(UserError, match=message):
        read_located_json(write(text))


def test_missing_members_and_wrong_numbers_name_line_and_key(write):
    entry = read_located_json(write('\n{"psr": {\n"position": {"x": 1, "y": "2", "z": 1e999}}}'))
    with pytest.raises(UserError, match=r"line 3: 'scale' is missing|line 2: 'psr.scale' is missing"):
        member(entry, 'psr', 'scale')
    with pytest.raises(UserError, match=r"line 3: found psr.position.y '2', expected a finite number"):
        numbers(entry, 'x y', 'psr', 'position')
    with pytest.raises(UserError, match='z inf, expected a finite number'):
        numbers(entry, 'z', 'psr', 'position')
    with pytest.raises(UserError, match='expected a list'):
        listed(entry, 'boxes', 'a.json')
