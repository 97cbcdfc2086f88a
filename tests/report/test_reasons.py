"""Class counters of a query, counted again, explain its utilities to the last digit."""

import numpy as np
import pytest

from ssal3d.active import CALSampler, RandomSampler
from ssal3d.active.functional import binary_entropy, frame_mean
from ssal3d.active.functional.collaborative_greedy import ANY_FRAME
from ssal3d.report.chosen import Choice
from ssal3d.report.experiment import read_experiment
from ssal3d.report.reasons import reasons
from tests.helpers.experiment_folder import Data, write_experiment


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return Data(tmp_path_factory.mktemp('data'), frames=20)


@pytest.mark.parametrize(
    'options',
    [{}, {'counts': 'annotated'}, {'caps': 'manual', 'class_weights': {'Car': 0.2, 'Pedestrian': 1.8, 'Cyclist': 1.0}}],
    ids=['Eq. 6', 'annotated counts', 'weights'],
)
def test_the_full_classes_reproduce_every_utility_of_the_query(tmp_path, data, options):
    folder = write_experiment(tmp_path, data, sampler=CALSampler(t_sim=0.9, **options))
    choice = Choice.of(read_experiment(folder), 'round_1/query')
    merged, position = choice.judgement.detections.predictions, choice.judgement.detections.predictions.index()
    base, seen_full = binary_entropy(merged.scores), False
    for frame, need in zip(choice.query.frames, choice.needs, strict=True):
        full = np.array([need[name].full for name in merged.classes])
        seen_full |= bool(full.any())
        utility = frame_mean(np.where(full[merged.labels], 0.1, 1.0) * base, merged.offsets)
        assert utility[position[frame.frame_id]] == pytest.approx(frame.utility, abs=1e-9)
    assert seen_full, 'the budget fills no class: the test would say nothing'


def test_relaxed_limits_are_told_with_the_limit_that_was_passed(tmp_path, data):
    folder = write_experiment(tmp_path, data, sampler=CALSampler(t_sim=0.5))
    choice = Choice.of(read_experiment(folder), 'round_1/query')
    frame = max(choice.query.frames, key=lambda frame: frame.relax_level)
    assert 0 < frame.relax_level < ANY_FRAME
    times = 'once' if frame.relax_level == 1 else f'{frame.relax_level} times'
    lines = ' '.join(reasons(choice.query, frame, choice.judgement, None))
    limit = 0.5 * (1 + 0.1 * frame.relax_level)
    assert f'they had been relaxed {times} (similarity below {limit:.2f} instead of 0.50' in lines


def test_a_random_query_says_that_it_ranks_nothing(tmp_path, data):
    folder = write_experiment(tmp_path, data, sampler=RandomSampler())
    choice = Choice.of(read_experiment(folder), 'round_1/query')
    for frame, need in zip(choice.query.frames, choice.needs, strict=True):
        assert reasons(choice.query, frame, choice.judgement, need) == [
            'RandomSampler ranks nothing: the frame was drawn at random.'
        ]
