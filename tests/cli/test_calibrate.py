"""`ssal3d calibrate`: scores of a pool, calibrated on labelled frames and no others."""

import numpy as np
import pytest

from ssal3d.cli.calibrate import main
from ssal3d.data.infos import write_infos
from ssal3d.data.label_state import LabelState
from ssal3d.fileio import read_json
from ssal3d.predictions import PredictionWriter, read_predictions

LABELLED, POOL = [f'{k:03d}' for k in range(40)], [f'{k:03d}' for k in range(40, 60)]
CAR = np.array([10.0, 0, 0, 4, 2, 1.5, 0])


def predict(folder, frames, seed, **metadata):
    """Four detections a frame; the last two are wrong, whatever they claim."""
    random = np.random.default_rng(seed)
    boxes = CAR + np.outer(range(4), np.eye(7)[1]) * 10 + np.outer([0, 0, 5, 5], np.eye(7)[0])
    with PredictionWriter(folder, ['Car'], metadata=metadata) as writer:
        for frame in frames:
            scores = np.concatenate((random.uniform(0.5, 1, 2), random.uniform(0.3, 1, 2)))
            writer.add(frame, bboxes_3d=boxes, scores_3d=scores, labels_3d=[0] * 4)


@pytest.fixture
def folder(tmp_path):
    predict(tmp_path / 'labelled', LABELLED, 0)
    predict(tmp_path / 'pool', POOL, 1)
    boxes = CAR + np.outer(range(4), np.eye(7)[1]) * 10
    rows = [{'bbox_3d': box.tolist(), 'bbox_label_3d': 0, 'num_lidar_pts': 9} for box in boxes]
    frames = [{'lidar_points': {'lidar_path': f'{frame}.bin'}, 'instances': rows} for frame in LABELLED]
    write_infos(tmp_path / 'infos.pkl', {'metainfo': {'categories': {'Car': 0}}, 'data_list': frames})
    state = LabelState.empty(['Car'], 'pool', LABELLED + POOL)
    state.buy(0, [(frame, {'Car': 4}) for frame in LABELLED]).write(tmp_path / 'round_0.json')
    return tmp_path


def run(capsys, folder, *words, out='calibrated', code=0):
    with pytest.raises(SystemExit) as ended:
        main(['--predictions', str(folder / 'pool'), '--out', str(folder / out), *words])
    captured = capsys.readouterr()
    assert ended.value.code == code, captured.err
    return captured.out if code == 0 else captured.err


def fit(folder, labelled='labelled', **options):
    files = ('--labelled-predictions', folder / labelled, '--label-state', folder / 'round_0.json')
    rest = [word for name, value in options.items() for word in (f'--{name}', value)]
    return [*map(str, (*files, '--labels', folder / 'infos.pkl')), *rest]


@pytest.mark.parametrize('method', ['temperature', 'isotonic'])
def test_scores_come_down_to_what_they_are_worth(capsys, folder, method):
    shown = run(capsys, folder, *fit(folder, method=method))
    before, after = read_predictions(folder / 'pool'), read_predictions(folder / 'calibrated')
    assert after.frame_ids.tolist() == POOL
    assert before.scores.mean() > 0.65
    assert after.scores.mean() == pytest.approx(0.5, abs=0.08)  # half of the detections are right
    assert after.metadata['score_calibration'] == method
    stored = read_json(folder / 'calibrated' / 'calibration.json')
    assert stored['method'] == method
    assert stored['classes']['Car']['detections'] == 160
    assert stored['classes']['Car']['right'] == 80
    assert f'Car: {method}' in shown


def test_a_stored_calibration_gives_the_same(capsys, folder):
    run(capsys, folder, *fit(folder, method='isotonic'))
    run(capsys, folder, '--calibration', str(folder / 'calibrated' / 'calibration.json'), out='again')
    a, b = (read_predictions(folder / name) for name in ('calibrated', 'again'))
    np.testing.assert_array_equal(a.scores, b.scores)


def test_frames_that_nobody_labelled_are_refused(capsys, folder):
    error = run(capsys, folder, *fit(folder, labelled='pool'), code=2)
    assert 'frame 040 is not labelled in' in error
    assert error.count('\n') == 1
    assert not (folder / 'calibrated').exists()


def test_what_is_missing_is_named(capsys, folder):
    assert '--labelled-predictions is missing' in run(capsys, folder, code=2)
    assert 'exists already' in run(capsys, folder, *fit(folder), out='labelled', code=2)
    assert "did you mean 'isotonic'" in run(capsys, folder, *fit(folder, method='isotnic'), code=2)


def test_only_raw_scores_of_one_model_are_calibrated(capsys, folder):
    predict(folder / 'done', LABELLED, 0, score_calibration='isotonic')
    error = run(capsys, folder, *fit(folder, labelled='done'), code=2)
    assert "done: found score_calibration='isotonic'" in error
    predict(folder / 'ours', POOL, 1, checkpoint_sha256='a' * 64)
    predict(folder / 'theirs', LABELLED, 0, checkpoint_sha256='b' * 64)
    error = run(capsys, folder, '--predictions', str(folder / 'ours'), *fit(folder, labelled='theirs'), code=2)
    assert f'theirs: found checkpoint_sha256 {"b" * 12}, expected {"a" * 12} as in' in error
    assert error.count('\n') == 1
    assert not (folder / 'calibrated').exists()


@pytest.mark.parametrize('words', [('--labels', 'infos.pkl'), ('--method', 'temperature'), ('--iou', 'Car=0.5')])
def test_what_is_for_fitting_is_refused_beside_a_fitted_calibration(capsys, folder, words):
    error = run(capsys, folder, '--calibration', 'calibration.json', *words, code=2)
    assert f'{words[0]} is for fitting' in error
