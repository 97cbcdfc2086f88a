import tracemalloc

import numpy as np
import pytest

from ssal3d.active.functional import checks
from ssal3d.active.functional.chunks import map_chunks
from ssal3d.errors import UserError
from ssal3d.predictions.synthetic import synthetic_pool


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('squared', [False, True])
def test_the_first_broken_row_is_found_in_any_chunk(dtype, value, squared, monkeypatch):
    monkeypatch.setattr(checks, 'VALUES', 12)  # four rows
    rows = np.linspace(-1, 1, 30, dtype=dtype).reshape(10, 3)
    assert checks.first_broken(rows, squared) is None
    for broken in (9, 4, 3, 0):
        rows[broken, 1] = value
        assert checks.first_broken(rows, squared) == broken


def test_nothing_is_not_broken():
    for shape in ((0, 3), (0, 0), (3, 0)):
        assert checks.first_broken(np.zeros(shape)) is None


def test_only_squares_notice_huge_values():
    rows = np.array([[1.0], [1e30]], dtype=np.float32)
    assert checks.first_broken(rows) is None
    assert checks.first_broken(rows, squared=True) == 1


@pytest.mark.parametrize('dtype', [np.float16, np.float32])
def test_memory_does_not_grow_with_the_column(dtype, monkeypatch):
    monkeypatch.setattr(checks, 'VALUES', 2**14)
    rows = np.zeros((2**13, 2**10), dtype=dtype)  # 8 million values
    checks.first_broken(rows)
    tracemalloc.start()
    checks.first_broken(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.size / 2  # a mask of all values would be twice as large


def test_messages_name_source_and_frame():
    pool = synthetic_pool(4, fields=('gradient',))
    rows = np.zeros((4, 2))
    rows[2] = np.nan
    frame = pool.frame_ids[2]
    for check, words in (
        (lambda: checks.check_frame_rows(rows, 'roi_features', pool), f'roi_features of frame {frame} hold NaN'),
        (lambda: checks.check_gradients(rows, np.arange(4), pool), f'the gradient of frame {frame} holds NaN'),
        (lambda: checks.check_box_features(rows, np.array([0, 0, 2, 3]), pool.frame_ids), f'frame {frame}: box_feat'),
        (lambda: checks.check_width(rows, rows[:, :1], 'found {} values', pool, pool), 'found 2 values, expected 1 as'),
    ):
        with pytest.raises(UserError, match=words):
            check()
    checks.check_width(rows[:0], rows[:, :1], 'found {} values', pool, pool)


def test_gradients_whose_squares_overflow_are_refused_and_features_are_not():
    pool = synthetic_pool(3)
    rows = np.array([[1.0], [1e30], [2.0]], dtype=np.float32)
    with pytest.raises(UserError, match=f'the gradient of frame {pool.frame_ids[1]} holds NaN, infinite or huge'):
        checks.check_gradients(rows, np.arange(3), pool)
    checks.check_frame_rows(rows, 'roi_features', pool)


def test_one_chunk_needs_no_thread(monkeypatch):
    monkeypatch.setattr('ssal3d.active.functional.chunks.ThreadPoolExecutor', None)
    assert map_chunks(lambda start, stop: (start, stop), 256) == [(0, 256)]
