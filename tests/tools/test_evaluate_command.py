"""`tools/evaluate.py kitti`: output, exit codes and one-line errors."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'evaluate.py'
FRAMES = ('000003', '000001', '000007')


def row(index, score=None):
    """A car beside the others; image boxes touch neither."""
    text = f'Car 0 0 0 {20 * index} 100 {20 * index + 15} 200 1.5 1.6 3.9 {6.0 * index} 1.7 20 0.3'
    return text if score is None else f'{text} {score}'


@pytest.fixture
def folder(tmp_path):
    """45 cars in three frames, all found."""
    for name in ('labels', 'detections'):
        (tmp_path / name).mkdir()
    (tmp_path / 'val.txt').write_text('\n'.join(FRAMES) + '\n')
    for frame in FRAMES:
        (tmp_path / 'labels' / f'{frame}.txt').write_text('\n'.join(row(i) for i in range(15)))
        (tmp_path / 'detections' / f'{frame}.txt').write_text(
            '\n'.join(row(i, 0.5 + i / 100) for i in range(15)) + '\n\n'
        )
    return tmp_path


def arguments(folder, *more):
    given = {'detections': 'detections', 'labels': 'labels', 'split': 'val.txt', 'out': 'out/metrics.json'}
    return ['kitti', *(part for key, name in given.items() for part in (f'--{key}', str(folder / name))), *more]


def run(monkeypatch, capsys, command):
    """Run the tool in this process; returns exit code, output and errors."""
    monkeypatch.setattr(sys, 'argv', ['evaluate.py', *command])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOL), run_name='__main__')
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def process(command):
    environment = {**os.environ, 'PYTHONPATH': str(TOOL.parents[1])}
    return subprocess.run([sys.executable, str(TOOL), *command], capture_output=True, text=True, env=environment)


def test_perfect_detections_from_a_shell(folder):
    done = process(arguments(folder))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    assert 'R40 moderate' in done.stdout
    assert 'Car' in done.stdout
    assert '100.00' in done.stdout
    metrics = json.loads((folder / 'out' / 'metrics.json').read_text())
    assert metrics['schema'] == 1
    assert metrics['frames'] == 3
    for name in ('Car', 'mean'):
        for metric in ('3d', 'bev', '2d'):
            assert metrics[name][metric]['R40'] == metrics[name][metric]['R11']
            assert metrics[name][metric]['R40'] == {'easy': 100.0, 'moderate': 100.0, 'hard': 100.0}
    assert metrics['Cyclist']['3d']['R40'] == {'easy': None, 'moderate': None, 'hard': None}


def test_an_error_from_a_shell_is_one_line_and_exit_code_2(folder):
    (folder / 'detections' / '000001.txt').unlink()
    done = process(arguments(folder))
    assert done.returncode == 2
    assert done.stdout == ''
    assert done.stderr.count('\n') == 1
    assert done.stderr.startswith('error: ')
    assert '000001' in done.stderr
    assert 'write an empty file' in done.stderr
    assert not (folder / 'out').exists()


def test_help_shows_an_example(monkeypatch, capsys):
    for command in (['--help'], ['kitti', '--help']):
        code, output, _ = run(monkeypatch, capsys, command)
        assert code == 0
        assert 'Example:' in output
        assert 'python tools/evaluate.py kitti --detections' in output


@pytest.mark.parametrize('command', [[], ['kitti'], ['coco'], ['kitti', '--detections', 'x']])
def test_bad_usage_exits_with_2(monkeypatch, capsys, command):
    code, _, errors = run(monkeypatch, capsys, command)
    assert code == 2
    assert 'usage:' in errors


def test_empty_detection_files_are_no_detections(folder, monkeypatch, capsys):
    (folder / 'detections' / '000001.txt').write_text('')
    code, _, _ = run(monkeypatch, capsys, arguments(folder, '--classes', 'Car'))
    assert code == 0
    metrics = json.loads((folder / 'out' / 'metrics.json').read_text())
    # 30 of 45 found without error: precision 1 up to the position nearest to recall 2/3, which is 27/40.
    assert metrics['Car']['3d']['R40']['easy'] == pytest.approx(100 * 27 / 40)
    assert 'Cyclist' not in metrics


def test_thresholds_can_be_changed(folder, monkeypatch, capsys):
    options = ('--classes', 'Car', 'Van', '--iou', 'Car=0.6', 'Car:bev=0.5', 'Van=0.4')
    code, _, errors = run(monkeypatch, capsys, arguments(folder, *options))
    assert code == 0, errors
    settings = json.loads((folder / 'out' / 'metrics.json').read_text())['settings']
    assert settings['iou_thresholds']['Car'] == {'2d': 0.6, 'bev': 0.5, '3d': 0.6}
    assert settings['iou_thresholds']['Van'] == {'2d': 0.4, 'bev': 0.4, '3d': 0.4}


def test_few_objects_are_warned_about(folder, monkeypatch, capsys):
    (folder / 'val.txt').write_text('000003\n')
    code, output, _ = run(monkeypatch, capsys, arguments(folder, '--classes', 'Car'))
    assert code == 0
    assert 'warning: Car: 15 counted ground truths allow at most 35.0 in R40' in output
    code, output, _ = run(monkeypatch, capsys, arguments(folder, '--classes', 'Car', '--small-sets'))
    assert 'warning' not in output
    assert json.loads((folder / 'out' / 'metrics.json').read_text())['Car']['3d']['R40']['easy'] == 100


def test_data_without_images(folder, monkeypatch, capsys):
    for path in (*(folder / 'labels').iterdir(), *(folder / 'detections').iterdir()):
        lines = [line.split() for line in path.read_text().splitlines() if line]
        path.write_text('\n'.join(' '.join([*line[:4], '-1', '-1', '-1', '-1', *line[8:]]) for line in lines))
    code, _, errors = run(monkeypatch, capsys, arguments(folder))
    assert code == 2
    assert '--no-image' in errors
    code, _, _ = run(monkeypatch, capsys, arguments(folder, '--no-image', '--classes', 'Car'))
    assert code == 0
    ap = json.loads((folder / 'out' / 'metrics.json').read_text())['Car']
    assert ap['2d']['R40']['easy'] is None
    assert ap['3d']['R40']['moderate'] == ap['bev']['R11']['easy'] == 100


def break_label(folder):
    (folder / 'labels' / '000007.txt').unlink()


def break_line(folder):
    (folder / 'detections' / '000007.txt').write_text(f'{row(0, 1)}\n{row(1)}\n')


def break_number(folder):
    (folder / 'detections' / '000007.txt').write_text(row(0, 'nan'))


def break_split(folder):
    (folder / 'val.txt').unlink()


def empty_split(folder):
    (folder / 'val.txt').write_text('\n\n')


def remove_folder(folder):
    (folder / 'labels').rename(folder / 'elsewhere')


@pytest.mark.parametrize(
    ('damage', 'options', 'expected'),
    [
        (break_label, (), ['000007.txt', 'frame 000007 has no label file']),
        (break_line, (), ['000007.txt, line 2', 'found 15 fields', 'expected 16']),
        (break_number, (), ['000007.txt, line 1', "found 'nan'", 'finite number']),
        (break_split, (), ['val.txt', 'no such file']),
        (empty_split, (), ['val.txt', 'no frame']),
        (remove_folder, (), ['labels', 'no such folder']),
        (None, ('--classes', 'Cra'), ["unknown class 'Cra'", "did you mean 'Car'"]),
        (None, ('--iou', 'car=0.5'), ["unknown class 'car'", "did you mean 'Car'"]),
        (None, ('--iou', 'Car'), ["found 'Car'", 'NAME=IOU']),
        (None, ('--iou', 'Car:bve=0.5'), ["'bve'", "did you mean 'bev'"]),
        (None, ('--iou', 'Car=70'), ['found 70.0', 'expected a number in [0, 1)']),
        (None, ('--labels', '{folder}/detections'), ['detections: is the folder of --labels', 'results of a detector']),
    ],
)
def test_user_errors_are_one_line(folder, monkeypatch, capsys, damage, options, expected):
    if damage is not None:
        damage(folder)
    code, _, errors = run(monkeypatch, capsys, arguments(folder, *(word.format(folder=folder) for word in options)))
    assert code == 2
    assert errors.startswith('error: ')
    assert errors.count('\n') == 1
    assert all(part in errors for part in expected), errors
    assert not (folder / 'out').exists()


def test_official_numbers(kitti_eval, kitti_labels, tmp_path, monkeypatch, capsys):
    code, output, _ = run(
        monkeypatch,
        capsys,
        [
            *(
                'kitti',
                '--detections',
                str(kitti_eval / 'data'),
                '--labels',
                str(kitti_labels / 'training' / 'label_2'),
            ),
            *('--split', str(kitti_labels / 'ImageSets' / 'val.txt'), '--out', str(tmp_path / 'm.json')),
            *('--classes', 'Car'),
        ],
    )
    assert code == 0
    assert '82.29' in output
    expected = json.loads((kitti_eval / 'expected.json').read_text())['ap']
    found = json.loads((tmp_path / 'm.json').read_text())['Car']
    compared = [
        (found[metric][sampling][difficulty], value)
        for metric, by_sampling in expected.items()
        for sampling, by_difficulty in by_sampling.items()
        for difficulty, value in by_difficulty.items()
    ]
    assert len(compared) == 18
    assert all(ours == pytest.approx(official, abs=0.01) for ours, official in compared)
