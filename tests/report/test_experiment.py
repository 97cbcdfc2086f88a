"""AP of every evaluation is found by class, in percent; boxes are those that a stage could learn from."""

from pathlib import Path

import pytest

from ssal3d.errors import UserError
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
