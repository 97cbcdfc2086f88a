"""`tools/evaluate.py waymo`: output, exit codes and one-line errors."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from tests.helpers.waymo_wire import objects_message

TOOL = Path(__file__).parents[2] / 'tools' / 'evaluate.py'


@pytest.fixture
def folder(tmp_path):
    """Two frames with three cars and a pedestrian each; one car is missed, one is turned round."""
    truth, detections = [], []
    for time in (100, 200):
        for k in range(4):
            box = (8.0 * k, -3.0, 1.0, 4.5, 2.0, 1.6, 0.4)
            row = dict(context_name='segment', frame_timestamp_micros=time, type=2 if k == 3 else 1, box=box)
            truth.append({**row, 'num_lidar_points_in_box': 30})
            if k:
                turned = (*box[:6], 0.4 + (3.141592653589793 if k == 1 else 0))
                detections.append({**row, 'box': turned, 'score': 0.8})
    for name, rows in (('truth.bin', truth), ('detections.bin', detections)):
        (tmp_path / name).write_bytes(objects_message(rows).SerializeToString())
    return tmp_path


def run(monkeypatch, capsys, folder, *more, detections='detections.bin', truth='truth.bin'):
    """Run the tool in this process; returns exit code, output and errors."""
    files = (
        '--detections',
        folder / detections,
        '--ground-truth',
        folder / truth,
        '--out',
        folder / 'out/metrics.json',
    )
    monkeypatch.setattr(sys, 'argv', ['evaluate.py', 'waymo', *map(str, files), *more])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOL), run_name='__main__')
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_the_numbers_are_written_and_shown(monkeypatch, capsys, folder):
    code, shown, errors = run(monkeypatch, capsys, folder)
    assert (code, errors) == (0, '')
    metrics = json.loads((folder / 'out' / 'metrics.json').read_text())
    assert metrics['schema'] == 1
    assert metrics['frames'] == 2
    assert metrics['VEHICLE']['L1'] == {'AP': pytest.approx(2 / 3), 'APH': pytest.approx(1 / 3)}
    assert metrics['PEDESTRIAN']['L2'] == {'AP': 1, 'APH': pytest.approx(1)}
    assert metrics['PEDESTRIAN']['range']['0-30m']['L2']['AP'] == 1
    assert metrics['CYCLIST']['L1'] == {'AP': None, 'APH': None}
    assert metrics['mean']['L1']['AP'] == pytest.approx(5 / 6)
    assert '0.6667' in shown
    assert 'warning: CYCLIST: no ground truth' in shown


def test_classes_and_thresholds_are_options(monkeypatch, capsys, folder):
    code, _, _ = run(monkeypatch, capsys, folder, '--classes', 'vehicle', '--iou', 'Vehicle=0.999')
    metrics = json.loads((folder / 'out' / 'metrics.json').read_text())
    assert code == 0
    assert metrics['settings']['iou_thresholds'] == {'VEHICLE': 0.999}
    assert 'PEDESTRIAN' not in metrics


@pytest.mark.parametrize(
    ('options', 'files', 'message'),
    [
        (['--iou', 'VEHICLE'], {}, "--iou: found 'VEHICLE', expected NAME=IOU"),
        (['--classes', 'CAR'], {}, "unknown class 'CAR'"),
        ([], {'truth': 'none.bin'}, 'none.bin: cannot be read (No such file or directory)'),
        ([], {'detections': 'text.bin'}, "text.bin: not a serialised Waymo message 'Objects'"),
        ([], {'truth': 'empty.bin'}, 'the ground truth holds no object'),
    ],
)
def test_mistakes_are_one_line_and_exit_two(monkeypatch, capsys, folder, options, files, message):
    (folder / 'text.bin').write_text('id,x,y,z\n')
    (folder / 'empty.bin').touch()
    code, _, errors = run(monkeypatch, capsys, folder, *options, **files)
    assert code == 2
    assert errors.startswith('error: ')
    assert errors.count('\n') == 1
    assert message in errors
    assert not (folder / 'out' / 'metrics.json').exists()


def test_help_shows_an_example(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['evaluate.py', 'waymo', '--help'])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert ended.value.code == 0
    assert 'tools/evaluate.py waymo --detections' in capsys.readouterr().out
