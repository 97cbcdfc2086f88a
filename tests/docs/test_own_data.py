"""docs/own_data.md: from raw scans to the second round, with the commands of the page and a scripted person."""

import re
import shlex

import pytest

from ssal3d.data.label_state import LabelState
from ssal3d.fileio import read_json
from tests.helpers.experiments import run_command
from tests.helpers.labelling_person import Person
from tests.helpers.paths import ROOT
from tests.helpers.warehouse import CLASSES, objects_of, write_scans

PAGE = (ROOT / 'docs' / 'own_data.md').read_text()
FIRST, CONVERT, TRAIN = (
    [shlex.split(line) for line in block.replace('\\\n', ' ').splitlines() if not line.startswith('#')]
    for block in re.findall(r'^```bash\n(.*?)^```', PAGE, re.M | re.S)
)
CONFIG = re.search(r'^```python\n(.*?)^```', PAGE, re.M | re.S)[1]
# One step a stage, a small detector: the commands are tried, not the learning.
QUICK = """
query['budget'] = 2
active_sampler = dict(_delete_=True, type='EntropySampler')
train_cfg.update(rounds=[dict(pretrain=['normal'])] * 2, final=['supervised'])
train_cfg['annotator']['prelabels'] = False
stages = dict(normal=dict(epochs=1, repeat=1), supervised=dict(epochs=1, repeat=1))
model = dict(
    points_encoder=dict(num_keypoints=128),
    train_cfg=dict(rpn_proposal=dict(nms_pre=256, nms_post=32, max_num=32), rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(rpn=dict(nms_pre=64, nms_post=16, max_num=16)),
)
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
"""


@pytest.mark.slow
def test_from_raw_scans_to_the_second_round(tmp_path):
    write_scans(tmp_path / 'recordings' / 'points', range(14))

    def run(commands):
        for name, *words in commands:
            assert name == 'ssal3d'
            done = run_command(words, tmp_path)
            assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    person = Person(CLASSES, objects_of)
    run(FIRST)
    person.edit_json(tmp_path / 'batch_0')
    run(CONVERT)
    (tmp_path / 'two_rounds.py').write_text(CONFIG + QUICK)
    first, *later = TRAIN
    asked = run([first])
    work = tmp_path / 'work_dirs' / 'two_rounds'
    assert 'round_1: 2 frames wait for their labels' in asked
    assert 'ssal3d train two_rounds.py --resume' in asked
    for number, command in enumerate(later, 1):
        person.edit_json(work / f'round_{number}' / 'to_label')
        run([command])
    assert read_json(work / 'journal.json')['steps'][-1]['step'] == 'final/supervised'
    state = LabelState.read(work / 'labels' / 'round_2.json')
    assert [frame.round for frame in state.frames] == [0] * 6 + [1] * 2 + [2] * 2
    assert state.counts == {'forklift': 10, 'pallet': 10}
