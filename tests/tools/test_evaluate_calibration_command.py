"""`tools/evaluate.py calibration`: files, options, exit codes and one-line errors."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from ssal3d.data.infos import write_infos
from ssal3d.data.label_state import LabelState
from ssal3d.predictions import PredictionWriter

TOOL = Path(__file__).parents[2] / 'tools' / 'evaluate.py'
FRAMES = [f'{k:06d}' for k in range(6)]
CAR = np.array([10.0, 0, 0, 4, 2, 1.5, 0])


def predict(folder, scores, frames=FRAMES):
    """Every frame has two cars; the second one is detected 5 m away."""
    with PredictionWriter(folder, ['Car']) as writer:
        for frame, score in zip(frames, scores, strict=True):
            boxes = np.stack((CAR, CAR + np.eye(7)[0] * 5))
            writer.add(frame, bboxes_3d=boxes, scores_3d=[score, score / 2], labels_3d=[0, 0])


@pytest.fixture
def folder(tmp_path):
    predict(tmp_path / 'normal', np.full(6, 0.9))
    predict(tmp_path / 'cpsp', np.full(6, 0.99))
    rows = [{'bbox_3d': box.tolist(), 'bbox_label_3d': 0, 'num_lidar_pts': 9} for box in (CAR, CAR + np.eye(7)[1] * 10)]
    frames = [{'lidar_points': {'lidar_path': f'{frame}.bin'}, 'instances': rows} for frame in FRAMES]
    write_infos(tmp_path / 'infos.pkl', {'metainfo': {'categories': {'Car': 0}}, 'data_list': frames})
    LabelState.empty(['Car'], 'pool', FRAMES).buy(0, [(FRAMES[0], {'Car': 2})]).write(tmp_path / 'round_0.json')
    return tmp_path


def run(monkeypatch, capsys, folder, *words, labels='infos.pkl'):
    command = [
        'evaluate.py',
        'calibration',
        '--labels',
        str(folder / labels),
        '--out',
        str(folder / 'out.json'),
        *words,
    ]
    monkeypatch.setattr(sys, 'argv', command)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOL), run_name='__main__')
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_one_folder_gives_its_classes(monkeypatch, capsys, folder):
    code, shown, errors = run(
        monkeypatch, capsys, folder, '--predictions', str(folder / 'normal'), '--min-samples', '1'
    )
    assert (code, errors) == (0, '')
    content = json.loads((folder / 'out.json').read_text())
    assert content['schema'] == 1
    assert content['Car']['d_ece'] == pytest.approx((0.1 + 0.45) / 2, abs=1e-6)
    assert content['Car']['fig7']['0.8-1.0'] == {'count': 6, 'precision': 1}
    assert content['Car']['fig7']['0.3-0.5'] == {'count': 6, 'precision': 0}
    assert content['mean']['d_ece'] == content['Car']['d_ece']
    assert content['settings']['frames'] == 6
    assert content['settings']['ground_truths'] == {'Car': 12}
    assert 'calibration of normal, 6 frames' in shown
    assert 'warning: normal: Car has 12 detections' in shown


def test_several_methods_labelled_frames_left_out_and_pictures(monkeypatch, capsys, folder):
    methods = [f'{name}={folder / name}' for name in ('normal', 'cpsp')]
    options = ('--exclude', str(folder / 'round_0.json'), '--plots', str(folder / 'plots'))
    code, shown, _ = run(monkeypatch, capsys, folder, '--predictions', *methods, *options)
    assert code == 0
    content = json.loads((folder / 'out.json').read_text())
    assert list(content['methods']) == ['normal', 'cpsp']
    assert content['methods']['cpsp']['Car']['count'] == 10
    assert content['settings']['frames'] == 5
    assert {path.name for path in (folder / 'plots').iterdir()} == {'reliability.png', 'fig7.png'}
    assert 'calibration of cpsp' in shown


@pytest.mark.parametrize(
    ('words', 'labels', 'message'),
    [
        (['normal', 'x=normal/../normal', 'x=cpsp'], 'infos.pkl', "the name 'x' is given twice"),
        (['normal', '--matching', 'gredy'], 'infos.pkl', "did you mean 'greedy'"),
        (['normal', '--iou', 'Cra=0.5'], 'infos.pkl', "unknown class 'Cra'"),
        (['normal', '--bins', '0'], 'infos.pkl', 'bins: found 0'),
        (['nothing'], 'infos.pkl', 'no part-*.parquet found'),
        (['normal'], 'none.pkl', 'none.pkl: no such file'),
        (['few=normal', 'many=short'], 'infos.pkl', 'do not predict the same frames'),
    ],
)
def test_mistakes_are_one_line_and_exit_two(monkeypatch, capsys, folder, words, labels, message):
    predict(folder / 'short', np.full(5, 0.9), FRAMES[:5])
    monkeypatch.chdir(folder)
    code, _, errors = run(monkeypatch, capsys, folder, '--predictions', *words, labels=labels)
    assert code == 2
    assert errors.count('\n') == 1
    assert message in errors
    assert not (folder / 'out.json').exists()
