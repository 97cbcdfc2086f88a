"""What docs/annotate.md tells people to type works as it stands there."""

import json
import os
import re
import subprocess
import sys

import pytest

from ssal3d.annotation import build_format, format_names
from ssal3d.data.label_state import LabelState
from ssal3d.registry import ANNOTATION_FORMATS, options_of
from tests.helpers.paths import ROOT

TEXT = (ROOT / 'docs' / 'annotate.md').read_text()
FENCES = re.findall(r'^```(\w*)\n(.*?)^```$', TEXT, re.DOTALL | re.MULTILINE)
BLOCKS = {kind: [text for found, text in FENCES if found == kind] for kind, _ in FENCES}
COMMAND = f'ssal3d() {{ {sys.executable} -m ssal3d "$@"; }}\n'
SETTINGS, FORMAT, CALLS = BLOCKS['python']
ENVIRONMENT = {**os.environ, 'PATH': f'{os.path.dirname(sys.executable)}:{os.environ["PATH"]}', 'PYTHONPATH': str(ROOT)}


def test_two_rounds_from_a_folder_of_scans_and_the_calls_from_python(tmp_path):
    call = {'cwd': tmp_path, 'env': ENVIRONMENT, 'check': True, 'capture_output': True, 'text': True}
    subprocess.run(['bash', '-ec', COMMAND + BLOCKS['bash'][0]], **call)
    state = LabelState.read(tmp_path / 'try' / 'labels' / 'round_1.json')
    rounds = [frame.round for frame in state.frames]
    assert rounds.count(0) == 6
    assert rounds.count(1) == len(json.loads((tmp_path / 'try' / 'query_1.json').read_text())['frames']) > 2
    report = json.loads((tmp_path / 'try' / 'labels' / 'round_1_import.json').read_text())
    assert report['cost']['moved'] == report['cost']['edited'] > 2
    assert report['cost']['deleted'] >= 1
    assert not report['missing'] + report['untouched'] + report['wrong']
    zips = next(block for block in BLOCKS[''] if 'zipfile' in block)
    subprocess.run(['bash', '-ec', zips], **{**call, 'cwd': tmp_path / 'try'})
    assert (tmp_path / 'try' / 'annotations.zip').stat().st_size > 1000
    check = re.search(r'ssal3d labels check .*?check\.json', TEXT, re.DOTALL)[0]
    subprocess.run(['bash', '-ec', COMMAND + check], **{**call, 'cwd': tmp_path / 'try'})
    assert json.loads((tmp_path / 'try' / 'check.json').read_text())['suspicions']
    printed = subprocess.run([sys.executable, '-c', CALLS], **call).stdout
    assert "'edited': 0" in printed
    assert "('000007', {'Car': " in printed


def test_the_format_of_the_page_is_one(batch):
    try:
        exec(compile(FORMAT, 'annotate.md', 'exec'), {'__name__': 'page'})
        folder, notes = batch.write('semicolons')
        assert notes == ['the scans stay where they are']
        assert batch.read(folder).cost['accepted'] == 206
    finally:
        ANNOTATION_FORMATS.module_dict.pop('semicolons', None)


def test_the_annotator_of_the_page_is_one():
    pytest.importorskip('mmdet3d')
    from ssal3d.loop.annotators import build_annotator

    names = {}
    exec(compile(SETTINGS, 'annotate.md', 'exec'), names)
    people = build_annotator(names['train_cfg']['annotator'])
    people.check(['car', 'forklift'])
    assert (people.format, people.wait_for) == ('sly', 0.8)
    described = {name for name in options_of(type(people)) if f'`{name}`' in TEXT or f'{name}=' in SETTINGS}
    assert described == set(options_of(type(people)))


def test_the_tables_of_the_page_are_read_as_they_stand(tmp_path):
    table = next(block for block in BLOCKS[''] if block.startswith('frame_id,class'))
    for name, text in (('a.json', BLOCKS['json'][0]), ('b.csv', table)):
        (tmp_path / name).write_text(text)
    (frame,) = build_format('json').read(tmp_path).frames
    first, empty = build_format('csv').read(tmp_path).frames
    assert frame.frame_id == first.frame_id == '000123'
    assert frame.cuboids[0].box == first.cuboids[0].box == (10.1234, 2.5678, -1.2345, 4.1, 1.7, 1.5, 2.9)
    assert (frame.cuboids[0].id, first.cuboids[0].score) == ('17', 0.912)
    assert (empty.frame_id, empty.cuboids) == ('000124', ())


def test_every_format_and_every_option_is_described():
    described = set(re.findall(r'^\| `(\w+)`(?:, `(\w+)`)? \|', TEXT, re.MULTILINE))
    names = {name for pair in described for name in pair if name}
    assert set(format_names()) <= names
    for name, kind in ANNOTATION_FORMATS.module_dict.items():
        for option in options_of(kind):
            assert re.search(rf'^\| `{name}` \| .*`{option}=', TEXT, re.MULTILINE), (name, option)
