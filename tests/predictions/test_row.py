"""A frame of predictions that cannot be right is refused when it is added, by its name."""

import numpy as np
import pytest

from ssal3d.errors import UserError
from ssal3d.predictions import PredictionWriter, read_predictions

BOX = [10.0, 0, -1, 4, 1.7, 1.5, 0.1]


def frame(**changes):
    return {'bboxes_3d': [BOX, BOX], 'scores_3d': [0.5, 0.6], 'labels_3d': [0, 0], **changes}


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (dict(scores_3d=[5.0, 0.1]), r'scores_3d has 5.0, expected in \[0, 1\]'),
        (dict(scores_3d=[0.5]), r'scores_3d have the shape \(1,\), expected a row for each of 2 boxes'),
        (dict(scores_3d=[np.nan, 0.1]), 'scores_3d has nan'),
        (dict(labels_3d=[0, 3]), r'labels_3d has 3, expected in 0\.\.0'),
        (dict(labels_3d=[0, 0.5]), r'labels_3d has 0\.5'),
        (dict(labels_3d=['Car', 'Car']), 'labels_3d are not numbers'),
        (dict(bboxes_3d=[BOX[:6], BOX[:6]]), r'bboxes_3d have the shape \(2, 6\), expected \(N, 7\)'),
        (dict(bboxes_3d=BOX), r'bboxes_3d have the shape \(7,\)'),
        (dict(bboxes_3d=[BOX, BOX[:6]]), 'bboxes_3d are not numbers in rows of one length'),
        (dict(bboxes_3d=[BOX, [np.nan] * 7]), 'expected finite numbers'),
        (dict(bboxes_3d=[BOX, [1, 1, 1, 4, 0, 1, 0]]), 'expected sizes above 0'),
        (dict(num_points=[1, 2, 3]), r'num_points have the shape \(3,\)'),
        (dict(class_logits=[[1.0], [2.0]], num_points=[1, 2]), "unknown column 'class_logits'.*declare it"),
        ({}, "column 'num_points' is missing"),
    ],
)
def test_a_wrong_frame_is_refused_by_its_name(tmp_path, changes, said):
    with pytest.raises(UserError, match=f'^frame 000007: .*{said}'):
        PredictionWriter(tmp_path, ['Car'], ['num_points']).add(
            '000007', **frame(**({} if not changes else {'num_points': [1, 2], **changes}))
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', [7, None, ''])
def test_an_id_that_is_no_text_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"frame id .*, expected text, e\.g\. '000001'"):
        PredictionWriter(tmp_path, ['Car']).add(name, **frame())


def test_a_frame_that_was_added_before_is_refused(tmp_path):
    writer = PredictionWriter(tmp_path, ['Car'])
    writer.add('1', **frame())
    with pytest.raises(UserError, match='frame 1 was added before'):
        writer.add('1', **frame())


def test_rows_of_another_width_than_before_are_refused(tmp_path):
    writer = PredictionWriter(tmp_path, ['Car'], ['box_features'])
    writer.add('1', **frame(box_features=np.zeros((2, 8))))
    writer.add('2', **frame(bboxes_3d=[], scores_3d=[], labels_3d=[], box_features=[]))
    with pytest.raises(UserError, match='frame 3: box_features have 4 values a row, expected 8'):
        writer.add('3', **frame(box_features=np.zeros((2, 4))))
    writer.flush()
    assert read_predictions(tmp_path, ['box_features'])['box_features'].shape == (2, 8)


def test_an_unknown_column_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match="did you mean 'num_points'"):
        PredictionWriter(tmp_path, ['Car'], ['num_point'])


@pytest.mark.parametrize(
    ('fields', 'values', 'message'),
    [
        (
            ['class_logits'],
            {'class_logits': [[1.0, 2.0]]},
            'class_logits have 2 values a box, expected one for each of 1 classes',
        ),
        (
            ['box_features'],
            {'box_features': [[1e6, 1.0]]},
            r'box_features have the value 1e\+06, expected at most 65504',
        ),
        (['gradient'], {'gradient': [1e39]}, r'gradient have the value 1e\+39'),
    ],
)
def test_values_that_a_reader_would_misread_are_refused(tmp_path, fields, values, message):
    box = dict(bboxes_3d=[[10.0, 0, -1, 4, 1.7, 1.5, 0.1]], scores_3d=[0.5], labels_3d=[0])
    writer = PredictionWriter(tmp_path, classes=['Car'], fields=fields)
    with pytest.raises(UserError, match=f'frame 000001: {message}'):
        writer.add('000001', **box, **values)


def test_a_folder_that_holds_the_frame_already_is_refused(tmp_path):
    nothing = dict(bboxes_3d=np.zeros((0, 7)), scores_3d=[], labels_3d=[])
    for frame in ('000001', '000002'):  # a second writer goes on in the folder
        with PredictionWriter(tmp_path, classes=['Car']) as writer:
            writer.add(frame, **nothing)
    with pytest.raises(UserError, match='holds predictions of frame 000002 already; choose another folder'):
        PredictionWriter(tmp_path, classes=['Car']).add('000002', **nothing)
    (tmp_path / 'part-0-00009.parquet').write_bytes(b'PAR1')
    with pytest.raises(UserError, match=r'part-0-00009\.parquet: not readable as Parquet'):
        PredictionWriter(tmp_path, classes=['Car'])


def test_classes_are_a_list(tmp_path):
    with pytest.raises(UserError, match=r"classes: found 'Car', expected a list of names, e\.g\. \['Car'\]"):
        PredictionWriter(tmp_path, classes='Car')
