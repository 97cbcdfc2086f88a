"""The rows of the paper's tables and their experiments."""

from dataclasses import replace

import pytest
from mmengine.config import Config

from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.reproduce import read_rows
from ssal3d.reproduce.data_sets import DATA_SETS, data_set, metrics_of
from ssal3d.reproduce.experiments import Experiment, is_finished, settings_digest
from ssal3d.reproduce.rows import BENCHMARK, KITTI_TABLES

TABLES = (*KITTI_TABLES, BENCHMARK)


def experiment(row, tmp_path, dataset='sim', seed=0):
    return Experiment(row, seed, tmp_path / row.experiment, DATA_SETS[dataset])


def test_the_papers_numbers_stand_beside_their_rows():
    rows = read_rows('table1')
    assert len(rows) == 23
    last = rows[21]
    assert (last.pretrain, last.sampler, last.final) == ('CPSP', 'CAL', 'HSSDA')
    assert [last.paper[f'{name}_mod_mAP'] for name in ('Car', 'Ped', 'Cyc', 'Avg')] == [79.5, 61.2, 70.7, 70.5]
    assert [len(read_rows(table)) for table in TABLES] == [23, 6, 5, 5, 5, 14]


def test_a_cell_of_the_benchmark_has_the_papers_number_where_it_has_one():
    cells = {row.experiment: row.paper.get('Avg_mod_mAP') for row in read_rows(BENCHMARK)}
    assert cells['Normal-Random-supervised'] == 52.1
    assert cells['CPSP-CAL-CPSP'] == 68.6
    assert cells['Normal-CAL-supervised'] is None


def test_the_method_itself_is_one_experiment_in_every_table():
    names = {read_rows(table)[number].experiment for table, number in (('3', 5), ('4', 3), ('5', 4), ('7', 4))}
    assert names == {'CPSP-CAL-CPSP'}


@pytest.mark.parametrize(
    ('table', 'numbers', 'message'),
    [
        ('table9', (), "found table 'table9', expected one of 1, 2, 3, 4, 5, 6, 7, 8, fig6, fig7, benchmark, scores"),
        ('3', (7,), 'table 3: found no row 7, expected 1 to 6'),
    ],
)
def test_what_is_not_there_is_named(table, numbers, message):
    with pytest.raises(UserError, match=message):
        read_rows(table, numbers)


def test_the_papers_numbers_on_waymo():
    assert [len(read_rows(table)) for table in ('2', '6', '8', 'fig6', 'fig7', 'scores')] == [17, 2, 5, 5, 5, 3]
    last = read_rows('table2', [16])[0]
    assert (last.pretrain, last.sampler, last.final) == ('CPSP', 'CAL', 'CPSP')
    assert [last.paper[f'Avg_{name}'] for name in ('L1_mAP', 'L2_mAP', 'L1_mAPH', 'L2_mAPH')] == [
        61.0,
        54.7,
        46.5,
        42.4,
    ]
    assert [row.paper['Avg_L1_mAP'] for row in read_rows('6')] == [62.8, 63.7]
    assert [(row.rounds, row.budget_factor) for row in read_rows('6')] == [(1, 3), (3, 1)]
    errors = {row.pretrain: row.paper['Cyc_D-ECE'] for row in read_rows('8')}
    assert errors == {'Normal': 0.25, '3DIoUMatch': 0.29, 'Joint3D': 0.48, 'NAL': 0.42, 'CPSP': 0.15}
    assert {row.experiment for row in read_rows('fig7')} == {row.experiment for row in read_rows('8')}


def test_a_table_is_measured_where_it_belongs():
    assert [data_set(None, table).name for table in ('1', 'benchmark', 'scores', '2', 'fig6')] == ['sim'] * 3 + [
        'sim-360'
    ] * 2
    assert data_set('waymo', '8').config == 'ssal3d::paper/waymo.py'
    with pytest.raises(
        UserError, match=r"unknown data set for 2 'kitti': expected one of sim-360, sim-360-pvrcnn, waymo"
    ):
        data_set('kitti', '2')
    assert metrics_of('scores', DATA_SETS['waymo'])[0] == 'Veh_L1_mAP'
    assert metrics_of('scores', DATA_SETS['sim'])[0] == 'Car_mod_mAP'
    lacking = {row.number: name for row in read_rows('2') if (name := DATA_SETS['sim-360'].lacks(row))}
    assert lacking == {
        3: 'CRB',
        4: 'KECOR',
        7: 'CRB',
        8: 'KECOR',
        10: '3DIoUMatch',
        11: 'Joint3D',
        14: 'CRB',
        15: 'KECOR',
    }
    assert not any(DATA_SETS['sim-360-pvrcnn'].lacks(row) for row in read_rows('2'))


@pytest.mark.parametrize('dataset', DATA_SETS)
def test_every_row_is_a_config(dataset, tmp_path):
    texts = {}
    for row in (row for table in DATA_SETS[dataset].tables for row in read_rows(table)):
        made = experiment(row, tmp_path, dataset, seed=3)
        path = tmp_path / f'{row.experiment}.py'
        path.write_text(made.config_text())
        config = read_config(str(path), custom_imports=False)
        used = {name for entry in config.train_cfg.rounds for name in entry['pretrain']} | set(config.train_cfg.final)
        assert used <= set(config.stages), row
        assert config.randomness.seed == 3
        assert texts.setdefault(row.experiment, made.config_text()) == made.config_text(), row
        assert len(config.train_cfg.rounds) == (0 if row.pretrain == 'Full' else row.rounds)
        assert made.steps
    assert len({text.partition('\n')[2] for text in texts.values()}) == len(texts)


def test_rows_differ_in_what_they_are_called_after(tmp_path):
    def settings(table, number):
        path = tmp_path / 'row.py'
        path.write_text(experiment(read_rows(table, [number])[0], tmp_path).config_text())
        return read_config(str(path), custom_imports=False)

    assert settings('1', 2).active_sampler.type == 'EntropySampler'
    assert settings('5', 1).active_sampler.type == 'RandomSampler'
    assert settings('5', 2).active_sampler.entropy == 'none'
    assert settings('5', 2).active_sampler.t_sim > 1  # no cosine is
    assert settings('5', 4).active_sampler.t_sim <= 1
    assert settings('4', 1).stages.cpsp.bank.k_first == settings('4', 1).stages.final_cpsp.bank.k_next == 2
    assert set(settings('3', 1).stages.cpsp.false_positives.values()) == {0}
    assert settings('3', 1).stages.cpsp.interval > 1000
    assert settings('3', 1).stages.cpsp.bank.del_after == 255
    assert settings('3', 2).stages.cpsp.false_positives.Car > 0
    assert settings('1', 23).train_cfg.rounds == []


def test_steps_with_equal_keys_are_those_that_do_the_same(tmp_path):
    def steps(table, number, seed=0):
        return set(experiment(read_rows(table, [number])[0], tmp_path, seed=seed).steps)

    assert steps('1', 1) & steps('1', 2) == {'train normal', 'predict normal'}
    assert len(steps('1', 2) & steps('1', 7)) == 4  # a supervised row is the beginning of one with a method
    assert {key for key in steps('1', 2) & steps('1', 18)} == {'train normal'}
    assert steps('3', 1) & steps('3', 6) == {'train normal'}  # another CPSP
    assert {key.split()[0] for key in steps('5', 2) & steps('5', 5)} == {'train', 'predict'}  # another query
    assert steps('4', 4) == steps('3', 6) == steps('5', 5)


def test_an_experiment_with_other_settings_is_not_finished(tmp_path):
    made = experiment(read_rows('1', [1])[0], tmp_path)
    assert not is_finished(made)
    made.folder.mkdir()
    (made.folder / 'metrics.json').write_text('{}')
    made.config.write_text(made.config_text())
    assert is_finished(made)
    made.config.write_text(made.config_text() + 'budget = 1\n')
    assert not is_finished(made)
    shortened = replace(made, options=('stages.normal.frames=20', "custom_imports={'imports': ['mine']}"))
    shortened.config.write_text(shortened.config_text())
    assert is_finished(shortened)
    assert not is_finished(made)
    assert Config.fromfile(shortened.config).randomness.seed == made.seed  # the options are no broken line of the file


def test_an_experiment_with_other_inherited_settings_is_not_finished(tmp_path):
    base = tmp_path / 'base.py'
    base.write_text("_base_ = 'ssal3d::paper/sim.py'\n")
    plain = experiment(read_rows('1', [1])[0], tmp_path)
    made = replace(plain, data=replace(plain.data, config=str(base)))
    made.folder.mkdir()
    (made.folder / 'metrics.json').write_text('{}')
    made.config.write_text(made.config_text())
    settings_digest.cache_clear()
    base.write_text("_base_ = 'ssal3d::paper/sim.py'  # a comment changes nothing\n")
    assert is_finished(made)
    settings_digest.cache_clear()
    base.write_text("_base_ = 'ssal3d::paper/sim.py'\nstages = dict(normal=dict(frames=12))\n")
    assert not is_finished(made)


def test_rows_of_several_rounds_share_their_beginnings(tmp_path):
    def steps(table, number):
        return experiment(read_rows(table, [number])[0], tmp_path, 'sim-360').steps

    once, thrice, five, plain = steps('6', 1), steps('6', 2), steps('fig6', 5), steps('2', 16)
    assert set(once) & set(thrice) == {
        key for key, name in once.items() if name.startswith('round_1') and 'query' not in name
    }
    assert {name for key, name in plain.items() if key in thrice} == {
        f'round_1/{name}' for name in ('normal', 'cpsp', 'predictions_cpsp', 'query')
    }
    assert {name for key, name in thrice.items() if key in five} == {
        name for name in thrice.values() if name.startswith('round_')
    }
    assert list(five.values())[-2:] == ['final/supervised', 'final/final_cpsp']
    assert sum(name.startswith('final_') for name in five.values()) == 8
    assert set(steps('8', 5)) < set(plain)
    assert not any(name.startswith('final') for name in steps('8', 1).values())
    assert {name for key, name in steps('scores', 2).items() if key in plain} == {
        f'round_1/{name}' for name in ('normal', 'cpsp', 'predictions_cpsp')
    }


def test_the_single_query_of_table_6_buys_as_much_as_the_three(tmp_path):
    def rounds(number):
        path = tmp_path / 'row.py'
        path.write_text(experiment(read_rows('6', [number])[0], tmp_path, 'waymo').config_text())
        config = read_config(str(path), custom_imports=False)
        return [entry.get('query', config.query).budget for entry in config.train_cfg.rounds]

    assert rounds(1) == [15000]
    assert rounds(2) == [5000] * 3
