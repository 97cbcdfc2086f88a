"""The rows of the paper's tables and their experiments."""

import pytest

from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.reproduce import read_rows
from ssal3d.reproduce.experiments import Experiment, is_finished
from ssal3d.reproduce.rows import BENCHMARK, KITTI_TABLES

TABLES = (*KITTI_TABLES, BENCHMARK)


def experiment(row, tmp_path, dataset='sim', seed=0):
    return Experiment(row, seed, tmp_path / row.experiment, f'ssal3d::paper/{dataset}.py')


def test_the_papers_numbers_stand_beside_their_rows():
    rows = read_rows('table1')
    assert len(rows) == 23
    last = rows[21]
    assert (last.pretrain, last.sampler, last.final) == ('CPSP', 'CAL', 'HSSDA')
    assert [last.paper[f'{name}_mod_mAP'] for name in ('Car', 'Ped', 'Cyc', 'Avg')] == [79.5, 61.2, 70.7, 70.5]
    assert [len(read_rows(table)) for table in TABLES] == [23, 6, 5, 5, 5, 13]


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
        ('table2', (), 'table 2 is measured on Waymo'),
        ('table9', (), "found table 'table9', expected one of 1, 3, 4, 5, 7, benchmark"),
        ('3', (7,), 'table 3: found no row 7, expected 1 to 6'),
    ],
)
def test_what_is_not_there_is_named(table, numbers, message):
    with pytest.raises(UserError, match=message):
        read_rows(table, numbers)


@pytest.mark.parametrize('dataset', ['sim', 'kitti'])
def test_every_row_is_a_config(dataset, tmp_path):
    texts = {}
    for row in (row for table in TABLES for row in read_rows(table)):
        made = experiment(row, tmp_path, dataset, seed=3)
        path = tmp_path / f'{row.experiment}.py'
        path.write_text(made.config_text())
        config = read_config(str(path), custom_imports=False)
        used = {name for entry in config.train_cfg.rounds for name in entry['pretrain']} | set(config.train_cfg.final)
        assert used <= set(config.stages), row
        assert config.randomness.seed == 3
        assert texts.setdefault(row.experiment, made.config_text()) == made.config_text(), row
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
    assert settings('4', 1).stages.cpsp.cpsp.k_first == settings('4', 1).stages.final_cpsp.cpsp.k_next == 2
    assert set(settings('3', 1).stages.cpsp.false_positives.values()) == {0}
    assert settings('3', 1).stages.cpsp.interval > 1000
    assert settings('3', 1).stages.cpsp.cpsp.del_after == 255
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
