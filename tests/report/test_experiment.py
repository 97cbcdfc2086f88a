"""AP of every evaluation is found by class, in percent; boxes are those that a stage could learn from."""

import re
from pathlib import Path

import pytest

from ssal3d.errors import UserError
from ssal3d.report.charts import grouped_bars
from ssal3d.report.comparison import difference
from ssal3d.report.experiment import MEASURES, Experiment, experiment_of

METRICS = {
    'kitti': ({'kitti/Car_bev_R40_moderate': 80.0, 'kitti/mean_bev_R40_moderate': 60.0}, {'Car': 80.0, 'mean': 60.0}),
    'waymo': (
        {'waymo/VEHICLE_L2_AP': 0.5, 'waymo/VEHICLE_L1_AP': 0.9, 'waymo/mean_L2_AP': 0.25},
        {'Car': 50.0, 'mean': 25.0},
    ),
    'lidar': ({'lidar/Car_centre': 40.0, 'lidar/Car_centre_0-30m': 90.0, 'lidar/Car_3d': 10.0}, {'Car': 40.0}),
}


@pytest.mark.parametrize('kind', METRICS)
def test_the_first_measure_of_every_evaluation_is_read(kind):
    metrics, expected = METRICS[kind]
    experiment = Experiment(Path('run'), {'classes': ['Car', 'Tram']}, {'final/supervised': {'metrics': metrics}})
    assert experiment.metric == kind
    assert experiment.average_precision('final/supervised', MEASURES[kind][0]) == expected


def test_a_stage_learns_from_what_was_bought_before_it():
    steps = {
        'initial': {'spent_per_class': {'Car': 10, 'Tram': 2}},
        'round_1/normal': {'metrics': {'kitti/Car_bev_R40_moderate': 1.0}},
        'round_1/query': {'spent_per_class': {'Car': 5, 'Tram': 0}},
        'final_1/supervised': {'metrics': {'kitti/Car_bev_R40_moderate': 2.0}},
    }
    experiment = Experiment(Path('run'), {'classes': ['Car', 'Tram']}, steps)
    assert experiment.boxes_of_stage == {'round_1/normal': 12, 'final_1/supervised': 17}


def test_a_file_outside_every_experiment_is_refused(tmp_path):
    with pytest.raises(UserError, match='give --annotations and --points'):
        experiment_of(tmp_path / 'query.json')


def logged(tmp_path, text):
    path = tmp_path / 'round_1/normal/20260101/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return Experiment(tmp_path, {'classes': ['Car']}, {})


@pytest.mark.parametrize('end', ['{"loss": 1.0, "st', '3', ''])
def test_a_half_written_last_line_of_a_log_is_left_out(tmp_path, end):
    experiment = logged(tmp_path, f'{{"loss": 2.0, "step": 50}}\n{{"loss": 1.0, "step": 100}}\n{{"step": 900}}\n{end}')
    assert len(list(experiment.scalars('round_1/normal'))) == 3
    assert experiment.training_steps('round_1/normal') == 100
    assert experiment.training_steps('round_1/other') is None


@pytest.mark.parametrize('line', ['{"loss"', '3'])
def test_any_other_damaged_line_of_a_log_is_named(tmp_path, line):
    experiment = logged(tmp_path, f'{{"loss": 2.0}}\n{line}\n{{"loss": 1.0}}\n')
    with pytest.raises(UserError, match=r'scalars\.json: line 2: .*; remove the line'):
        list(experiment.scalars('round_1/normal'))


def test_a_bar_that_was_not_measured_is_left_out():
    chart = grouped_bars({'a': {'Car': 50.0, 'Tram': 7.0}, 'b': {'Car': 60.0}, 'c': {}}, 'AP').decode()
    assert {'50', '60', '7'} <= set(re.findall(r'<text[^>]*>(\d+)</text>', chart))
    assert len(re.findall(r'<g id="patch_', chart)) == len(
        re.findall(r'<g id="patch_', grouped_bars({'a': {'Car': 50.0, 'Tram': 7.0, 'Van': 60.0}}, 'AP').decode())
    ) + len(('b', 'c'))  # their colours in the legend


def test_the_difference_is_that_of_the_shown_figures():
    assert difference([57.84], [56.36]) == pytest.approx(57.8 - 56.4)
