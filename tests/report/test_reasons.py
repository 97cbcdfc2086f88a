"""Class counters of a query, counted again, explain its utilities to the last digit."""

from dataclasses import replace

import numpy as np
import pytest

from ssal3d.active import CALSampler, RandomSampler
from ssal3d.active.functional import Limits, binary_entropy, frame_mean
from ssal3d.errors import UserError
from ssal3d.fileio import read_json, write_json
from ssal3d.predictions import PoolPredictions
from ssal3d.report.chosen import Choice, query_section
from ssal3d.report.experiment import read_experiment
from ssal3d.report.reasons import class_needs, reasons
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


def test_scores_that_rose_and_boxes_that_went_are_counted_as_by_the_query(tmp_path, data):
    sampler = CALSampler(t_sim=0.9, min_precision=0.95, ensemble_nms=0.1)
    folder = write_experiment(tmp_path, Data(tmp_path / 'data', frames=100), sampler=sampler, start=160, known=True)
    choice = Choice.of(read_experiment(folder), 'round_1/query')
    facts = choice.query.diagnostics['classes'].values()
    assert any(entry['s_obj'] > 0.3 and entry['counted'] for entry in facts), 'nothing rose: the test would say nothing'
    assert len(choice.needs) == len(choice.query.frames)


def test_relaxed_limits_are_told_with_the_limit_that_was_passed(tmp_path, data):
    folder = write_experiment(tmp_path, data, sampler=CALSampler(t_sim=0.5))
    choice = Choice.of(read_experiment(folder), 'round_1/query')
    frame = max(choice.query.frames, key=lambda frame: frame.relax_level)
    level = list(Limits(0.5, np.full(3, 0.3), np.ones(3), np.ones(3)).levels())[frame.relax_level]
    assert 0.5 < level.t_sim <= 1
    lines = ' '.join(reasons(choice.query, frame, choice.judgement, None))
    assert f'they had been relaxed {frame.relax_level} times: ' in lines
    assert f'similarity below {level.t_sim:.2f} instead of 0.50' in lines
    assert 'no box of a wanted class is needed' in lines


def test_predictions_that_the_query_did_not_see_are_noticed(tmp_path, data):
    folder = write_experiment(tmp_path, data)
    choice = Choice.of(read_experiment(folder), 'round_1/query')
    classes = {
        name: {**facts, 'counted': facts['counted'] + 1} for name, facts in choice.query.diagnostics['classes'].items()
    }
    query = replace(choice.query, diagnostics={'classes': classes})
    with pytest.raises(UserError, match='counted boxes by the predictions, the query says'):
        class_needs(query, choice.judgement)


def test_a_random_query_says_that_it_ranks_nothing(tmp_path, data):
    folder = write_experiment(tmp_path, data, sampler=RandomSampler())
    choice = Choice.of(read_experiment(folder), 'round_1/query')
    for frame, need in zip(choice.query.frames, choice.needs, strict=True):
        assert reasons(choice.query, frame, choice.judgement, need) == [
            'RandomSampler ranks nothing: the frame was drawn at random.'
        ]


def test_a_query_of_another_version_is_shown_without_what_only_its_sampler_knew(tmp_path, data):
    folder = write_experiment(tmp_path, data, sampler=CALSampler(t_sim=0.5))
    query = read_json(folder / 'round_1/query.json')
    write_json(
        folder / 'round_1/query.json', {**query, 'sampler': {**query['sampler'], 'dontcare': 'none', 'relax': True}}
    )
    choice = Choice.of(read_experiment(folder), 'round_1/query')
    assert choice.judgement is None
    assert any(frame.relax_level for frame in choice.query.frames)
    for frame, need in zip(choice.query.frames, choice.needs, strict=True):
        assert f'Utility {frame.utility:.2f}, by which CALSampler ranks.' in reasons(choice.query, frame, None, need)
    assert 'What the query saw is not known' in query_section(choice)


def test_the_reasons_of_all_frames_look_the_pool_through_once(tmp_path, data, monkeypatch):
    choice = Choice.of(read_experiment(write_experiment(tmp_path, data)), 'round_1/query')
    calls, index = [], PoolPredictions.index
    monkeypatch.setattr(PoolPredictions, 'index', lambda pool: calls.append(1) or index(pool))
    for frame in choice.query.frames:
        reasons(choice.query, frame, choice.judgement, None)
    assert len(choice.query.frames) > 1
    assert len(calls) <= 1
    assert choice.judgement.entropies is choice.judgement.entropies
