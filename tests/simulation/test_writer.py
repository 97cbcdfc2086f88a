import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.kitti_format import read_calibration, read_plane, read_split
from ssal3d.data.kitti_objects import read_frames
from ssal3d.errors import UserError
from ssal3d.evaluation.kitti_ap import evaluate_kitti
from ssal3d.simulation.sequences import step_of
from ssal3d.simulation.writer import simulate_kitti
from tests.helpers.simulation_files import FRAMES, SEED, VAL, files_of

ROOT = Path(__file__).resolve().parents[2]


def test_the_layout(simulated):
    ids = [f'{frame:06d}' for frame in range(FRAMES)]
    assert read_split(simulated / 'ImageSets' / 'trainval.txt') == ids
    train, val = (read_split(simulated / 'ImageSets' / f'{name}.txt') for name in ('train', 'val'))
    assert sorted(train + val) == ids
    assert len(val) == VAL
    assert not {step_of(SEED, int(i)).sequence for i in train} & {step_of(SEED, int(i)).sequence for i in val}
    for frame in ids:
        calibration = read_calibration(simulated / 'training' / 'calib' / f'{frame}.txt')
        assert {'P0', 'P1', 'P2', 'P3', 'R0_rect', 'Tr_velo_to_cam', 'Tr_imu_to_velo'} <= set(calibration.matrices)
        assert read_plane(simulated / 'training' / 'planes' / f'{frame}.txt') is not None
        points = np.fromfile(simulated / 'training' / 'velodyne' / f'{frame}.bin', np.float32).reshape(-1, 4)
        assert 8000 < len(points) < 30_000
    summary = json.loads((simulated / 'simulation.json').read_text())
    assert (summary['seed'], summary['preset'], summary['frames'], summary['complete']) == (SEED, 'kitti', FRAMES, True)
    assert summary['splits']['train']['frames'] + summary['splits']['val']['frames'] == FRAMES


def test_two_workers_and_an_extension_give_the_same_bytes(simulated, tmp_path):
    simulate_kitti(tmp_path, FRAMES // 3, SEED, val=1, workers=1)
    kept = tmp_path / 'training' / 'velodyne' / '000003.bin'
    before = kept.stat().st_mtime_ns
    simulate_kitti(tmp_path, FRAMES, SEED, val=VAL, workers=2)
    assert kept.stat().st_mtime_ns == before, 'a frame that was complete is not made again'
    assert files_of(tmp_path) == files_of(simulated)


def test_a_killed_simulation_is_continued(simulated, tmp_path):
    arguments = ('--out', tmp_path, '--frames', FRAMES, '--seed', SEED, '--val', VAL, '--workers', 1)
    process = subprocess.Popen(
        [sys.executable, ROOT / 'tools' / 'simulate.py', *map(str, arguments)],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(list((tmp_path / 'training').glob('velodyne/0*.bin'))) < 4:
        assert process.poll() is None, 'it ended too early'
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not json.loads((tmp_path / 'simulation.json').read_text())['complete']
    (tmp_path / 'training' / 'velodyne' / '.000009.bin.1.tmp').write_bytes(b'half')  # what a kill may leave
    simulate_kitti(tmp_path, FRAMES, SEED, val=VAL, workers=1)
    assert files_of(tmp_path) == files_of(simulated)
    assert not list(tmp_path.rglob('*.tmp'))


def test_damaged_frames_are_made_again(simulated, tmp_path):
    simulate_kitti(tmp_path, 4, SEED, workers=1)
    scan, label = tmp_path / 'training' / 'velodyne' / '000001.bin', tmp_path / 'training' / 'label_2' / '000002.txt'
    scan.write_bytes(scan.read_bytes()[:-16])
    label.unlink()
    simulate_kitti(tmp_path, 4, SEED, workers=1)
    for path in (scan, label):
        assert path.read_bytes() == (simulated / path.relative_to(tmp_path)).read_bytes()


def test_other_seeds_and_presets_give_other_scans(simulated, tmp_path):
    simulate_kitti(tmp_path / 'seed', 1, SEED + 1, workers=1)
    simulate_kitti(tmp_path / 'preset', 1, SEED, preset='32-beam', workers=1)
    scans = {
        (root / 'training' / 'velodyne' / '000000.bin').read_bytes()
        for root in (simulated, tmp_path / 'seed', tmp_path / 'preset')
    }
    assert len(scans) == 3
    assert not (tmp_path / 'seed' / 'ImageSets' / 'val.txt').exists(), 'no empty lists'


def test_the_converter_takes_every_frame(simulated, tmp_path):
    summaries = convert_kitti(simulated, tmp_path, workers=1)
    assert {summary.name: (summary.frames, summary.quarantined) for summary in summaries} == {
        'train': (FRAMES - VAL, 0),
        'val': (VAL, 0),
        'trainval': (FRAMES, 0),
    }
    assert all(summary.labelled for summary in summaries)


def test_labels_evaluated_against_themselves_are_perfect(simulated):
    truth = read_frames(simulated / 'training' / 'label_2', read_split(simulated / 'ImageSets' / 'trainval.txt'))
    scores = np.random.default_rng(0).uniform(0.2, 1, len(truth.objects))
    detections = replace(truth, objects=replace(truth.objects, scores=scores))
    result = evaluate_kitti(truth, detections, small_sets=True)
    values = [
        value
        for name in ('Car', 'Pedestrian', 'Cyclist')
        for metric in ('3d', 'bev', '2d')
        for value in result[name][metric]['R40'].values()
        if value is not None
    ]
    assert len(values) >= 9
    assert values == pytest.approx([100.0] * len(values))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(frames=0), 'frames: found 0'),
        (dict(frames=5, seed=-1), 'seed: found -1'),
        (dict(frames=5, val=5), 'validation frames: found 5, expected 0 to 4'),
        (dict(frames=5, workers=0), 'workers: found 0'),
        (dict(frames=5, preset='kity'), "unknown preset 'kity'"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        simulate_kitti(tmp_path / 'out', **arguments)
    assert not (tmp_path / 'out').exists()
