"""Calibrated scores between prediction and query: fitted on labelled frames, seen by the query only."""

import numpy as np
import pytest
from mmengine.config import Config

from ssal3d.data.infos import write_infos
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.loop.score_calibration import calibrate_predictions, check_settings
from ssal3d.predictions import PredictionWriter, read_predictions
from tests.helpers.experiments import train, variant

CAR = np.array([10.0, 0, 0, 4, 2, 1.5, 0])


def predict(folder, frames, seed):
    """Two detections a frame, the second one wrong, both confident."""
    random = np.random.default_rng(seed)
    with PredictionWriter(folder, ['Car']) as writer:
        for frame in frames:
            boxes = np.stack((CAR, CAR + np.eye(7)[0] * 8))
            writer.add(frame, bboxes_3d=boxes, scores_3d=random.uniform(0.7, 1, 2), labels_3d=[0, 0])


@pytest.fixture
def config(tmp_path):
    """A pool in which nobody but the annotator knows frames 050 to 069: their annotations are garbage."""
    good, garbage = ([{'bbox_3d': box, 'bbox_label_3d': 0, 'num_lidar_pts': 9}] for box in (CAR.tolist(), 'garbage'))
    frames = [
        {'lidar_points': {'lidar_path': f'{k:03d}.bin'}, 'instances': good if k < 50 else garbage} for k in range(70)
    ]
    write_infos(tmp_path / 'infos.pkl', {'metainfo': {'categories': {'Car': 0}}, 'data_list': frames})
    predict(tmp_path / 'labelled', [f'{k:03d}' for k in range(50)], 0)
    predict(tmp_path / 'pool', [f'{k:03d}' for k in range(50, 70)], 1)
    return Config({'pool_dataset': {'data_root': str(tmp_path), 'ann_file': 'infos.pkl'}})


def test_scores_are_calibrated_without_a_look_at_unlabelled_frames(config, tmp_path):
    settings = {'method': 'isotonic', 'iou': {'Car': 0.5}}
    for _ in range(2):  # the second time, an interrupted run has left something
        folders = [tmp_path / name for name in ('pool', 'labelled', 'out', 'known')]
        facts = calibrate_predictions(config, settings, *folders)
        pool = read_predictions(tmp_path / 'out')
        assert pool.scores.mean() == pytest.approx(0.5, abs=0.1)
        assert read_predictions(tmp_path / 'pool').scores.mean() > 0.8
        assert read_predictions(tmp_path / 'known').scores.mean() == pytest.approx(0.5, abs=0.1)
        assert read_json(facts['files']['calibration'])['classes']['Car']['right'] == 50


def test_settings_are_checked_before_anything_is_trained():
    check_settings(None)
    check_settings({'method': 'temperature', 'matching': 'greedy', 'iou': {'Car': 0.5}})
    for settings, message in (
        ({}, 'method is missing'),
        ({'method': 'isotnic'}, "value of score_calibration.method 'isotnic'"),
        ({'methd': 'isotonic'}, "option of score_calibration 'methd'"),
        ({'method': 'isotonic', 'matching': 'gredy'}, "score_calibration.matching 'gredy'"),
    ):
        with pytest.raises(UserError, match=message):
            check_settings(settings)


@pytest.mark.slow
def test_the_query_of_an_experiment_sees_calibrated_scores(street, tmp_path):
    changes = "rounds=[dict(pretrain=['normal'])], final=['supervised'], score_calibration=dict(method='isotonic')"
    config = variant(tmp_path / 'calibrated.py', f'train_cfg = dict({changes}, held_out_report=False)')
    done = train(street, tmp_path / 'run', config=config)
    assert done.returncode == 0, done.stderr[-3000:]
    steps = [step['step'] for step in read_json(tmp_path / 'run' / 'journal.json')['steps']]
    assert steps == [
        'initial',
        'round_1/normal',
        'round_1/predictions_normal',
        'round_1/labelled_normal',
        'round_1/calibrated_normal',
        'round_1/query',
        'final/supervised',
    ]
    folder = tmp_path / 'run' / 'round_1'
    labelled = read_predictions(folder / 'labelled_normal')
    assert set(labelled.frame_ids) == set(LabelState.read(tmp_path / 'run' / 'labels' / 'round_0.json').frame_ids)
    before, after = (read_predictions(folder / f'{kind}_normal') for kind in ('predictions', 'calibrated'))
    assert after.metadata['score_calibration'] == 'isotonic'
    np.testing.assert_array_equal(before.boxes, after.boxes)
    stored = read_json(folder / 'calibrated_normal' / 'calibration.json')
    assert sum(entry['detections'] for entry in stored['classes'].values()) == len(labelled.scores)
