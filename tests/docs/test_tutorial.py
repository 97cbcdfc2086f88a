"""The tutorial notebook runs as it stands, without torch and MMDetection3D, and finds what its text says."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

NOTEBOOK = ROOT / 'docs' / 'tutorial.ipynb'
CELLS = json.loads(NOTEBOOK.read_text())['cells']
ASK = """
import json, sys
print('RESULT' + json.dumps({
    'pool': pool, 'val': val, 'classes': classes, 'labelled': labels.counts, 'looked_at': looked_at,
    'start': [frame.frame_id for frame in start.frames],
    'bought': {name: [frame.frame_id for frame in query.frames] for name, query in queries.items()},
    'spent': {name: [query.spent, sum(query.spent_per_class.values())] for name, query in queries.items()},
    'results': results, 'bank': generation.meta['objects'],
    'pasted': scene.names.tolist(), 'points': [len(points), len(background.points), len(scene.points)],
    'modules': sorted(sys.modules),
}))
"""
# Notes which label files were read before the first query, and after it.
WATCH = """
looked_at, _read = {'before': [], 'after': []}, read_labels


def read_labels(frame_id):
    looked_at['after' if 'queries' in globals() else 'before'].append(frame_id)
    return _read(frame_id)
"""


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    code = []
    for cell in CELLS:
        if cell['cell_type'] == 'code':
            code += [''.join(cell['source'])]
            code += [WATCH] if 'def read_labels' in code[-1] else []
    environment = {**os.environ, 'MPLBACKEND': 'Agg', 'PYTHONPATH': str(ROOT)}
    folder = tmp_path_factory.mktemp('tutorial')
    command = [sys.executable, '-c', '\n'.join([*code, ASK])]  # no file: its workers would run it again
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(re.search(r'^RESULT(.*)$', done.stdout, re.MULTILINE)[1])


def test_the_notebook_is_stored_without_outputs():
    code = [cell for cell in CELLS if cell['cell_type'] == 'code']
    assert len(code) > 10
    assert all(cell['outputs'] == [] and cell['execution_count'] is None for cell in code)


def test_it_needs_neither_torch_nor_mmdetection3d(result):
    assert not {'torch', 'mmcv', 'mmdet', 'mmdet3d', 'spconv'} & set(result['modules'])


def test_no_label_is_read_before_its_frame_is_bought(result):
    before = set(result['looked_at']['before']) - set(result['val'])
    bought = set(result['start']).union(*result['bought'].values())
    assert before <= bought
    assert set(result['start']) <= before


def test_every_sampler_spends_the_budget_on_frames_of_its_own(result):
    assert list(result['bought']) == ['Random', 'Entropy', 'CAL', 'Information per box']
    for name, frames in result['bought'].items():
        assert len(set(frames)) == len(frames)
        assert set(frames) <= set(result['pool']) - set(result['start'])
        assert result['spent'][name][0] == result['spent'][name][1] >= 60
    assert len({tuple(sorted(frames)) for frames in result['bought'].values()}) == 4


def test_the_detector_finds_cars_and_is_scored_for_every_purchase(result):
    assert list(result['results']) == ['before the query', *result['bought']]
    assert all(set(row) == set(result['classes']) for row in result['results'].values())
    assert all(30 < row['Car'] < 90 for row in result['results'].values())


def test_bank_and_pseudo_scene_hold_labelled_and_confident_objects(result):
    bank = result['bank']
    assert 0 < bank['Car']['ground_truth'] <= result['labelled']['Car']
    assert bank['Car']['confident'] > 0
    assert set(result['pasted']) <= set(result['classes'])
    assert result['pasted'].count('Car') > 0
    frame, background, scene = result['points']
    assert background < frame
    assert scene != background
