"""Rows and files made beside the model: in order, complete, and with their errors raised."""

import numpy as np
import pytest

from ssal3d.errors import UserError
from ssal3d.predictions import part_files, read_predictions
from ssal3d.predictions.part_files import PartFiles


class View:
    frame_ids = tuple(f'{frame:03d}' for frame in range(7))

    def get_data_info(self, index):
        return {'images': {'CAM2': {'height': 10 + index, 'width': 20}}} if index % 2 else {}


def columns(frame):
    box = [[2.0 * frame, 0, 0, 1, 1, 1, 0]]
    return {'bboxes_3d': np.array(box), 'scores_3d': np.array([0.5]), 'labels_3d': np.array([0])}


def write(folder, fields=('num_points', 'image_shape')):
    metadata = {'classes': ['Car'], 'frames_per_part': 3}
    with PartFiles(folder, View(), fields, metadata) as files:
        for frame in range(7):
            points = np.tile([2.0 * frame, 0, 0, 1], (frame, 1)).astype(np.float32)
            files.add(frame, columns(frame), points)


def test_every_frame_is_in_its_part_with_what_needs_no_model(tmp_path):
    write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f'part-0000{part}.parquet' for part in range(3)]
    found = read_predictions(tmp_path, ('num_points', 'image_shape'))
    assert list(found.frame_ids) == list(View.frame_ids)
    assert found['num_points'].tolist() == list(range(7))
    assert found['image_shape'][1].tolist() == [11, 20]
    assert np.isnan(found['image_shape'][2]).all()


def test_the_model_waits_when_the_thread_is_far_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(part_files, 'WAITING', 0)
    write(tmp_path)
    assert len(read_predictions(tmp_path)) == 7


def test_an_error_of_the_thread_reaches_the_caller_and_no_half_part_is_left(tmp_path, monkeypatch):
    def fails(*_):
        raise UserError('disk full')

    monkeypatch.setattr(part_files, 'write_part', fails)
    with pytest.raises(UserError, match='disk full'):
        write(tmp_path)
    assert not list(tmp_path.iterdir())


def interrupted(folder):
    with PartFiles(folder, View(), (), {'classes': ['Car'], 'frames_per_part': 3}) as files:
        for frame in range(4):
            files.add(frame, columns(frame), np.zeros((0, 4), np.float32))
        files.finish()
        raise KeyboardInterrupt


def test_an_interrupted_pass_leaves_whole_parts_only(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['part-00000.parquet']
