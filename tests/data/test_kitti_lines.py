"""The compiled parser of many plain KITTI files."""

import random

import numpy as np
import pytest

from ssal3d.data.kitti_lines import parse_plain

NUMBERS = ['0.25', '1', *['-1.57'] * 12]
ODD = ['nan', '-inf', '1e', '1e+', 'e5', '--1', '1.2.3', '.', '-', '1e999', '0x10', '\u0661']


def line(name: str, numbers: list[str]) -> str:
    return ' '.join((name, *numbers))


def random_number(rng: random.Random) -> str:
    value = rng.uniform(-100, 100)
    return rng.choice(
        [
            *(f'{value:.2f}', f'{value:.9g}', f'{value * 1e-7:.9g}', repr(value), f'{value:E}', f'{value:.20f}'),
            *(f'{int(value):+}', '-0.00', '.5', '5.', f'{rng.getrandbits(64)}e{rng.randrange(-400, 280)}'),
            f'{2**53 + rng.randrange(-3, 4)}e{rng.randrange(-25, 25)}',
        ]
    )


def test_numbers_are_those_of_float_to_the_last_bit():
    rng = random.Random(0)
    rows = [[random_number(rng) for _ in range(15)] for _ in range(2000)]
    lines = parse_plain(['\n'.join(line('Car', row) for row in rows)], (16,))
    expected = np.array([[float(value) for value in row] for row in rows])
    assert lines.numbers.tobytes() == expected.tobytes()


def test_files_keep_their_lines_and_lines_their_names():
    first = f'\n \t{line("Car", NUMBERS)} \r\n{line("DontCare", NUMBERS)}  0.5\r\r\n'
    lines = parse_plain([first, '', line('Van', NUMBERS)], (15, 16))
    assert lines.offsets.tolist() == [0, 2, 2, 3]
    assert lines.names.tolist() == ['Car', 'DontCare', 'Van']
    assert lines.names.dtype == np.dtype('<U8')
    np.testing.assert_array_equal(lines.numbers[:, 14], [np.nan, 0.5, np.nan])


@pytest.mark.parametrize('texts', [[], [''], ['\n', ' \r\n']])
def test_no_line_is_no_row(texts):
    lines = parse_plain(texts, (15, 16))
    assert lines.numbers.shape == (0, 15)
    assert lines.names.tolist() == []
    assert lines.offsets.tolist() == [0] * (len(texts) + 1)


@pytest.mark.parametrize('odd', ODD)
def test_what_is_no_finite_number_is_not_plain(odd):
    numbers = NUMBERS.copy()
    numbers[5] = odd
    assert parse_plain([line('Car', NUMBERS), line('Car', numbers)], (15, 16)) is None


@pytest.mark.parametrize('text', ['Car', line('Car', NUMBERS[1:]), line('Car', [*NUMBERS, '1', '2'])])
def test_a_line_of_another_length_is_not_plain(text):
    assert parse_plain([line('Car', NUMBERS), text], (15, 16)) is None
    assert parse_plain([line('Car', NUMBERS)], (16,)) is None


@pytest.mark.parametrize('character', ['\x0b', '\x0c', '\x1c', '\x00', '\u2028', '\xa0'])
def test_a_character_that_may_end_a_line_is_not_plain(character):
    assert parse_plain([f'{line("Car", NUMBERS)}{character}\n'], (15, 16)) is None
