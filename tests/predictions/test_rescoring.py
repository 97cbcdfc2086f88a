"""Prediction folders with other scores: everything else stays."""

import numpy as np
import pytest

from ssal3d.errors import UserError
from ssal3d.predictions import PredictionWriter, read_predictions
from ssal3d.predictions.rescoring import rescore_predictions


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    with PredictionWriter(
        tmp_path / 'normal', ['Car', 'Cyclist'], ['box_features', 'roi_valid'], {'detector': 'test'}, frames_per_part=4
    ) as writer:
        for k in range(10):
            count = k % 4  # some frames have no box
            writer.add(
                f'{k:03d}',
                bboxes_3d=random.random((count, 7)),
                scores_3d=random.random(count),
                labels_3d=random.integers(0, 2, count),
                box_features=random.random((count, 5)),
                roi_valid=random.random(3) < 0.5,
            )
    return tmp_path / 'normal'


def halve_cars(scores, labels, classes):
    assert classes == ['Car', 'Cyclist']
    return np.where(labels == 0, scores / 2, scores)


def test_only_the_scores_change(folder, tmp_path):
    rescore_predictions(folder, tmp_path / 'halved', halve_cars, {'score_calibration': 'temperature'})
    fields = ['box_features', 'roi_valid']
    before, after = read_predictions(folder, fields), read_predictions(tmp_path / 'halved', fields)
    np.testing.assert_array_equal(after.scores, np.where(before.labels == 0, before.scores / 2, before.scores))
    for name in ('frame_ids', 'offsets', 'boxes', 'labels'):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    np.testing.assert_array_equal(after['box_features'], before['box_features'])
    np.testing.assert_array_equal(after['roi_valid'].values, before['roi_valid'].values)
    assert after.metadata == {**before.metadata, 'score_calibration': 'temperature'}
    assert {path.name for path in (tmp_path / 'halved').iterdir()} == {path.name for path in folder.iterdir()}


def test_scores_are_not_corrected_twice(folder, tmp_path):
    facts = {'score_calibration': 'temperature'}
    rescore_predictions(folder, tmp_path / 'once', halve_cars, facts)
    with pytest.raises(UserError, match=r"part-.*found score_calibration='temperature'.*calibrated already"):
        rescore_predictions(tmp_path / 'once', tmp_path / 'twice', halve_cars, facts)
    assert not (tmp_path / 'twice').exists()


def test_a_folder_appears_whole_or_not_at_all(folder, tmp_path):
    calls = []

    def fail_at_the_second(scores, labels, classes):
        calls.append(len(scores))
        if len(calls) == 2:
            raise RuntimeError('killed')
        return scores

    with pytest.raises(RuntimeError, match='killed'):
        rescore_predictions(folder, tmp_path / 'out', fail_at_the_second, {})
    assert {path.name for path in tmp_path.iterdir()} == {'normal'}


def test_nothing_is_overwritten_and_nothing_comes_of_nothing(folder, tmp_path):
    with pytest.raises(UserError, match='normal: exists already'):
        rescore_predictions(folder, folder, halve_cars, {})
    with pytest.raises(UserError, match=r'none: no part-\*\.parquet found'):
        rescore_predictions(tmp_path / 'none', tmp_path / 'out', halve_cars, {})
