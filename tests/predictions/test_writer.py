"""Predictions of a pool without frames: what is left when everything is labelled."""

import pytest

from ssal3d.predictions import read_predictions
from ssal3d.predictions.schema import COLUMNS
from ssal3d.predictions.table import Ragged
from ssal3d.predictions.writer import write_part


@pytest.mark.parametrize('fields', [(), tuple(COLUMNS)], ids=['required', 'all'])
def test_no_frames_have_every_column(tmp_path, fields):
    write_part(tmp_path / 'part-00000.parquet', [], fields, {'classes': ['Car']})
    found = read_predictions(tmp_path, fields)
    assert len(found) == len(found.boxes) == 0
    assert found.classes == ('Car',)
    for name in set(fields) - {'bboxes_3d', 'scores_3d', 'labels_3d'}:
        column = found[name]
        assert len(column.values if isinstance(column, Ragged) else column) == 0, name
