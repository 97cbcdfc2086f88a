"""The prediction contract: what is written comes back, whatever the parts; what is wrong is named."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssal3d.data.label_state import pool_digest
from ssal3d.errors import UserError
from ssal3d.predictions import PredictionWriter, read_predictions
from ssal3d.predictions.schema import COLUMNS, METADATA_KEY, REQUIRED, Layout
from ssal3d.predictions.writer import write_part

CLASSES = ['Car', 'Pedestrian', 'Cyclist']


def frame(rng, boxes):
    return {
        'bboxes_3d': np.abs(rng.normal(size=(boxes, 7))).astype(np.float32),
        'scores_3d': rng.random(boxes).astype(np.float32),
        'labels_3d': rng.integers(0, 3, boxes).astype(np.int16),
        'class_logits': rng.normal(size=(boxes, 3)).astype(np.float32),
        'box_features': rng.random((boxes, 8)).astype(np.float16),
        'num_points': rng.integers(0, 99, boxes).astype(np.int32),
        'roi_index': rng.integers(0, 9, boxes).astype(np.int32),
        'roi_features': rng.random((4, 8)).astype(np.float16),
        'roi_valid': rng.random(4) > 0.5,
        'mc_scores': rng.random((5, 3)).astype(np.float32),
        'mc_residuals': rng.random((5, 3, 7)).astype(np.float32),
        'gradient': rng.random(6).astype(np.float32),
        'predicted_loss': np.float32(rng.random()),
        'roi_scores_target': rng.random(4).astype(np.float32),
        'roi_residuals_target': rng.random((4, 7)).astype(np.float32),
        'lidar2img': rng.random((4, 4)).astype(np.float32),
        'image_shape': np.array((375, 1242), dtype=np.float32),
    }


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return {f'{number:06d}': frame(rng, boxes) for number, boxes in enumerate((3, 0, 1, 5, 2))}


def write(folder, frames, fields=tuple(COLUMNS), frames_per_part=2, **options):
    with PredictionWriter(folder, CLASSES, fields, frames_per_part=frames_per_part, **options) as writer:
        for frame_id, values in frames.items():
            writer.add(frame_id, **{name: values[name] for name in {*REQUIRED, *fields}})
    return folder


def write_unchecked(folder, frames):
    """Write what `PredictionWriter` refuses, as another program may."""
    write_part(folder / 'part-0-00000.parquet', list(frames.items()), tuple(COLUMNS), {'classes': CLASSES})
    return folder


def test_a_pass_that_lacks_a_part_is_told(tmp_path, frames):
    write(tmp_path, frames, metadata={'frames_sha256': pool_digest(frames)})
    assert len(read_predictions(tmp_path)) == 5
    sorted(tmp_path.glob('part-*'))[1].unlink()
    with pytest.raises(
        UserError, match=r': found 3 frames, not those of the pass .* run it again, what is finished is kept$'
    ):
        read_predictions(tmp_path)


def test_every_column_comes_back(tmp_path, frames):
    read = read_predictions(write(tmp_path, frames), tuple(COLUMNS))
    assert list(read.frame_ids) == list(frames)
    assert read.classes == tuple(CLASSES)
    for position, values in enumerate(frames.values()):
        boxes = read.boxes_of(position)
        np.testing.assert_array_equal(read.boxes[boxes], values['bboxes_3d'])
        np.testing.assert_array_equal(read.scores[boxes], values['scores_3d'])
        np.testing.assert_array_equal(read.labels[boxes], values['labels_3d'])
        for name, column in COLUMNS.items():
            if name in read.fields:
                own = {
                    Layout.BOX: lambda value: value[boxes],  # noqa: B023
                    Layout.FRAME: lambda value: value[position],  # noqa: B023
                    Layout.RAGGED: lambda value: value.of(position),  # noqa: B023
                }[column.layout](read[name])
                np.testing.assert_array_equal(np.ravel(own), np.ravel(values[name]), err_msg=name)
                assert own.dtype == column.dtype
    assert set(read.fields) == set(COLUMNS) - {'bboxes_3d', 'scores_3d', 'labels_3d'}


def test_order_of_rows_and_parts_does_not_matter(tmp_path, frames):
    first = read_predictions(write(tmp_path / 'a', frames, frames_per_part=1), ['box_features'])
    second = read_predictions(
        write(tmp_path / 'b', dict(reversed(frames.items())), frames_per_part=3), ['box_features']
    )
    np.testing.assert_array_equal(first.frame_ids, second.frame_ids)
    np.testing.assert_array_equal(first.offsets, second.offsets)
    np.testing.assert_array_equal(first['box_features'], second['box_features'])


def test_take_keeps_what_belongs_together(tmp_path, frames):
    read = read_predictions(write(tmp_path, frames), tuple(COLUMNS))
    taken = read.take(np.array([1, 3, 4]))
    assert list(taken.frame_ids) == ['000001', '000003', '000004']
    np.testing.assert_array_equal(taken['roi_features'], read['roi_features'][[1, 3, 4]])
    for new, old in enumerate((1, 3, 4)):
        np.testing.assert_array_equal(taken.boxes[taken.boxes_of(new)], read.boxes[read.boxes_of(old)])
        np.testing.assert_array_equal(taken['mc_scores'].of(new), read['mc_scores'].of(old))
    np.testing.assert_array_equal(taken.frame_of_box, [1] * 5 + [2] * 2)


def test_a_pool_without_any_box_is_legal(tmp_path):
    empty = {'000001': frame(np.random.default_rng(0), 0)}
    read = read_predictions(write(tmp_path, empty), ['box_features', 'class_logits'])
    assert read.boxes.shape == (0, 7)
    assert read['box_features'].shape == (0, 8)


def test_missing_field_is_named_with_the_remedy(tmp_path, frames):
    write(tmp_path, frames, fields=())
    with pytest.raises(UserError, match=r"part-0-00000.*'box_features' is missing.*predict the pool again"):
        read_predictions(tmp_path, ['box_features'])
    with pytest.raises(UserError, match='did you mean'):
        read_predictions(tmp_path, ['box_feature'])
    with pytest.raises(UserError, match="'gradient' is missing"):
        read_predictions(tmp_path)['gradient']


def test_twice_the_same_frame(tmp_path, frames):
    write(tmp_path, frames)
    write(tmp_path / 'other', {'000003': frames['000003']}, prefix='1')  # as a process that writes at the same time
    (part,) = (tmp_path / 'other').iterdir()
    part.rename(tmp_path / part.name)
    with pytest.raises(UserError, match='frame 000003 appears twice'):
        read_predictions(tmp_path)


def test_parts_of_different_models(tmp_path, frames):
    write(tmp_path, frames, metadata={'checkpoint_sha256': 'a'})
    write(tmp_path, {'000009': frames['000003']}, prefix='1', metadata={'checkpoint_sha256': 'b'})
    with pytest.raises(UserError, match='checkpoint_sha256'):
        read_predictions(tmp_path)


@pytest.mark.parametrize(
    ('column', 'value', 'message'),
    [
        ('scores_3d', np.nan, 'scores_3d nan, expected in'),
        ('scores_3d', 1.5, 'scores_3d 1.5, expected'),
        ('labels_3d', 3, r'labels_3d 3, expected in 0\.\.2'),
        ('bboxes_3d', np.inf, 'bboxes_3d .*finite'),
    ],
)
def test_values_out_of_range_name_the_frame(tmp_path, frames, column, value, message):
    frames['000003'][column].flat[0] = value
    with pytest.raises(UserError, match=f'frame 000003 has {message}'):
        read_predictions(write_unchecked(tmp_path, frames))


@pytest.mark.parametrize('size', [-4.0, 0.0])
def test_a_box_without_a_size_names_the_frame(tmp_path, frames, size):
    frames['000003']['bboxes_3d'][1, 3] = size
    with pytest.raises(UserError, match=r'frame 000003 has bboxes_3d .*expected sizes above 0'):
        read_predictions(write_unchecked(tmp_path, frames))


def test_unequal_lengths_name_the_frame(tmp_path, frames):
    frames['000003']['box_features'] = frames['000003']['box_features'][:-1]
    with pytest.raises(UserError, match="frame 000003 has 4 rows of 'box_features', expected 5"):
        read_predictions(write_unchecked(tmp_path, frames), ['box_features'])


def test_folders_without_predictions(tmp_path):
    with pytest.raises(UserError, match='no part'):
        read_predictions(tmp_path)
    (tmp_path / 'part-0.parquet').write_bytes(b'PAR1 cut short')
    with pytest.raises(UserError, match='not readable as Parquet'):
        read_predictions(tmp_path)


def test_foreign_parquet_files(tmp_path):
    pq.write_table(pa.table({'frame_id': ['1']}), tmp_path / 'part-0.parquet')
    with pytest.raises(
        UserError, match="no metadata key 'ssal3d', which tells classes and boxes; write the file with PredictionWriter"
    ):
        read_predictions(tmp_path)
    other = pa.schema([('frame_id', pa.string())], {METADATA_KEY: json.dumps({'schema': 2, 'classes': ['Car']})})
    pq.write_table(pa.table({'frame_id': ['1']}, schema=other), tmp_path / 'part-0.parquet')
    with pytest.raises(UserError, match='found schema 2'):
        read_predictions(tmp_path)


def test_null_values_name_the_frame(tmp_path, frames):
    part = next(write(tmp_path, frames, fields=(), frames_per_part=9).glob('*.parquet'))
    table = pq.read_table(part)
    rows = table.to_pylist()
    rows[2]['scores_3d'] = None
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), part)
    with pytest.raises(UserError, match="frame 000002 has no value for 'scores_3d'"):
        read_predictions(tmp_path)


def test_a_killed_writer_leaves_whole_parts_only(tmp_path, frames):
    writer = PredictionWriter(tmp_path, CLASSES, frames_per_part=2)
    for frame_id, values in frames.items():
        writer.add(frame_id, **{name: values[name] for name in REQUIRED})
    assert len(read_predictions(tmp_path)) == 4  # the fifth frame was never flushed
    assert not list(tmp_path.glob('.*'))


def test_optional_columns_are_left_out_where_the_files_lack_them(tmp_path, frames):
    """Without them a sampler says so itself; a column that is not optional is still an error."""
    write(tmp_path, frames, fields=('roi_features',))
    wanted = ('roi_features', 'roi_scores_target')
    assert set(read_predictions(tmp_path, wanted, optional=('roi_scores_target',)).fields) == {'roi_features'}
    with pytest.raises(UserError, match="the field 'roi_scores_target' is missing"):
        read_predictions(tmp_path, wanted)
