"""Results of runs, their file, and the table for people."""

import numpy as np
import pytest

from ssal3d.cli.reproduce import main
from ssal3d.errors import UserError
from ssal3d.fileio import write_json
from ssal3d.reproduce import read_rows, table
from ssal3d.reproduce.experiments import Experiment
from ssal3d.reproduce.results import collect, measured, merge, read
from ssal3d.reproduce.statistics import Interval

CLASSES = ('Car', 'Pedestrian', 'Cyclist')


def finish(tmp_path, number, seed, level):
    """Leave what a finished experiment leaves: AP of a class is `level`, + 10 for the next class, - 1 if easy, ..."""
    row = read_rows('1', [number])[0]
    folder = tmp_path / 'sim' / f'seed_{seed}' / row.experiment
    made = Experiment(row, seed, folder, 'ssal3d::paper/sim.py')
    stages = {}
    for name in made.steps.values():
        ap = {
            f'kitti/{kind}_{metric}_R40_{difficulty}': level + 10 * place + shift + (metric == 'bev')
            for place, kind in enumerate(CLASSES)
            for metric in ('3d', 'bev')
            for shift, difficulty in ((-1, 'easy'), (0, 'moderate'), (1, 'hard'))
        }
        stages[name] = {'seconds': 1.0, **ap}
        level += 1  # of the next stage, which must not be taken for the last one
    folder.mkdir(parents=True)
    labelled = {'frames': 40, 'boxes': {'Car': 100, 'Pedestrian': 60, 'Cyclist': 40}}
    write_json(folder / 'metrics.json', {'schema': 1, 'stages': stages, 'labelled': labelled})
    made.config.write_text(made.config_text())
    return made


def test_the_last_stage_counts(tmp_path):
    found = measured(finish(tmp_path, 6, 0, 30.0))  # normal, predictions, query, supervised, HSSDA
    assert found['Car_mod_mAP'] == 34
    assert found['Cyc_mod_mAP'] == 54
    assert found['Avg_mod_mAP'] == 44
    assert found['Ped_easy_BEV_mAP'] == 44
    assert found['boxes'] == 200
    assert found['boxes_Pedestrian'] == 60
    assert found['frames'] == 40


def test_the_file_keeps_what_it_has_and_replaces_what_ran_again(tmp_path):
    path = tmp_path / 'results.csv'
    first, second = finish(tmp_path, 1, 0, 30.0), finish(tmp_path, 2, 0, 40.0)
    merge(path, collect('sim', [first]))
    both = merge(path, collect('sim', [second]))
    assert {result.experiment for result in both} == {'Normal-Random-supervised', 'Normal-Entropy-supervised'}
    assert read(path) == both
    again = [result._replace(value=1.0) for result in collect('sim', [first])]
    replaced = {
        result.metric: result.value for result in merge(path, again) if result.experiment.startswith('Normal-R')
    }
    assert set(replaced.values()) == {1.0}
    assert read(tmp_path / 'none.csv') == []


def test_the_table_has_means_over_seeds_beside_the_printed_numbers(tmp_path):
    runs = [finish(tmp_path, number, seed, level) for number, seed, level in ((1, 0, 30), (1, 1, 34), (2, 0, 40))]
    rows = read_rows('1', [1, 2, 3])
    shown = table.lines(rows, collect('sim', runs), 'sim')
    first, second, third = table.body(shown)
    assert first[:3] == ['1', 'Normal + Random + supervised', '200']
    np.testing.assert_allclose(float(first[6].split(' ± ')[0]), 45.0)  # 30 + 10 + 3 stages, 34 + 10 + 3
    assert first[7] == '0, 1'
    assert first[-1] == '52.1'
    assert second[6] == '53.0'
    assert second[7] == '0'
    assert third[2:8] == [''] * 6
    assert third[-1] == '54.2'
    assert len(table.markdown(shown).splitlines()) == 5
    assert table.lines(rows, collect('sim', runs), 'kitti')[0].intervals == {}
    difference = table.against(shown, 'Normal-Entropy-supervised', 'Normal-Random-supervised')
    assert difference.difference.mean == 10
    assert difference.difference.seeds == 1
    assert table.against(shown, 'Normal-PPAL-supervised', 'Normal-Random-supervised') is None


def test_a_figure_is_drawn(tmp_path):
    shown = table.lines(
        read_rows('1', [1]), collect('sim', [finish(tmp_path, 1, 0, 30), finish(tmp_path, 1, 1, 34)]), 'sim'
    )
    table.draw(shown, tmp_path / 'figures' / 'table.png')
    assert (tmp_path / 'figures' / 'table.png').stat().st_size > 5000
    assert table.cell(Interval(1.0, 0.5, 1.5, 3)) == '1.0 ± 0.5'


def test_the_command_lists_and_shows(tmp_path, capsys):
    finish(tmp_path, 2, 0, 40.0)
    words = ['show', 'table1', '--rows', '1', '2', '--work-dir', str(tmp_path), '--figure', str(tmp_path / 'a.png')]
    for call in (words, ['list', 'benchmark']):
        with pytest.raises(SystemExit, match='0'):
            main(call)
    shown = capsys.readouterr().out
    assert 'CPSP-CAL-CPSP' in shown
    assert '53.0' in shown
    assert '57.9' in shown
    assert 'simulated streets' in shown
    assert (tmp_path / 'results.csv').exists()
    assert (tmp_path / 'a.png').exists()


def test_kitti_that_nobody_converted_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv('SSAL3D_KITTI', str(tmp_path))
    from ssal3d.reproduce.data import prepare

    with pytest.raises(
        UserError, match=r'found no kitti_infos_train\.pkl; convert KITTI with `ssal3d create-data kitti`'
    ):
        prepare('kitti', tmp_path, 0)
