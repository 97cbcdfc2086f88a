"""What tables are asked, and what made-up seeds answer."""

import numpy as np
import pytest

from ssal3d.cli.reproduce import main
from ssal3d.reproduce import compare, read_rows
from ssal3d.reproduce.data_sets import BEV_METRICS, CALIBRATION_METRICS, DATA_SETS, WAYMO_METRICS, metrics_of
from ssal3d.reproduce.questions import answers, body, effects, header, questions
from ssal3d.reproduce.results import Result, merge
from ssal3d.reproduce.table import lines

EFFECTS = {'pretrain': {'CPSP': 1.0}, 'sampler': {'Entropy': 2.0, 'CAL': 5.0}, 'final': {'CPSP': -3.0, 'longer': -4.0}}
SEEDS = (1, 2, 3, 4)


def benchmark_results(seeds=SEEDS, noise=0.1, left_out=()):
    """Results of the crossed design: a level per seed, an effect per factor, noise; small classes 10 and 20 lower."""
    rng = np.random.default_rng(0)
    return [
        Result('sim', row.experiment, seed, metric, 50 + 3 * seed + shift + gain + noise * rng.normal(), '0', 'abacus')
        for row in read_rows('benchmark')
        for seed in seeds
        if (row.number, seed) not in left_out
        for gain in [sum(levels.get(getattr(row, name), 0) for name, levels in EFFECTS.items())]
        for metric, shift in zip(BEV_METRICS, (30, -10, -20, 0))
    ]


def ask(table, results, dataset='sim'):
    rows, metrics = read_rows(table), metrics_of(table, DATA_SETS[dataset])
    shown = lines(rows, results, dataset, metrics)
    return answers(questions(rows, metrics), shown), shown


def test_the_benchmark_finds_what_was_put_into_it():
    found, shown = ask('benchmark', benchmark_results())
    assert [answer.question.text[:3] for answer in found] == ['Q1a', 'Q1b', 'Q1c', 'Q2:', 'Q2:', 'Q3:', 'Q4:', 'Q4:']
    means = [answer.comparison.difference.mean for answer in found]
    assert means == pytest.approx([-3, 1, 1, 5, 3, 1, 5, 3], abs=0.2)
    assert all(answer.comparison.difference.seeds == 4 for answer in found)
    assert found[3].comparison.adjusted == pytest.approx(
        compare([(list(answer.differences.values()), [0] * 4) for answer in found])[3].adjusted
    )
    by_level = effects(shown, BEV_METRICS[-1])
    assert {name: round(effect) for name, (effect, _) in by_level.items()} == {
        'pretrain CPSP against Normal': 1,
        'sampler Entropy against Random': 2,
        'sampler CAL against Random': 5,
        'sampler CAL against Entropy': 3,
        'final CPSP against supervised': -3,
    }
    assert all(0 < half < 0.2 for _, half in by_level.values())
    copies = [result for result in benchmark_results() if not result.experiment.startswith('CPSP-Random')]
    others = [result for result in benchmark_results(noise=9) if result.experiment.startswith('CPSP-Random')]
    assert effects(ask('benchmark', copies + others)[1], BEV_METRICS[-1]) == by_level  # a random query sees no model


def test_a_difference_is_that_of_means_within_a_seed():
    results = benchmark_results(noise=4.0)
    values = {(result.experiment, result.seed): result.value for result in results if result.metric == BEV_METRICS[-1]}
    found = ask('benchmark', results)[0][3]
    rows = [row for row in read_rows('benchmark') if row.final != 'longer']
    for seed in SEEDS:
        cal, random = (
            np.mean([values[row.experiment, seed] for row in rows if row.sampler == sampler])
            for sampler in ('CAL', 'Random')
        )
        assert found.differences[seed] == pytest.approx(cal - random)


def test_seeds_that_lack_a_row_answer_no_question_about_it():
    found, shown = ask('benchmark', benchmark_results(left_out=[(6, 2), (13, 3)]))
    assert [tuple(answer.differences) for answer in found] == [
        (1, 3, 4),
        (1, 2, 4),  # Q1b compares two rows alone, of which one is row 13
        (1, 2, 3, 4),  # Q1c compares two others
        *[(1, 3, 4)] * 5,
    ]
    assert body(found)[0][2].startswith('1: ')
    assert len(effects(shown, BEV_METRICS[-1])) == 5  # of the three complete seeds
    assert effects(ask('benchmark', benchmark_results(seeds=(1, 2)))[1], BEV_METRICS[-1]) == {}
    assert ask('benchmark', [])[0] == []


def test_one_seed_has_a_difference_and_no_interval():
    first = body(ask('benchmark', benchmark_results(seeds=(1,), noise=0))[0])[0]
    assert first == ['Q1a: final CPSP against supervised', '-3.0', '-3.0', '', '', '']
    assert len(header()) == len(first)


@pytest.mark.parametrize(
    ('table', 'dataset', 'texts'),
    [
        ('6', 'sim-360', ['3 rounds against 1']),
        ('8', 'sim-360', ['CPSP against Normal, Veh', 'CPSP against Normal, Ped', 'CPSP against Normal, Cyc']),
        ('scores', 'sim', [f'scores={name} against scores as predicted' for name in ('temperature', 'isotonic')]),
        ('5', 'sim', [f'all parts against {row.variant}' for row in read_rows('5')[:-1]]),
        ('3', 'kitti', [f'all parts against {row.variant}' for row in read_rows('3')[:-1]]),
        ('1', 'sim', []),
    ],
)
def test_other_tables_are_asked_what_their_plan_says(table, dataset, texts):
    rows, metrics = read_rows(table), metrics_of(table, DATA_SETS[dataset])
    results = [
        Result(dataset, row.experiment, seed, metric, 0.1 * row.number + 0.01 * seed, '0', 'abacus')
        for row in rows
        for seed in (0, 1)
        for metric in {*metrics, *WAYMO_METRICS, *CALIBRATION_METRICS}
    ]
    assert [answer.question.text for answer in ask(table, results, dataset)[0]] == texts


@pytest.mark.parametrize(('dataset', 'mean'), [('sim', 'Avg_mod_BEV_mAP'), ('kitti', 'Avg_mod_mAP')])
def test_a_part_is_worth_what_the_row_without_it_lacks(dataset, mean):
    numbers = {row.experiment: row.number for row in read_rows('5')}
    results = [
        Result(dataset, name, seed, metric, number**2 + 10 * seed if metric == mean else 0.0, '0', 'abacus')
        for name, number in numbers.items()
        for seed in (1, 2, 3)
        for metric in metrics_of('5', DATA_SETS[dataset])
    ]
    found = ask('5', results, dataset)[0]
    assert [answer.question.metrics for answer in found] == [(mean,)] * 4
    assert [answer.comparison.difference.mean for answer in found] == pytest.approx([24, 21, 16, 9])


def test_the_command_prints_the_answers_and_writes_them(tmp_path, capsys):
    merge(tmp_path / 'results.csv', benchmark_results())
    words = ['show', 'benchmark', '--seeds', *map(str, SEEDS), '--results', str(tmp_path / 'results.csv')]
    with pytest.raises(SystemExit, match='0'):
        main([*words, '--markdown', str(tmp_path / 'tables.md')])
    shown = capsys.readouterr().out
    assert 'Q2: query CAL against Random' in shown
    assert 'effects in a mixed model' in shown
    written = (tmp_path / 'tables.md').read_text()
    assert '| Q2: query CAL against Random | +5.0 (' in written
    assert '| sampler CAL against Random | +5.0 ± ' in written
    assert 'Avg (paper)' in written
    assert 'Car BEV (paper)' not in written


def test_seeds_are_shown_all_or_as_asked(tmp_path, capsys):
    merge(tmp_path / 'results.csv', benchmark_results())
    written = (tmp_path / 'results.csv').stat().st_mtime_ns
    for words, seeds in ((['--seeds', '2', '3'], '2, 3'), ([], '1, 2, 3, 4')):
        with pytest.raises(SystemExit, match='0'):
            main(['show', 'benchmark', '--results', str(tmp_path / 'results.csv'), '--rows', '1', *words])
        row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('│ 1 '))
        assert f'│ {seeds} ' in row
    assert (tmp_path / 'results.csv').stat().st_mtime_ns == written  # nothing new was collected


def test_a_seed_that_settings_were_found_on_is_shown_and_answers_nothing(tmp_path, capsys):
    results = benchmark_results(seeds=(0, 1, 2, 3))
    merge(tmp_path / 'sim.csv', results)
    merge(tmp_path / 'kitti-pillars.csv', [result._replace(dataset='kitti-pillars') for result in results])
    for data, seeds in (('sim', 3), ('kitti-pillars', 4)):
        with pytest.raises(SystemExit, match='0'):
            main(['show', 'benchmark', '--dataset', data, '--results', str(tmp_path / f'{data}.csv')])
        shown = capsys.readouterr().out
        assert '0, 1, 2, 3' in shown
        line = next(line for line in shown.splitlines() if 'Q1b' in line)
        assert line.split('│')[3].count('.') == seeds
