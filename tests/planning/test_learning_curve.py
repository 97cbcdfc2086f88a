"""The learning curve and its intervals, against scipy's own regression and against what was put in."""

import json

import numpy as np
import pytest
from scipy import stats

from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.planning import boxes_for, fit_curve
from ssal3d.planning.experience import curve_points, effort_of, points_of, stages_of


def law(boxes, noise=0.0, seed=0):
    boxes = np.asarray(boxes, dtype=float)
    return 100 - 300 * boxes**-0.35 * np.exp(np.random.default_rng(seed).normal(0, noise, len(boxes)))


def test_the_fit_finds_the_law_that_was_put_in():
    boxes = [100, 200, 400, 800]
    curve = fit_curve(boxes, law(boxes))
    assert curve.slope == pytest.approx(0.35)
    assert not curve.is_flat
    assert curve.predicted(1600)[0] == pytest.approx(law([1600])[0])
    need = boxes_for(curve, float(law([1600])[0]))
    assert need.boxes == pytest.approx(1600)
    assert not need.is_far
    assert boxes_for(curve, 99.9).is_far


def test_slope_and_interval_are_those_of_a_linear_regression():
    boxes = np.array([50, 90, 200, 210, 500, 900])
    values = law(boxes, noise=0.1)
    curve = fit_curve(boxes, values, confidence=0.8)
    line = stats.linregress(np.log(boxes), np.log(100 - values))
    reach = stats.t.ppf(0.9, 4) * line.stderr
    assert curve.slope == pytest.approx(-line.slope)
    assert curve.slope_interval == pytest.approx((-line.slope - reach, -line.slope + reach))


def test_intervals_of_predictions_hold_the_truth_as_often_as_they_say():
    boxes, held = [100, 200, 400, 800, 1600], 0
    for seed in range(400):
        _, low, high = fit_curve(boxes, law(boxes, 0.1, seed), 0.8).predicted(3200)
        held += low <= law([3200])[0] <= high
    assert held / 400 == pytest.approx(0.8, abs=0.06)


def test_an_interval_of_boxes_holds_the_truth():
    boxes = [50, 100, 200, 400, 800]
    need = boxes_for(fit_curve(boxes, law(boxes, 0.02)), float(law([1500])[0]))
    assert need.low < 1500 < need.high
    assert need.low < need.boxes < need.high


def test_a_curve_that_does_not_rise_is_flat():
    curve = fit_curve([100, 200, 300], [50.0, 52.0, 49.5])
    assert curve.is_flat
    falling = fit_curve([100, 200, 400, 800], [50.0, 49.0, 47.0, 45.0])
    assert falling.is_flat
    assert boxes_for(falling, 60).boxes == np.inf
    assert boxes_for(falling, 40).boxes == 0


@pytest.mark.parametrize(
    ('boxes', 'values', 'message'),
    [
        ([100, 100, 200], [1.0, 2.0, 3.0], 'found 2 different numbers'),
        ([0, 1, 2], [1.0, 2.0, 3.0], 'boxes of 0'),
        ([1, 2, 3], [1.0, 2.0, 100.0], r'outside \[0, 100\)'),
    ],
)
def test_too_little_data_is_refused(boxes, values, message):
    with pytest.raises(UserError, match=message):
        fit_curve(boxes, values)
    with pytest.raises(UserError, match='--target: found 120'):
        boxes_for(fit_curve([1, 2, 3], [1.0, 2.0, 3.0]), 120)


def experiment(folder, values, prefix='kitti', seconds=None):
    """Write the journal of an experiment whose rounds buy 100 boxes each."""
    state, steps = LabelState.empty(['Car'], 'pool', [str(k) for k in range(50)]), []
    for number, value in enumerate(values):
        state = state.buy(number, [(str(number), {'Car': 100})])
        state.write(folder / 'labels' / f'round_{number}.json')
        name = f'round_{number}/query' if number else 'initial'
        steps += [
            {'step': name, 'labels': f'labels/round_{number}.json', 'spent_per_class': {'Car': 100}},
            {'step': f'round_{number + 1}/normal', 'metrics': {f'{prefix}/mean_3d_R40_moderate': value}, 'seconds': 1},
        ]
        cost = {'accepted': 60, 'edited': 30, 'deleted': 20, 'added': 10, 'moved': 30}
        report = {'schema': 1, 'cost': cost, 'seconds': seconds}
        (folder / 'labels' / f'round_{number}_import.json').write_text(json.dumps(report))
    steps.append({'step': 'final/supervised', 'metrics': {'kitti/mean_3d_R40_moderate': 90.0}})
    (folder / 'journal.json').write_text(json.dumps({'schema': 1, 'steps': steps}))
    return folder


def run(capsys, *words):
    from ssal3d.cli.plan import main

    with pytest.raises(SystemExit) as end:
        main([*map(str, words)])
    found = capsys.readouterr()
    return end.value.code, ' '.join((found.out + found.err).split())


def test_points_are_what_a_stage_had_learnt_from(tmp_path):
    folder = experiment(tmp_path, [30.0, 40.0, 45.0])
    assert [(point.boxes, point.value) for point in points_of(folder, 'normal')] == [
        (100, 30.0),
        (200, 40.0),
        (300, 45.0),
    ]
    assert stages_of(folder) == ['normal', 'supervised']
    with pytest.raises(
        UserError, match='no metric Car_3d; expected --metric and --class of one of mean_3d_R40_moderate'
    ):
        points_of(folder, 'normal', '3d', 'Car')


def test_the_plan_tells_boxes_and_hours(tmp_path, capsys):
    values = law([100, 200, 300]).tolist()
    folder = experiment(tmp_path, values, seconds=1200.0)
    assert (effort_of([folder]).boxes, effort_of([folder]).seconds) == (360, 3600.0)
    code, shown = run(capsys, folder, '--target', '60', '--seconds-per-box', '36')
    assert code == 0
    assert 'twice as many boxes take 21.5 % off the error' in shown
    wanted = (300 / 40) ** (1 / 0.35)
    assert f'{round(wanted)}' in shown
    assert f'{(wanted - 300) / 100:.2f}' in shown
    _, shown = run(capsys, folder)
    assert '360 boxes took 1.00 h as the tools recorded it: 10.0 s a box' in shown


def test_the_plan_says_plainly_when_the_data_cannot_tell(tmp_path, capsys):
    code, shown = run(capsys, experiment(tmp_path, [50.0, 52.0, 49.0]), '--target', '80')
    assert code == 0
    assert 'flat: 3 detectors cannot tell whether more boxes help' in shown


def test_two_rounds_are_too_few(tmp_path, capsys):
    code, shown = run(capsys, experiment(tmp_path, [50.0, 52.0]))
    assert code == 2
    assert 'expected at least 3; run more rounds, or name further work dirs' in shown


def test_the_fewest_boxes_for_a_far_target_are_fewer_than_the_line_says():
    boxes = [100, 200, 400, 800]
    curve = fit_curve(boxes, law(boxes, 0.01))
    need = boxes_for(curve, 99.99)
    assert need.boxes > 1000 * 800
    assert need.low < 0.95 * need.boxes
    assert curve.predicted(need.low)[2] == pytest.approx(99.99, abs=1e-3)


def test_a_work_dir_counts_once_by_whatever_name(tmp_path, capsys):
    folder = experiment(tmp_path / 'run', [30.0, 40.0, 45.0])
    (tmp_path / 'link').symlink_to(folder)
    code, shown = run(capsys, folder, tmp_path / 'link')
    assert code == 2
    assert f'is the same work dir as {folder}' in ' '.join(shown.split())


def change_journal(folder, change):
    path = folder / 'journal.json'
    content = json.loads(path.read_text())
    for step in content['steps']:
        change(step)
    path.write_text(json.dumps(content))


def test_a_step_that_was_taken_over_is_one_detector(tmp_path):
    folders = [experiment(tmp_path / name, [30.0, 40.0, 45.0]) for name in 'ab']
    assert len(curve_points(folders, 'normal')) == 6
    change_journal(folders[0], lambda step: step.update(digest=f'a {step["step"]}'))
    change_journal(
        folders[1], lambda step: step.update(digest=f'{"a" if "round_1" in step["step"] else "b"} {step["step"]}')
    )
    assert len(curve_points(folders, 'normal')) == 5


def test_points_of_several_val_sets_are_no_curve(tmp_path):
    folders = [experiment(tmp_path / name, [30.0, 40.0, 45.0]) for name in 'ab']
    for folder, val in zip(folders, ('sha256:1', 'sha256:2')):
        (folder / 'reads' / 'round_1').mkdir(parents=True)
        training = {'val_dataloader': {'dataset': {'ann_file': val}}}
        (folder / 'reads' / 'round_1' / 'normal.json').write_text(json.dumps({'training': training}))
    assert len(curve_points(folders[:1], 'normal')) == 3
    with pytest.raises(UserError, match='b: step round_1/normal was measured on another val set than round_1/normal'):
        curve_points(folders, 'normal')


def test_a_time_without_boxes_tells_no_time_of_a_box(tmp_path, capsys):
    folder = experiment(tmp_path, [30.0, 40.0, 45.0])
    report = {'schema': 1, 'cost': {'accepted': 0}, 'seconds': 60.0}
    for path in (folder / 'labels').glob('*_import.json'):
        path.write_text(json.dumps(report))
    code, shown = run(capsys, folder)
    assert code == 0
    assert 's a box' not in shown


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('journal.json', {'steps': 3}, 'journal.json: found steps int'),
        ('journal.json', {'steps': [3]}, 'journal.json: step 1'),
        ('journal.json', {'steps': [{'step': 'initial', 'spent_per_class': {'Car': 1}}]}, "initial has no 'labels'"),
        ('labels/round_0_import.json', {'cost': [1]}, 'round_0_import.json'),
        ('labels/round_0_import.json', {'cost': {'added': 'x'}}, 'round_0_import.json'),
    ],
)
def test_damaged_files_are_named(tmp_path, capsys, name, content, message):
    folder = experiment(tmp_path, [30.0, 40.0, 45.0])
    (folder / name).write_text(json.dumps({'schema': 1, **content}))
    code, shown = run(capsys, folder, '--stage', 'normal')
    assert code == 2
    assert message.replace(' ', '') in shown.replace(' ', '')


@pytest.mark.parametrize('value', ['nan', 'inf', '0'])
def test_seconds_of_a_box_are_a_number(tmp_path, capsys, value):
    code, shown = run(capsys, experiment(tmp_path, [30.0, 40.0, 45.0]), '--seconds-per-box', value)
    assert code == 2
    assert f'--seconds-per-box: found {value}' in shown


def test_an_unknown_stage_is_told_with_those_that_are_there(tmp_path, capsys):
    code, shown = run(capsys, experiment(tmp_path, [30.0, 40.0, 45.0]), '--stage', 'foo')
    assert code == 2
    assert "unknown stage 'foo': expected one of normal, supervised" in shown
