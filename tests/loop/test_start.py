"""An experiment that begins with a detector of another team, and tells hooks what it does."""

import json

import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.loop.hooks import without_loop_hooks
from ssal3d.loop.start import StartFrom
from tests.helpers.experiments import train, variant
from tests.helpers.paths import TINY

HOOK = """
import json
from pathlib import Path

from mmengine.registry import HOOKS
from ssal3d.loop import LoopHook


@HOOKS.register_module()
class NoteHook(LoopHook):
    def note(self, runner, *words):
        with (Path(runner.train_loop.work_dir) / 'notes.jsonl').open('a') as file:
            file.write(json.dumps(words) + '\\n')

    def before_stage(self, runner, stage, config):
        self.note(runner, 'before', stage)

    def after_stage(self, runner, stage, entry):
        self.note(runner, 'after', stage, len(entry['metrics']) > 0)

    def after_query(self, runner, number, query, entry):
        self.note(runner, 'query', number, len(query.frames), entry['frames'])

    def after_round(self, runner, number, labels, models):
        self.note(runner, 'round', number, labels.name, [model.name for model in models])

    def after_experiment(self, runner, labels, models):
        self.note(runner, 'end', labels.name)
"""


@pytest.mark.slow
def test_a_model_of_another_team_makes_the_first_query_without_any_label(street, tmp_path, monkeypatch):
    init_default_scope('mmdet3d')
    monkeypatch.setenv('SSAL3D_KITTI', str(street))
    torch.manual_seed(5)
    model = MODELS.build(read_config(TINY).model)
    model.init_weights()
    state = {f'module.{name}': value for name, value in model.state_dict().items()}
    torch.save({'state_dict': state}, tmp_path / 'theirs.pth')
    (tmp_path / 'note_hook.py').write_text(HOOK)
    config = variant(
        tmp_path / 'config.py',
        "custom_imports = dict(imports=['ssal3d.register', 'note_hook'], allow_failed_imports=False)",
        "custom_hooks = [dict(type='NoteHook')]",
        'train_cfg = dict(',
        "    initial=dict(query=dict(budget=0)), rounds=[dict(pretrain=['normal'])] * 2, final=['supervised'],",
        f"    start_from=dict(checkpoint='{tmp_path / 'theirs.pth'}', use='model'), guard=True, final_every_round=True,",
        ')',
    )
    result = train(street, tmp_path / 'run', config=config)
    assert result.returncode == 0, result.stderr[-3000:]
    journal = read_json(tmp_path / 'run' / 'journal.json')
    steps = {step['step']: step for step in journal['steps']}
    trained = ['final_1/supervised', 'round_2/normal', 'final/supervised']
    assert [name for name in steps if name in (*trained, 'start', 'round_1/normal')] == [
        'start',
        'round_1/normal',
        *trained,
    ]
    assert LabelState.read(tmp_path / 'run/labels/round_0.json').frames == ()
    assert steps['round_1/normal']['checkpoint'] == 'start/detector.pth'
    assert steps['round_1/normal']['metrics'] == steps['start']['metrics'] != {}
    for stage in trained:
        text = (tmp_path / 'run' / stage / 'config.py').read_text()
        assert 'start/detector.pth' in text, 'every chain begins with these weights'
        assert 'NoteHook' not in text
    ours = torch.load(tmp_path / 'run/start/detector.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, ours[name.removeprefix('module.')]) for name, value in state.items())
    assert {'round_2/promotion', 'final_1/promotion_supervised', 'final/promotion_supervised'} <= steps.keys()
    metrics = read_json(tmp_path / 'run' / 'metrics.json')
    assert [point['model'] for point in metrics['curve']] == ['final_1/supervised', 'final/supervised']
    assert metrics['curve'][0]['frames'] < metrics['curve'][1]['frames']
    assert len(metrics['promotions']) >= 3
    assert 'weights of' in result.stdout
    assert 'module.rpn_head' in result.stdout
    notes = [json.loads(line) for line in (tmp_path / 'run' / 'notes.jsonl').read_text().splitlines()]
    assert [note[:2] for note in notes] == [
        ['query', 0],
        ['query', 1],
        ['before', 'final_1/supervised'],
        ['after', 'final_1/supervised'],
        ['round', 1],
        ['before', 'round_2/normal'],
        ['after', 'round_2/normal'],
        ['query', 2],
        ['round', 2],
        ['before', 'final/supervised'],
        ['after', 'final/supervised'],
        ['end', 'round_2.json'],
    ]
    (log,) = (tmp_path / 'run').glob('2*/*.log')
    bought = read_json(tmp_path / 'run/round_1/query.json')['frames']
    assert f'frames bought in this order: {", ".join(frame["frame_id"] for frame in bought)}' in log.read_text()


def test_what_cannot_be_begun_with_is_refused(tmp_path):
    with pytest.raises(UserError, match='is no file; give the path of a checkpoint'):
        StartFrom.of(str(tmp_path / 'none.pth'))
    (tmp_path / 'a.pth').touch()
    with pytest.raises(UserError, match=r"start_from\.use 'modell'"):
        StartFrom.of(dict(checkpoint=str(tmp_path / 'a.pth'), use='modell'))
    with pytest.raises(UserError, match="option of start_from 'key'"):
        StartFrom.of(dict(checkpoint=str(tmp_path / 'a.pth'), key={}))
    assert StartFrom.of(None) is None
    assert StartFrom.of(str(tmp_path / 'a.pth')).use == 'weights'


def test_stages_do_not_get_the_hooks_of_the_experiment():
    config = Config(dict(custom_hooks=[dict(type='HeldOutReportHook'), dict(type='EpochSeedHook')]))
    assert [hook.type for hook in without_loop_hooks(config).custom_hooks] == ['EpochSeedHook']
    assert len(config.custom_hooks) == 2
