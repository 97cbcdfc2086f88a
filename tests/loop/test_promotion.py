"""The guard: models that fall below their predecessors are not promoted, and the query sees the predecessors."""

from pathlib import Path

import pytest
from mmengine.config import Config

from ssal3d.active import RandomSampler
from ssal3d.active.samplers import CALSampler
from ssal3d.errors import UserError
from ssal3d.loop.guard import Guard, promotion_line
from ssal3d.loop.promotion import Promotions
from ssal3d.loop.steps import Steps
from ssal3d.loop.trained_model import TrainedModel
from ssal3d.stages.supervised import StageInputs

KEY = 'kitti/mean_bev_R40_moderate'


class Predictions:
    """Notes what is predicted instead of predicting it."""

    def __init__(self):
        self.asked = []

    def predict_unlabelled(self, model, sampler, columns):
        self.asked.append((model.name, model.inputs.labels.name, tuple(columns)))
        model.predictions = Path(f'predictions of {model.name}')

    def predict_labelled(self, model, sampler):
        pass


def model(name, value, is_last=True):
    inputs = StageInputs(Path(name), Path('round_0.json'))
    return TrainedModel(name, Path(f'{name}.pth'), is_last, inputs, Config(), {KEY: value})


def chain(number, value):
    return [model(f'round_{number}/normal', 10.0, is_last=False), model(f'round_{number}/cpsp', value)]


@pytest.fixture
def promotions(tmp_path):
    return Promotions(Steps(tmp_path), Predictions(), Guard.of({'tolerance': 1.0}))


def queried(promotions, number, models, sampler=None):
    return promotions.queried(
        number, models, Path(f'round_{number - 1}.json'), sampler or RandomSampler(), ('lidar2img',)
    )


def test_a_better_model_and_one_within_the_tolerance_are_promoted(promotions):
    for number, value in ((1, 60.0), (2, 59.5), (3, 58.6)):
        models = chain(number, value)
        assert queried(promotions, number, models) is models
    assert [step['promoted'] for step in promotions.steps.journal.steps] == ['round_2/cpsp', 'round_3/cpsp']
    assert promotions.predictor.asked == []


def test_a_model_that_fell_is_not_queried_and_its_predecessor_predicts_what_is_unlabelled_now(promotions):
    queried(promotions, 1, chain(1, 60.0))
    seen = queried(promotions, 2, chain(2, 50.0))
    assert [found.name for found in seen] == ['round_2/kept_normal', 'round_2/kept_cpsp']
    assert seen[-1].checkpoint == Path('round_1/cpsp.pth')
    assert promotions.predictor.asked == [('round_2/kept_cpsp', 'round_1.json', ('lidar2img',))]
    (step,) = promotions.steps.journal.steps
    assert (step['promoted'], step['refused']) == ('round_1/cpsp', 'round_2/cpsp')
    assert promotion_line(step) == (
        'round_2/cpsp is not promoted: mean AP 50.0, round_1/cpsp has 60.0; round_1/cpsp stays the model to use'
    )
    better = chain(3, 60.5)
    assert queried(promotions, 3, better) is better, 'compared with round 1, not with the one that fell'


def test_a_sampler_that_compares_two_models_gets_both_predecessors(promotions):
    queried(promotions, 1, chain(1, 60.0))
    queried(promotions, 2, chain(2, 50.0), CALSampler())
    assert [name for name, *_ in promotions.predictor.asked] == ['round_2/kept_normal', 'round_2/kept_cpsp']


def test_the_model_to_begin_with_is_the_first_predecessor_of_rounds_and_of_final_models(promotions):
    promotions.start = model('start', 70.0)
    assert [found.name for found in queried(promotions, 1, [model('round_1/normal', 60.0)])] == ['round_1/kept_start']
    assert not promotions.decide('final/final_cpsp', 'final/promotion_final_cpsp', [model('final/final_cpsp', 65.0)])
    assert promotions.decide('final/hssda', 'final/promotion_hssda', [model('final/hssda', 71.0)])


def test_a_resumed_experiment_decides_the_same_without_a_second_entry(promotions, tmp_path):
    for again in (promotions, Promotions(Steps(tmp_path), Predictions(), promotions.guard)):
        queried(again, 1, chain(1, 60.0))
        queried(again, 2, chain(2, 50.0))
        assert len(again.steps.journal.steps) == 1


def test_without_a_guard_nothing_is_compared(tmp_path):
    promotions = Promotions(Steps(tmp_path), Predictions(), Guard.of(False))
    queried(promotions, 1, chain(1, 60.0))
    worse = chain(2, 0.0)
    assert queried(promotions, 2, worse) is worse
    assert promotions.steps.journal.steps == []


def test_unknown_options_and_metrics_are_refused():
    with pytest.raises(UserError, match="option of guard 'tolerence'"):
        Guard.of({'tolerence': 1})
    with pytest.raises(UserError, match='tolerance -1'):
        Guard.of({'tolerance': -1})
    with pytest.raises(UserError, match="guard: final/final_cpsp has no metric 'AP'; it has kitti/"):
        Guard(metric='AP').value('final/final_cpsp', {KEY: 1.0})
    with pytest.raises(UserError, match='it has none'):
        Guard().value('round_1/loss_net', {})
