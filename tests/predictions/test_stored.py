import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssal3d.active import CALSampler, CRBSampler, QuerySettings, select
from ssal3d.active.functional import diversity
from ssal3d.active.functional.diversity import ReadAhead
from ssal3d.active.query.inputs import read_pool
from ssal3d.errors import UserError
from ssal3d.predictions import PredictionWriter, read_predictions
from ssal3d.predictions.stored import StoredColumn
from ssal3d.predictions.synthetic import second_model, synthetic_pool, write_predictions

FIELDS = ('box_features', 'gradient')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Predictions whose parts and rows are in any order, in row groups of a few frames."""
    monkeypatch.setattr('ssal3d.predictions.writer.GROUP', 2**10)
    pool = synthetic_pool(50, fields=FIELDS, boxes_per_frame=3)
    order = np.random.default_rng(0).permutation(len(pool))
    writer = PredictionWriter(tmp_path, pool.classes, FIELDS, pool.metadata, frames_per_part=20)
    with writer:
        for frame in order.tolist():
            part = pool.boxes_of(frame)
            writer.add(
                str(pool.frame_ids[frame]),
                bboxes_3d=pool.boxes[part],
                scores_3d=pool.scores[part],
                labels_3d=pool.labels[part],
                box_features=pool['box_features'][part],
                gradient=pool['gradient'][frame],
            )
    return tmp_path


@pytest.fixture
def groups_read(monkeypatch):
    """The row groups that were read one by one, as file and number."""
    found, read = [], pq.ParquetFile.read_row_group

    def spy(self, number, *args, **kwargs):
        found.append((self.metadata.row_group(number).num_rows, number))
        return read(self, number, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, 'read_row_group', spy)
    return found


@pytest.mark.parametrize('name', FIELDS)
def test_rows_are_those_of_the_column_read_at_once(folder, name):
    whole = read_predictions(folder, FIELDS)
    pool = read_predictions(folder, FIELDS, stored=FIELDS)
    column, expected = pool[name], whole[name]
    assert isinstance(column, StoredColumn)
    assert column.shape == expected.shape
    assert column.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(column), expected)
    rng = np.random.default_rng(1)
    for index in (
        slice(3, 17, 2),
        slice(0, 0),
        np.zeros(0, dtype=np.int64),
        rng.integers(-len(expected), len(expected), 30),
        rng.random(len(expected)) < 0.3,
    ):
        np.testing.assert_array_equal(column[index], expected[index])
    frames = np.array([0, 3, 4, 20, 49])
    part, expected_part = pool.take(frames), whole.take(frames)
    assert isinstance(part[name], StoredColumn)
    np.testing.assert_array_equal(part[name][:], expected_part[name])
    again = np.array([1, 3])
    np.testing.assert_array_equal(part.take(again)[name][-2:], expected_part.take(again)[name][-2:])


def test_only_the_row_groups_of_the_wanted_rows_are_read(folder, groups_read):
    pool = read_predictions(folder, FIELDS, stored=FIELDS)
    assert not groups_read
    assert pool['gradient'][np.array([7, 7])].shape == (2, 64)
    assert len(groups_read) == 1
    pool['gradient'][:]
    parts = sorted(folder.glob('part-*.parquet'))
    assert len(groups_read) - 1 == sum(pq.read_metadata(part).num_row_groups for part in parts) > 10


@pytest.mark.parametrize('most', [1, 300, 2**20])
def test_reading_ahead_gives_the_rows_of_every_frame(folder, most, monkeypatch):
    monkeypatch.setattr(diversity, 'FIRST', 4)
    monkeypatch.setattr(diversity, 'AHEAD', most)
    monkeypatch.setattr(diversity, 'WHOLE', 0)
    whole = read_predictions(folder, FIELDS)
    pool = read_predictions(folder, FIELDS, stored=FIELDS)
    ahead = ReadAhead(pool['box_features'], pool.offsets)
    rng = np.random.default_rng(2)
    for _ in range(4):
        parts = np.split(rng.permutation(50), np.sort(rng.integers(1, 50, 12)))
        for part, rows in zip(parts[:7], ahead.rows_of([part for part in parts if len(part)])):
            del part, rows
        parts = [part for part in parts if len(part)]
        for part, rows in zip(parts, ahead.rows_of(parts)):
            expected = [whole['box_features'][whole.boxes_of(frame)] for frame in part.tolist()]
            np.testing.assert_array_equal(rows, np.concatenate(expected))


@pytest.mark.parametrize(('sampler', 'settings'), [(CALSampler(), 60), (CRBSampler(k1=2, k2=1), 30)])
def test_a_query_is_the_same_whether_columns_stay_on_disk(tmp_path, monkeypatch, sampler, settings):
    monkeypatch.setattr(diversity, 'WHOLE', 0)
    pool = synthetic_pool(300, fields=sampler.required_fields, noise=0.5, boxes_per_frame=4)
    pool.metadata['gradient_layer'] = 'shared_fc'
    write_predictions(pool, tmp_path, frames_per_part=40)
    reference = second_model(pool) if sampler.uses_reference else None
    chosen = [
        select(sampler, candidates, None, QuerySettings(settings), reference=reference).frames
        for candidates in (pool, read_pool(tmp_path, sampler, QuerySettings(settings)))
    ]
    assert len(chosen[0]) > 5
    assert chosen[0] == chosen[1]


def rewritten(part, change):
    table = pq.read_table(part)
    pq.write_table(change(table), part, row_group_size=4)


def test_a_column_that_cannot_be_is_named_when_the_folder_is_opened(folder):
    part = sorted(folder.glob('part-*.parquet'))[1]
    rewritten(part, lambda table: table.drop_columns(['gradient']))
    with pytest.raises(UserError, match=f"{part.name}: the field 'gradient' is missing"):
        read_predictions(folder, FIELDS, stored=FIELDS)
    narrow = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(20 * 3, dtype=np.float32)), 3)
    rewritten(part, lambda table: table.append_column('gradient', narrow))
    with pytest.raises(UserError, match=f'{part.name}: column types differ'):
        read_predictions(folder, FIELDS, stored=FIELDS)


def test_values_that_are_missing_are_named_when_they_are_read(folder):
    part = sorted(folder.glob('part-*.parquet'))[0]
    first = pq.read_table(part)['frame_id'][0].as_py()

    def change(table):
        rows = table['gradient'].to_pylist()
        gaps = pa.array([None, *rows[1:]], table['gradient'].type)
        return table.set_column(table.schema.get_field_index('gradient'), table.schema.field('gradient'), gaps)

    rewritten(part, change)
    pool = read_predictions(folder, FIELDS, stored=FIELDS)
    with pytest.raises(UserError, match=f"{part.name}: frame {first} has no value for 'gradient'"):
        pool['gradient'][:]


def test_rows_that_are_not_those_of_the_boxes_are_named(folder):
    part = sorted(folder.glob('part-*.parquet'))[0]

    def change(table):
        rows = table['box_features'].to_pylist()
        rows[5] = [*rows[5], [0.0] * 16]
        place = table.schema.get_field_index('box_features')
        return table.set_column(place, table.schema.field(place), pa.array(rows, table['box_features'].type))

    name = pq.read_table(part)['frame_id'][5].as_py()
    rewritten(part, change)
    pool = read_predictions(folder, FIELDS, stored=FIELDS)
    with pytest.raises(UserError, match=f"{part.name}: frame {name} has .* rows of 'box_features', expected .* as in"):
        pool['box_features'][:]


def test_files_that_change_while_they_are_in_use_are_told(folder):
    pool = read_predictions(folder, FIELDS, stored=FIELDS)
    part = sorted(folder.glob('part-*.parquet'))[0]
    rewritten(part, lambda table: table.slice(0, 2))
    with pytest.raises(UserError, match=f'{part.name}: (was written anew|not readable)'):
        pool['gradient'][:]
