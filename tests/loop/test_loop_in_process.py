"""The order of an experiment's steps, its hooks and its guard, with trainings and predictions that take no time."""

import json

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.registry import HOOKS, init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.loop import LoopHook, active_learning_loop, page_hooks, predicting, report_hooks
from ssal3d.predictions import PredictionWriter
from ssal3d.predictions.part_prediction import PassTiming
from ssal3d.report.experiment import read_experiment
from ssal3d.report.learned import promotion_section
from ssal3d.runner import QuietRunner
from tests.helpers.paths import TINY

KEY = 'kitti/mean_bev_R40_moderate'
ENTROPY = dict(type='EntropySampler', source='binary_score')


class Notes(LoopHook):
    """Remembers what it is told."""

    seen: list = []  # noqa: RUF012 (of all experiments in a test)

    def before_stage(self, runner, stage, config):
        assert 'Notes' not in str(config.custom_hooks)
        self.seen.append(f'before {stage}')

    def after_stage(self, runner, stage, entry):
        self.seen.append(f'after {stage} {entry["metrics"][KEY]}')

    def after_query(self, runner, number, query, entry):
        assert len(query.frames) == entry['frames']
        self.seen.append(f'query {number}')

    def after_round(self, runner, number, labels, models):
        self.seen.append(f'round {number} {labels.name}')

    def after_experiment(self, runner, labels, models):
        self.seen.append(f'end {len(models)}')


@pytest.fixture
def experiment(street, tmp_path, monkeypatch):
    """Run the tiny experiment with the AP that each stage is to reach, and return its journal by step."""
    init_default_scope('mmdet3d')
    monkeypatch.setenv('SSAL3D_KITTI', str(street))
    monkeypatch.setattr(Notes, 'seen', [])
    HOOKS.register_module(module=Notes, force=True)
    reached = {}

    def train(config, name):
        path = active_learning_loop.Path(config.work_dir)
        path.mkdir(parents=True, exist_ok=True)
        torch.save({'state_dict': {}, 'of': name}, path / f'epoch_{config.train_cfg.max_epochs}.pth')
        return {KEY: reached[name.partition('/')[2]]}

    def predict(model, view, folder, *, fields, **_):
        with PredictionWriter(folder, view.metainfo['classes'], fields) as writer:
            for number, frame in enumerate(view.frame_ids):
                box = [[6.0, -3.0, -1, 4, 1.7, 1.5, 0.1]]
                columns = {'box_features': np.ones((1, 4), np.float32)} if 'box_features' in fields else {}
                writer.add(frame, bboxes_3d=box, scores_3d=np.array([0.3 + number / 50]), labels_3d=[2], **columns)
        return PassTiming()

    monkeypatch.setattr(active_learning_loop, 'train_stage', train)
    monkeypatch.setattr(active_learning_loop, 'validate_stage', lambda config, name: {KEY: reached['start']})
    monkeypatch.setattr(predicting, 'load_detector', lambda *_: None)
    monkeypatch.setattr(predicting, 'predict_pool', predict)

    def run(values, resume=False, sampler=ENTROPY, **train_cfg):
        reached.update(values)
        config = read_config(TINY)
        config.work_dir, config.resume = str(tmp_path / 'run'), resume
        config.experiment_name = f'in_process_{tmp_path.name}_{len(Notes.seen)}'
        config.active_sampler = dict(sampler)
        config.custom_hooks = [*config.get('custom_hooks', []), dict(type='Notes')]
        config.train_cfg.update({'held_out_report': False, 'final': ['supervised'], **train_cfg})
        QuietRunner.from_cfg(config).train()
        return {step['step']: step for step in read_json(tmp_path / 'run' / 'journal.json')['steps']}

    return run


ROUNDS = [dict(pretrain=['normal'])] * 2
FELL = {'round_1/normal': 60.0, 'round_2/normal': 40.0, 'final_1/supervised': 70.0, 'final/supervised': 65.0}


@pytest.mark.parametrize(
    ('after', 'merged'), [(None, True), (['CPSPStage'], True), (['HSSDAStage', 'AutoLabelStage'], False)]
)
def test_cal_merges_two_models_after_the_named_stages(experiment, tmp_path, after, merged):
    values = {'round_1/normal': 60.0, 'round_1/cpsp': 61.0, 'final/supervised': 65.0}
    cal = dict(type='CALSampler', ensemble_after=after)
    experiment(values, sampler=cal, rounds=[dict(pretrain=['normal', 'cpsp'])])
    inputs = read_json(tmp_path / 'run' / 'round_1' / 'query.json')['inputs']
    assert 'predictions_cpsp' in str(inputs['predictions'])
    assert ('predictions_normal' in str(inputs.get('reference_predictions'))) == merged


def test_hooks_hear_of_every_step_once_and_final_models_follow_every_round(experiment, tmp_path):
    steps = experiment(FELL, rounds=ROUNDS, final_every_round=True)
    told = [
        'query 0',
        *('before round_1/normal', 'after round_1/normal 60.0', 'query 1'),
        *('before final_1/supervised', 'after final_1/supervised 70.0', 'round 1 round_1.json'),
        *('before round_2/normal', 'after round_2/normal 40.0', 'query 2', 'round 2 round_2.json'),
        *('before final/supervised', 'after final/supervised 65.0', 'end 4'),
    ]
    assert Notes.seen == told
    assert not any('promotion' in name for name in steps), 'no guard was asked for'
    metrics = read_json(tmp_path / 'run' / 'metrics.json')
    curve = [(point['model'], point['metrics'][KEY]) for point in metrics['curve']]
    assert curve == [('final_1/supervised', 70.0), ('final/supervised', 65.0)]
    assert metrics['curve'][0]['frames'] < metrics['curve'][1]['frames']
    experiment(FELL, rounds=ROUNDS, final_every_round=True, resume=True)
    assert Notes.seen[len(told) :] == ['round 1 round_1.json', 'round 2 round_2.json', 'end 4']


def test_the_query_sees_the_predecessor_of_a_model_that_fell_and_the_summary_says_so(experiment, tmp_path, capsys):
    steps = experiment(FELL, rounds=ROUNDS, final_every_round=True, guard=True)
    assert steps['round_2/promotion']['refused'] == 'round_2/normal'
    assert 'round_2/predictions_kept_normal' in steps
    query = read_json(tmp_path / 'run' / 'round_2' / 'query.json')
    assert 'predictions_kept_normal' in str(query['inputs'])
    assert steps['final/promotion_supervised']['promoted'] == 'final_1/supervised'
    metrics = read_json(tmp_path / 'run' / 'metrics.json')
    assert [step['refused'] for step in metrics['promotions']] == ['round_2/normal', 'final/supervised']
    page = promotion_section(read_experiment(tmp_path / 'run'))
    assert '<td>round_1/normal</td><td>round_2/normal</td>' in page
    assert 'final/supervised is not promoted: mean AP 65.0, final_1/supervised has 70.0' in ' '.join(
        capsys.readouterr().out.split()
    )


def foreign(path):
    torch.manual_seed(5)
    model = MODELS.build(read_config(TINY).model)
    torch.save({'state_dict': {f'module.{name}': value for name, value in model.state_dict().items()}}, path)
    return str(path)


def test_a_model_of_another_team_makes_the_first_query_without_any_label(experiment, tmp_path, capsys):
    start = dict(checkpoint=foreign(tmp_path / 'theirs.pth'), use='model')
    values = {**FELL, 'start': 66.0}
    initial = dict(sampler=dict(type='RandomSampler'), query=dict(budget=0))
    steps = experiment(values, rounds=ROUNDS, start_from=start, guard=True, initial=initial)
    assert LabelState.read(tmp_path / 'run/labels/round_0.json').frames == ()
    assert 'before round_1/normal' not in Notes.seen
    assert steps['round_1/normal']['checkpoint'] == 'start/detector.pth'
    assert steps['round_1/normal']['metrics'] == {KEY: 66.0}
    assert steps['round_2/promotion']['promoted'] == 'round_1/normal'
    assert steps['final/promotion_supervised']['promoted'] == 'start'
    assert 'module.rpn_head' in capsys.readouterr().out


def test_every_chain_starts_from_given_weights(experiment, tmp_path, monkeypatch):
    begun = {}
    train = active_learning_loop.train_stage
    monkeypatch.setattr(
        active_learning_loop,
        'train_stage',
        lambda config, name: begun.update({name: config.load_from}) or train(config, name),
    )
    experiment(FELL, rounds=ROUNDS[:1], start_from=foreign(tmp_path / 'theirs.pth'))
    assert [path.split('/run/')[1] for path in begun.values()] == ['start/detector.pth'] * 2


def test_training_without_a_labelled_frame_is_refused(experiment, tmp_path):
    initial = dict(sampler=dict(type='RandomSampler'), query=dict(budget=0))
    start = dict(checkpoint=foreign(tmp_path / 'theirs.pth'), use='model')
    rounds = [dict(pretrain=['normal', 'cpsp'])]
    with pytest.raises(UserError, match='round_1/cpsp: no frame is labelled yet'):
        experiment({**FELL, 'start': 1.0}, rounds=rounds, initial=initial, start_from=start)


def test_an_experiment_without_any_label_is_refused(experiment):
    initial = dict(sampler=dict(type='RandomSampler'), query=dict(budget=0))
    with pytest.raises(UserError, match='found no labelled frame'):
        experiment(FELL, rounds=ROUNDS, initial=initial)


def test_every_experiment_ends_with_its_page_and_leaves_its_curves(experiment, tmp_path):
    steps = experiment(FELL, rounds=ROUNDS, final_every_round=True)
    page = (tmp_path / 'run' / 'report.html').read_text()
    assert 'with 2 queries by Entropy' in page
    assert 'From the first to the last one that is 5.0 points better.' in page
    (path,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    told = [json.loads(line) for line in path.read_text().splitlines()]
    boxes = [sum(steps[name]['spent_per_class'].values()) for name in ('initial', 'round_1/query', 'round_2/query')]
    key = KEY.rpartition('/')[2]
    curve = [(line['step'], line[f'supervised/{key}']) for line in told if f'supervised/{key}' in line]
    assert curve == [(sum(boxes[:2]), 70.0), (sum(boxes), 65.0)]
    assert [line['step'] for line in told if 'labelled/frames' in line] == np.cumsum(boxes).tolist()


def test_a_page_that_cannot_be_written_is_told_and_fails_no_experiment(experiment, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ModuleNotFoundError("No module named 'matplotlib'")

    monkeypatch.setattr(page_hooks, 'write_report', fail)
    experiment(FELL, rounds=ROUNDS, final_every_round=True)
    assert read_json(tmp_path / 'run' / 'metrics.json')
    told = ' '.join(capsys.readouterr().out.split())
    assert (
        "no page was written (ModuleNotFoundError: No module named 'matplotlib'); once that is mended: ssal3d report"
        in told
    )


def test_metrics_json_is_there_when_everything_is_done_and_complete(experiment, tmp_path, monkeypatch):
    metrics, measured = tmp_path / 'run' / 'metrics.json', {'round_1/normal': {KEY: 50.0}}
    experiment(FELL, rounds=ROUNDS[:1])
    assert 'held_out' not in read_json(metrics)

    def killed(*_):
        assert not metrics.exists(), 'it says that the experiment is done'
        raise KeyboardInterrupt

    monkeypatch.setattr(report_hooks, 'measure_predictions', killed)
    with pytest.raises(KeyboardInterrupt):
        experiment(FELL, resume=True, rounds=ROUNDS[:1], held_out_report=True)
    assert not metrics.exists()
    monkeypatch.setattr(report_hooks, 'measure_predictions', lambda *_: measured)
    experiment(FELL, resume=True, rounds=ROUNDS[:1], held_out_report=True)
    assert read_json(metrics)['held_out'] == measured


def test_the_folder_of_another_experiment_is_refused_before_anything_is_written(experiment, tmp_path):
    experiment(FELL, rounds=ROUNDS[:1])
    before = {path: path.read_bytes() for path in (tmp_path / 'run').rglob('*') if path.is_file()}
    with pytest.raises(UserError, match=r'step round_1/query is finished with sampler.type = .EntropySampler'):
        experiment(FELL, resume=True, rounds=ROUNDS[:1], sampler=dict(type='ConfidenceSampler'))
    after = {path: path.read_bytes() for path in (tmp_path / 'run').rglob('*') if path.is_file()}
    changed = [path for path in before if after.get(path) != before[path]]
    assert [path.name for path in changed if path.suffix not in ('.log', '.py')] == []
    assert (tmp_path / 'run' / 'metrics.json').exists()
