"""The light install: what needs no detector runs where torch, OpenCV and MMDetection3D cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssal3d.data.label_state import LabelState
from ssal3d.fileio import write_json
from ssal3d.predictions.schema import COLUMNS
from ssal3d.predictions.synthetic import CLASSES, annotated_boxes, second_model, synthetic_pool, write_predictions
from tests.helpers.paths import ROOT

HEAVY = {'torch', 'torchvision', 'mmcv', 'mmdet', 'mmdet3d', 'spconv', 'cv2'}
SAMPLERS = sorted(path.stem.removesuffix('_kitti') for path in (ROOT / 'configs' / 'active').glob('*_kitti.py'))
FRAMES = 4, 2  # train, val
HOOK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in HEAVY:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Missing())
"""
BOX_BANK = """
import numpy as np
from ssal3d.bank import BoxBank, PasteSettings, Scene, paste_objects
from ssal3d.cpsp import cpsp_settings, refresh
from ssal3d.data import LabelState
from ssal3d.predictions import read_predictions

def load_points(frame_id):
    rng = np.random.default_rng(int(frame_id))
    return rng.uniform((0, -40, -2, 0), (70, 40, 0, 1), (20_000, 4)).astype(np.float32)

bank, predictions = BoxBank('bank'), read_predictions('pool')
bank.publish(refresh(load_points, predictions.classes, cpsp_settings(), predictions=predictions))
generation = bank.open()
groups = PasteSettings(groups={'Car': 15, 'Pedestrian': 10, 'Cyclist': 10})
background = Scene(generation.background('000004', load_points('000004')))
scene = paste_objects(background, generation, groups, np.random.default_rng(0), plane=(0, 0, 1, 1.73))
labels = LabelState.read('labels.json').buy(1, [('000007', {'Car': 2})])
labels.write('bought.json')
print(len(scene.boxes), labels.counts['Car'])
"""


def light(folder: Path, code: str) -> str:
    """Run Python as the light install would, and return what it prints."""
    hook = HOOK.replace('HEAVY', repr(HEAVY))
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    call = [sys.executable, '-c', hook + code]
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(*words: object) -> str:
    """Return the code that runs one command and goes on behind it."""
    return f"""
from ssal3d.cli.main import main
try:
    main({[str(word) for word in words]!r})
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Predictions with every column of the contract, of two models and of labelled frames, and label states."""
    folder = tmp_path_factory.mktemp('light')
    pool = synthetic_pool(40, fields=[name for name in COLUMNS if name not in ('bboxes_3d', 'scores_3d', 'labels_3d')])
    labelled = np.arange(4)
    write_predictions(pool.take(np.arange(4, 40)), folder / 'pool')
    write_predictions(pool.take(labelled), folder / 'labelled')
    write_predictions(second_model(pool, fields=['class_logits']), folder / 'reference')
    write_json(folder / 'counts.json', annotated_boxes(pool))
    bought = [(frame_id, {'Car': 3}) for frame_id in pool.frame_ids[labelled].tolist()]
    LabelState.empty(CLASSES, 'synthetic', pool.frame_ids.tolist()).buy(0, bought).write(folder / 'labels.json')
    return folder


def query(name: str, *words: str) -> tuple[str, ...]:
    return ('select', f'configs/active/{name}_kitti.py', '--predictions', 'pool', '--labels', 'labels.json', *words)


def test_every_sampler_selects(folder):
    more = ('--labelled-predictions', 'labelled', '--annotations', 'counts.json', '--budget', '12')
    assert len(SAMPLERS) >= 12
    light(folder, ''.join(command(*query(name, *more, '--out', f'{name}.json')) for name in SAMPLERS))
    for name in SAMPLERS:
        assert json.loads((folder / f'{name}.json').read_text())['spent'] >= 12


def test_a_query_of_two_models_loads_no_compiler_and_no_second_table_library(folder):
    words = query('cal', '--reference-predictions', 'reference', '--out', 'query.json')
    loaded = light(folder, command(*words) + '\nprint(*sys.modules)').splitlines()[-1].split()
    assert 'ssal3d.active' in loaded
    assert not {'numba', 'scipy', 'sklearn', 'pandas', 'matplotlib'} & set(loaded)


def test_frames_are_simulated_converted_and_evaluated(folder):
    pytest.importorskip('trimesh', reason="the simulator is in the extra 'sim'")
    pytest.importorskip('embreex', reason="the simulator is in the extra 'sim'")
    train, val = FRAMES
    simulate = command('simulate', '--out', 'sim', '--frames', train + val, '--val', val, '--workers', 1)
    light(folder, simulate + command('convert', 'kitti', '--root-path', 'sim', '--workers', 1))
    assert (folder / 'sim' / 'kitti_infos_train.pkl').exists()
    labels = folder / 'sim' / 'training' / 'label_2'
    (folder / 'detections').mkdir()
    for path in labels.iterdir():
        found = [line for line in path.read_text().splitlines() if not line.startswith('DontCare')]
        (folder / 'detections' / path.name).write_text(''.join(f'{line} 0.9\n' for line in found))
    split = folder / 'sim' / 'ImageSets' / 'trainval.txt'
    files = ('--detections', 'detections', '--labels', labels, '--split', split, '--out', 'metrics.json')
    light(folder, command('evaluate', 'kitti', *files, '--small-sets'))
    metrics = json.loads((folder / 'metrics.json').read_text())
    assert metrics['frames'] == train + val
    assert metrics['Car']['3d']['R40']['hard'] == 100


def test_box_bank_and_label_state_work_from_python(folder):
    boxes, cars = map(int, light(folder, BOX_BANK).split())
    assert boxes > 3
    assert cars == 14
    assert len(LabelState.read(folder / 'bought.json').frames) == 5


@pytest.mark.parametrize('words', [('train', 'ssal3d::ssal/pvrcnn_sim.py'), ('predict', 'x.py', 'y.pth', '--out', 'z')])
def test_a_command_that_needs_torch_says_what_to_install(folder, words):
    hook = HOOK.replace('HEAVY', repr(HEAVY))
    call = [sys.executable, '-c', hook + f'from ssal3d.cli.main import main; main({list(words)!r})']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "install 'ssal3d[train]'" in done.stderr
    assert done.stderr.count('\n') == 1


def test_the_environment_is_reported_without_torch(folder):
    report = json.loads(light(folder, command('env', '--json')))
    assert report['versions']['ssal3d']
    assert report['devices']['gpus'] == 'not installed (torch)'


def test_the_kernels_that_need_no_torch_are_those_of_the_light_install(folder):
    code = """
from ssal3d.ops import warm_up
wanted = ['ssal3d.ops.ball_query', 'ssal3d.data.kitti_format']
print(warm_up.warm_up(wanted))
"""
    assert light(folder, code) == "['ssal3d.data.kitti_format']\n"
