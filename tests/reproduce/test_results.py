"""Results of runs, their file, and the table for people."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from ssal3d.cli.reproduce import main
from ssal3d.data.infos import write_infos
from ssal3d.data.waymo_infos import METAINFO
from ssal3d.errors import UserError
from ssal3d.fileio import read_json, write_json
from ssal3d.loop.journal import Journal
from ssal3d.predictions import PredictionWriter
from ssal3d.reproduce import figures, read_rows, table
from ssal3d.reproduce.data_sets import CALIBRATION_METRICS, CURVE_METRICS, DATA_SETS, WAYMO_METRICS
from ssal3d.reproduce.experiments import Experiment
from ssal3d.reproduce.results import Result, average_precisions, collect, measured, merge, read
from ssal3d.reproduce.statistics import Interval

CLASSES = ('Car', 'Pedestrian', 'Cyclist')


def finish(tmp_path, number, seed, level):
    """Leave what a finished experiment leaves: AP of a class is `level`, + 10 for the next class, - 1 if easy, ..."""
    row = read_rows('1', [number])[0]
    folder = tmp_path / 'sim' / f'seed_{seed}' / row.experiment
    made = Experiment(row, seed, folder, DATA_SETS['sim'])
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
    write_json(folder / 'experiment.json', {'schema': 1, 'versions': {'ssal3d': f'0.1+{number}'}, 'machine': 'abacus'})
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


def test_what_was_measured_on_frames_that_nobody_labelled_counts_for_the_last_stage(tmp_path):
    made = finish(tmp_path, 6, 0, 30.0)
    content = read_json(made.folder / 'metrics.json')
    names = list(content['stages'])
    held_out = {
        name: {key: value + 50 for key, value in content['stages'][name].items()} for name in (names[0], names[-1])
    }
    write_json(made.folder / 'metrics.json', {**content, 'held_out': held_out})
    found = measured(made)
    assert found['Car_mod_mAP'] == 34
    assert found['Car_mod_mAP_held_out'] == 84
    assert found['Avg_mod_BEV_mAP_held_out'] == 95


def test_results_name_the_version_that_trained_and_not_the_one_that_collects(tmp_path):
    found = collect('sim', [finish(tmp_path, 1, 0, 30.0), finish(tmp_path, 2, 0, 40.0)])
    assert {(result.experiment, result.version, result.machine) for result in found} == {
        ('Normal-Random-supervised', '0.1+1', 'abacus'),
        ('Normal-Entropy-supervised', '0.1+2', 'abacus'),
    }


def test_results_name_every_version_that_did_a_step(tmp_path):
    made = finish(tmp_path, 1, 0, 30.0)
    journal = Journal(made.folder)
    for name, facts in (
        ('initial', {}),
        ('round_1/normal', {'version': '0.1+old'}),
        ('final/supervised', {'version': '0.1+1'}),
    ):
        journal.record(name, {}, {}, **facts)
    assert {result.version for result in collect('sim', [made])} == {'0.1+1 0.1+old'}


def test_a_class_of_which_nothing_is_annotated_has_no_ap_and_there_is_no_mean(tmp_path):
    made = finish(tmp_path, 1, 0, 30.0)
    content = read_json(made.folder / 'metrics.json')
    for stage in content['stages'].values():
        del stage['kitti/Cyclist_3d_R40_easy'], stage['kitti/Cyclist_bev_R40_moderate']
    write_json(made.folder / 'metrics.json', content)
    found = measured(made)
    assert 'Cyc_easy_mAP' not in found
    assert 'Avg_easy_mAP' not in found
    assert found['Car_easy_mAP'] == found['Car_mod_mAP'] - 1
    assert found['Avg_mod_mAP'] == 43
    assert 'Avg_mod_BEV_mAP' not in found
    shown = table.lines(
        read_rows('1', [1]), collect('sim', [made]), 'sim', ('Cyc_mod_BEV_mAP', 'Avg_mod_BEV_mAP', 'Avg_mod_mAP')
    )
    assert table.body(shown, ('Cyc_mod_BEV_mAP', 'Avg_mod_BEV_mAP', 'Avg_mod_mAP'))[0][3:6] == ['', '', '43.0']


def test_counts_keep_all_their_digits(tmp_path):
    values = {'boxes': 123456, 'frames': 17298, 'Car_mod_mAP': 79.46819, '0.3-0.5_precision': 0.123456}
    merge(tmp_path / 'a.csv', [Result('kitti', 'Full', 1, name, value, '', '') for name, value in values.items()])
    assert {result.metric: result.value for result in read(tmp_path / 'a.csv')} == {
        **values,
        'Car_mod_mAP': 79.47,
        '0.3-0.5_precision': 0.1235,
    }


def test_runs_with_other_settings_are_not_shown(tmp_path, capsys):
    made = finish(tmp_path, 2, 0, 40.0)
    smoke = replace(made, options=('stages.normal.frames=20',))
    smoke.config.write_text(smoke.config_text())
    merge(tmp_path / 'results.csv', collect('sim', [smoke]))
    words = ['show', 'table1', '--rows', '2', '--work-dir', str(tmp_path)]
    with pytest.raises(SystemExit, match='0'):
        main(words)
    shown = capsys.readouterr().out
    assert '53.0' not in shown
    assert 'not shown, as they ran with other settings: 1 runs' in shown
    with pytest.raises(SystemExit, match='0'):
        main([*words, '--cfg-options', *smoke.options])
    assert '53.0' in capsys.readouterr().out


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
    assert len(table.markdown(table.header(shown), table.body(shown)).splitlines()) == 5
    assert table.lines(rows, collect('sim', runs), 'kitti')[0].intervals == {}


def test_a_figure_is_drawn(tmp_path):
    shown = table.lines(
        read_rows('1', [1]), collect('sim', [finish(tmp_path, 1, 0, 30), finish(tmp_path, 1, 1, 34)]), 'sim'
    )
    figures.draw(shown, tmp_path / 'figures' / 'table.png', table.METRICS)
    assert (tmp_path / 'figures' / 'table.png').stat().st_size > 5000
    assert table.cell(Interval(1.0, 0.5, 1.5, 3)) == '1.0 ± 0.5'
    with mock.patch.object(figures, 'draw_dots', wraps=figures.draw_dots) as dots:
        figures.draw(shown, tmp_path / 'bev.png', ('Car_mod_BEV_mAP', *table.METRICS[::-1]))  # the first mean is drawn
    [(_, metric)] = [call.args for call in dots.call_args_list]
    axes = figures.draw_dots(shown, metric).axes[0]
    assert axes.get_xlabel() == 'Avg (%)'
    drawn = {line.get_label(): line.get_xdata().tolist() for line in axes.lines if line.get_label().startswith('seed')}
    assert drawn == {'seed 0': [43.0], 'seed 1': [47.0]}


def test_the_command_lists_and_shows(tmp_path, capsys):
    finish(tmp_path, 2, 0, 40.0)
    words = ['show', 'table1', '--rows', '1', '2', '--work-dir', str(tmp_path), '--figure', str(tmp_path / 'a.png')]
    for call in (words, ['list', 'benchmark'], ['list', 'fig7'], ['list', 'table6', '--dataset', 'waymo']):
        with pytest.raises(SystemExit, match='0'):
            main(call)
    shown = capsys.readouterr().out
    assert 'CPSP-CAL-CPSP' in shown
    assert '53.0' in shown
    assert '57.9' in shown
    assert 'simulated streets' in shown
    assert (tmp_path / 'results.csv').exists()
    assert (tmp_path / 'a.png').exists()


def test_a_file_that_is_shown_is_read_alone_and_not_written(tmp_path, capsys):
    finish(tmp_path, 2, 0, 40.0)
    published = tmp_path / 'published.csv'
    merge(published, [Result('sim', 'Normal-Random-supervised', 0, 'Avg_mod_BEV_mAP', 65.5, '1', 'abacus')])
    before = published.read_bytes()
    words = ['show', 'table1', '--rows', '1', '2', '--work-dir', str(tmp_path), '--results']
    with pytest.raises(SystemExit, match='0'):
        main([*words, str(published)])
    shown = capsys.readouterr().out
    assert '65.5' in shown
    assert '53.0' not in shown, 'a run of the work dir'
    assert published.read_bytes() == before
    with pytest.raises(SystemExit, match='2'):
        main([*words, str(tmp_path / 'nowhere.csv')])
    assert (
        'nowhere.csv: no such file; without --results the runs of --work-dir are shown'
        in capsys.readouterr().err.replace('\n', '')
    )


ROW = 'sim,Normal,0,Avg_mod_mAP,65.5,1,abacus'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('dataset,experiment,seed,metric,value,version\n', "the column 'machine' is missing"),
        ('', "the column 'dataset' is missing"),
        (f'{{head}}\n{ROW}\n{ROW.replace(",0,", ",x,")}\n', "line 3: found seed 'x' and value '65.5'"),
        (f'{{head}}\n{ROW.replace("65.5", "nan")}\n', "line 2: found seed '0' and value 'nan'"),
        ('{head}\nsim,Normal,0\n', "line 2: the row ends before the column 'metric'"),
    ],
)
def test_a_damaged_file_of_results_is_named_with_the_line(tmp_path, content, message):
    path = tmp_path / 'results.csv'
    path.write_text(content.format(head=','.join(Result._fields)))
    with pytest.raises(UserError, match=rf'results\.csv.*{message}'):
        read(path)


def test_real_data_that_nobody_converted_is_named_with_the_remedy(tmp_path, monkeypatch):
    for name in ('KITTI', 'WAYMO'):
        monkeypatch.setenv(f'SSAL3D_{name}', str(tmp_path))
    from ssal3d.reproduce.data import prepare

    for name in ('kitti', 'waymo'):
        with pytest.raises(
            UserError, match=rf'found no {name}_infos_train\.pkl; convert the data with `ssal3d create-data {name}`'
        ):
            prepare(name, tmp_path, 0)


def waymo_metrics(level):
    types = ('VEHICLE', 'PEDESTRIAN', 'CYCLIST', 'mean')
    return {
        f'waymo/{name}_{range_}{grade}_{measure}': (level + place + 5 * (grade == 'L2') + 20 * (measure == 'APH')) / 100
        for place, name in enumerate(types)
        for range_ in ('', '0-30m_', '30-50m_', '50m-inf_')
        for grade in ('L1', 'L2')
        for measure in ('AP', 'APH')
    }


def finish_waymo(tmp_path, name, number, level, seed=0):
    """Leave what a finished experiment on simulated drives leaves, with a curve if it has rounds."""
    row = read_rows(name, [number])[0]
    made = Experiment(row, seed, tmp_path / 'sim-360' / f'seed_{seed}' / row.experiment, DATA_SETS['sim-360'])
    made.folder.mkdir(parents=True)
    labelled = {'frames': 40, 'boxes': {'Car': 100, 'Pedestrian': 60, 'Cyclist': 40}}
    stages = {step: {'seconds': 1.0, **waymo_metrics(level)} for step in made.steps.values()}
    curve = [
        {
            'model': f'{group}/{stage}',
            'frames': 1,
            'boxes': 100 * k,
            'metrics': waymo_metrics(level + k + 50 * (stage != 'final_cpsp')),
        }
        for k, group in enumerate(('final_1', 'final_2', 'final_3', 'final_4', 'final'), 1)
        for stage in ('supervised', 'final_cpsp')
    ]
    bought = {'initial': {'frames': 20, 'spent_per_class': {'Car': 50, 'Pedestrian': 30, 'Cyclist': 21}}}
    content = {
        'schema': 1,
        'stages': stages,
        'labelled': labelled,
        'purchases': bought,
        **({'curve': curve} if row.rounds == 5 else {}),
    }
    write_json(made.folder / 'metrics.json', content)
    write_json(made.folder / 'experiment.json', {'schema': 1, 'versions': {'ssal3d': '0.1'}, 'machine': 'abacus'})
    made.config.write_text(made.config_text())
    return made


def test_waymos_numbers_are_percent_by_class_level_and_range(tmp_path):
    found = measured(finish_waymo(tmp_path, '2', 16, 40.0))
    assert [found[metric] for metric in WAYMO_METRICS] == pytest.approx([40, 41, 42, 43, 48])
    assert found['Avg_L2_mAPH'] == pytest.approx(68)
    assert found['Veh_L2_0-30m_mAPH'] == pytest.approx(65)
    assert found['boxes_Cyclist'] == 40
    without = {key: value for key, value in waymo_metrics(40).items() if 'CYCLIST' not in key}
    assert 'Cyc_L1_mAP' not in average_precisions(without)


def test_a_learning_curve_takes_the_final_model_of_every_round(tmp_path):
    made = [
        finish_waymo(tmp_path, 'fig6', number, level, seed)
        for number, level, seed in ((4, 30.0, 0), (5, 40.0, 0), (5, 44.0, 1))
    ]
    shown = table.lines(read_rows('fig6'), collect('sim-360', made), 'sim-360', CURVE_METRICS)
    assert table.header(shown, CURVE_METRICS)[3:8] == [f'round {number}' for number in range(1, 6)]
    assert table.body(shown, CURVE_METRICS)[3][1:8] == ['Normal + CAL', '200', '34.0', '35.0', '36.0', '37.0', '38.0']
    assert shown[4].values['boxes_round_3'] == {0: 300, 1: 300}
    figures.draw(shown, tmp_path / 'fig6.png', CURVE_METRICS)
    axes = figures.draw_curves([line for line in shown if line.intervals], CURVE_METRICS).axes[0]
    assert axes.get_legend_handles_labels()[1] == ['Normal + CAL', 'CPSP + CAL']
    assert axes.lines[-1].get_xdata().tolist() == [100, 200, 300, 400, 500]
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), np.arange(5) + 46)  # mean of both seeds
    with pytest.raises(UserError, match='no row of fig6 is measured yet'):
        figures.draw(shown[:2], tmp_path / 'none.png', CURVE_METRICS)


def predicted_pool(made, tmp_path, scores):
    """Leave predictions of two frames with one car each, and the annotation file."""
    stage = 'normal' if made.row.pretrain == 'Normal' else 'cpsp'
    folder = made.folder / 'round_1'
    car = [[10.0, 0.0, 1.0, 4.0, 2.0, 2.0, 0.0], [30.0, 5.0, 1.0, 4.0, 2.0, 2.0, 0.0]]
    with PredictionWriter(folder / f'predictions_{stage}', ['Car', 'Pedestrian', 'Cyclist'], []) as writer:
        for number in range(20):  # D-ECE leaves out bins with fewer than 8 detections
            writer.add(f'f_{number:03d}', bboxes_3d=car, scores_3d=np.array(scores, np.float32), labels_3d=[0, 0])
    frames = [
        {
            'sample_idx': f'f_{number:03d}',
            'images': {},
            'lidar_points': {'lidar_path': f'f_{number:03d}.bin', 'num_pts_feats': 6},
            'instances': [{'bbox_3d': [10.0, 0.0, 0.0, 4.0, 2.0, 2.0, 0.0], 'bbox_label_3d': 0, 'num_lidar_pts': 9}],
        }
        for number in range(20)
    ]
    write_infos(tmp_path / 'waymo_infos_train.pkl', {'metainfo': METAINFO, 'data_list': frames})
    (folder / stage).mkdir(parents=True)
    pool = dict(data_root=str(tmp_path), ann_file='waymo_infos_train.pkl')
    (folder / stage / 'config.py').write_text(f'pool_dataset = {pool!r}\n')


def test_table_8_and_fig_7_are_measured_on_the_predictions_that_a_query_saw(tmp_path):
    experiments = [finish_waymo(tmp_path, '8', number, 0.0) for number in (1, 5)]
    for made, scores in zip(experiments, ([0.9, 0.4], [0.9, 0.12]), strict=True):  # the first of each two is right
        predicted_pool(made, tmp_path, scores)
    shown = table.lines(read_rows('8'), collect('sim-360', experiments), 'sim-360', CALIBRATION_METRICS)
    assert table.body(shown, CALIBRATION_METRICS)[0][1:4] == ['Normal', '101', '0.250']  # (0.1 + 0.4) / 2
    assert table.body(shown, CALIBRATION_METRICS)[4][3] == '0.110'
    assert table.body(shown, CALIBRATION_METRICS)[4][-3:] == ['0.09', '0.08', '0.15']
    assert [
        shown[0].values[f'Veh_{name}'][0] for name in ('0.3-0.5_count', '0.3-0.5_precision', '0.8-1.0_precision')
    ] == [20, 0, 1]
    assert 'Ped_D-ECE' not in shown[0].intervals
    assert 'Veh_L1_mAP' not in shown[0].values, 'no final model was trained'
    ranges = table.lines(read_rows('fig7'), collect('sim-360', experiments), 'sim-360', CALIBRATION_METRICS)
    figures.draw(ranges, tmp_path / 'fig7.png', CALIBRATION_METRICS)
    axes = figures.draw_ranges([ranges[0], ranges[4]]).axes
    bars = [patch.get_height() for patch in axes[0].patches]
    np.testing.assert_allclose(bars, [np.nan, 0, np.nan, 1, 0, np.nan, np.nan, 1])
    assert axes[0].get_legend_handles_labels()[1] == ['Normal', 'CPSP']


def test_rows_that_a_detector_lacks_are_told_and_left_out(tmp_path, capsys):
    for words in (['config', 'table8', '--rows', '1', '2'], ['run', 'table8', '--rows', '2']):
        with pytest.raises(SystemExit):
            main([*words, '--work-dir', str(tmp_path)])
    told = capsys.readouterr()
    assert 'row 2, 3DIoUMatch: left out, 3DIoUMatch needs a detector with two stages' in told.out
    assert "'rounds': [{'pretrain': ['normal']}]" in told.out
    assert 'threedioumatch' not in told.out
    assert 'no row of table8 can be trained' in told.err
