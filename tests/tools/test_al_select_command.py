"""The command as a user runs it; most runs stay in this process because starting Python takes longer than a query."""

import hashlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssal3d.data.label_state import LabelState
from ssal3d.fileio import write_json
from ssal3d.predictions.synthetic import CLASSES, annotated_boxes, second_model, synthetic_pool, write_predictions

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / 'tools' / 'al_select.py'
FIELDS = ('box_features', 'class_logits', 'lidar2img', 'image_shape')


@pytest.fixture(scope='module')
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('al_select')
    pool = synthetic_pool(60, fields=FIELDS)
    write_predictions(pool, folder / 'query', frames_per_part=25)
    write_predictions(second_model(pool), folder / 'reference')
    write_json(folder / 'counts.json', annotated_boxes(pool))
    labels = LabelState.empty(CLASSES, 'synthetic', pool.frame_ids.tolist())
    labels.write(folder / 'empty.json')
    labels.buy(0, [('000005', {'Car': 4, 'Cyclist': 1}), ('000009', {'Pedestrian': 2})]).write(folder / 'labels.json')
    write_json(folder / 'dontcare.json', {'000003': [[0, 0, 1242, 375]], '000004': [[0, 0, 2, 2]]})
    return folder


@pytest.fixture
def al_select(inputs, tmp_path, monkeypatch, capsys):
    def run(config='cal_kitti_paper', *words, code=0, predictions='query', labels='labels.json', **options):
        """Run the command on the files of `inputs`; return query.json, or the error line."""
        out = tmp_path / 'query.json'
        if '--force' not in words:
            out.unlink(missing_ok=True)
        config = config if str(config).endswith('.py') else ROOT / 'configs' / 'active' / f'{config}.py'
        options = {'predictions': predictions, 'labels': labels, **options}
        out = options.pop('out', out)
        named = [
            word
            for name, value in options.items()
            if value is not None
            for word in (f'--{name.replace("_", "-")}', str(value))
        ]
        monkeypatch.chdir(inputs)
        monkeypatch.setattr(sys, 'argv', ['al_select.py', str(config), *named, '--out', str(out), *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(COMMAND), run_name='__main__')
        printed = capsys.readouterr()
        assert ended.value.code == code, printed.err
        if code == 2:
            assert '--force' in words or out.name == 'taken.json' or not out.exists()
            assert printed.err.count('\n') == 1, printed.err
            return printed.err
        return json.loads(out.read_text())

    return run


def test_cal_with_two_models_and_annotations(al_select, inputs):
    query = al_select(reference_predictions='reference', annotations='counts.json', dontcare='dontcare.json')
    counts = json.loads((inputs / 'counts.json').read_text())
    assert query['budget'] == 150 <= query['spent']
    assert query['round'] == 1
    assert query['sampler']['class_weights'] == {'Car': 0.3, 'Pedestrian': 1.1, 'Cyclist': 1.6}
    assert (query['cost'], query['unit'], query['stopped']) == ('annotated', 'boxes', 'budget')
    assert [frame['rank'] for frame in query['frames']] == list(range(len(query['frames'])))
    assert all(frame['annotated_boxes'] == counts[frame['frame_id']] for frame in query['frames'])
    ids = [frame['frame_id'] for frame in query['frames']]
    assert not {'000005', '000009', '000003'} & set(ids)
    assert query['warnings'][0].startswith('2 frames of the predictions are labelled already')
    assert "oracle: dontcare='paper' excluded 1 of 58 frames" in query['warnings'][1]
    spent = {name: sum(counts[frame_id][name] for frame_id in ids) for name in CLASSES}
    assert query['spent_per_class'] == spent
    assert query['spent'] == sum(spent.values())


@pytest.mark.parametrize('config', ['cal_kitti', 'cal_kitti_paper', 'cal_waymo', 'random_kitti', 'random_waymo'])
def test_shipped_configs_run_without_annotations(al_select, config):
    query = al_select(config, budget=40)
    assert query['cost'] == 'predicted'
    assert query['spent'] >= 40 == query['budget']
    assert all(frame['annotated_boxes'] is None for frame in query['frames'])
    dontcare = [warning for warning in query['warnings'] if 'is off because no DontCare' in warning]
    assert len(dontcare) == (config == 'cal_kitti_paper')


def test_waymo_weights_reach_the_class_that_mmdetection3d_calls_car(al_select):
    query = al_select('cal_waymo', budget=5)
    assert query['sampler']['class_weights'] == {'Vehicle': 0.1, 'Pedestrian': 0.2, 'Cyclist': 2.7}
    assert query['dontcare'] == 'none'


def test_overrides(al_select):
    query = al_select('cal_kitti', '--cfg-options', 'active_sampler.t_sim=0.7', 'query.budget=9', seed=3, round=4)
    assert (query['sampler']['t_sim'], query['budget'], query['seed'], query['round']) == (0.7, 9, 3, 4)
    assert al_select('cal_kitti', '--cfg-options', 'query.budget=9', budget=3)['budget'] == 3
    seeded = ('--cfg-options', 'randomness.seed=7')
    assert al_select('random_kitti', *seeded, round=4)['seed'] == 11  # another one for every round


def test_budgets_in_frames_and_in_money(al_select):
    query = al_select('entropy_kitti', '--unit', 'frames', budget=7)
    assert (query['budget'], query['unit'], query['spent'], len(query['frames'])) == (7, 'frames', 7, 7)
    query = al_select('entropy_kitti', '--unit', 'frame=10,box=2.5', budget=99.5, annotations='counts.json')
    assert query['unit'] == {'frame': 10, 'box': 2.5}
    assert query['spent'] == 10 * len(query['frames']) + 2.5 * sum(query['spent_per_class'].values())


def test_the_query_says_what_it_was_made_from(al_select, inputs):
    query = al_select(reference_predictions='reference', annotations='counts.json')
    assert set(query['inputs']) == {'labels', 'predictions', 'reference_predictions', 'annotations'}
    assert query['inputs']['predictions']['path'] == 'query'
    assert query['inputs']['labels']['sha256'] == hashlib.sha256((inputs / 'labels.json').read_bytes()).hexdigest()
    digests = [entry['sha256'] for entry in query['inputs'].values()]
    assert len({*digests}) == 4


def test_a_query_that_is_there_is_not_overwritten(al_select, tmp_path):
    first = al_select(budget=9)
    out = tmp_path / 'query.json'
    assert first == al_select('cal_kitti_paper', '--force', budget=9)
    (tmp_path / 'taken.json').write_text('people work with this\n')
    assert 'there is a file already' in al_select(code=2, out=tmp_path / 'taken.json')
    assert (tmp_path / 'taken.json').read_text() == 'people work with this\n'
    assert not out.exists()


def test_classes_that_fill_their_counters_are_judged_by_labelled_frames(al_select, inputs, tmp_path):
    """Half of the frames are labelled, and no pedestrian is in any of them."""
    frames = [f'{number:06d}' for number in range(30)]
    labels = LabelState.read(inputs / 'empty.json')
    labels.buy(0, [(frame, {'Car': 9, 'Cyclist': 9}) for frame in frames]).write(tmp_path / 'half.json')
    query = al_select('cal_kitti', reference_predictions='reference', labels=tmp_path / 'half.json', budget=60)
    classes = query['diagnostics']['classes']
    assert {name: facts['counts'] for name, facts in classes.items()} == {
        'Car': True,
        'Pedestrian': False,
        'Cyclist': True,
    }
    assert classes['Pedestrian']['precision'] == 0
    assert classes['Pedestrian']['counted'] == 0
    assert set(query['counted_above']) == set(CLASSES)


def test_pool_exhausted_is_exit_3_with_the_shortfall(al_select):
    query = al_select(code=3, annotations='counts.json', budget=10**6)
    assert (query['stopped'], len(query['frames'])) == ('pool_exhausted', 58)
    assert query['shortfall'] == 10**6 - query['spent']


def test_budget_0_is_an_empty_query(al_select):
    query = al_select(budget=0)
    assert (query['frames'], query['spent'], query['stopped']) == ([], 0, 'budget')


def test_no_rows_at_all_is_exit_3(al_select, tmp_path):
    write_predictions(synthetic_pool(1, fields=FIELDS, boxes_per_frame=0), tmp_path / 'none')
    labels = LabelState.empty(CLASSES, 'none', ['000000']).buy(0, [('000000', {})])
    labels.write(tmp_path / 'all.json')
    query = al_select(code=3, predictions=tmp_path / 'none', labels=tmp_path / 'all.json')
    assert (query['frames'], query['shortfall']) == ([], 150)


def test_initial_frames_from_a_list_of_ids(al_select, inputs):
    ids = [f'{number:06d}' for number in range(60)]
    (inputs / 'train.txt').write_text('\n'.join(ids) + '\n\n')
    options = {'predictions': None, 'frames': 'train.txt', 'labels': 'empty.json', 'budget': 20}
    query = al_select('random_kitti', annotations='counts.json', **options)
    assert (query['round'], query['seed']) == (0, 0)
    assert query['spent'] >= 20
    assert 'cost of a frame in boxes is unknown' in al_select('random_kitti', code=2, **options)
    assert len(al_select('random_kitti', '--unit', 'frames', **options)['frames']) == 20
    for content in (b'\xef\xbb\xbf000001\r\n000002\r\n', '000001\n000002\n'.encode('utf-16')):
        (inputs / 'train.txt').write_bytes(content)
        bought = al_select('random_kitti', '--unit', 'frames', **{**options, 'budget': 2})['frames']
        assert sorted(frame['frame_id'] for frame in bought) == ['000001', '000002']
    (inputs / 'train.txt').write_text('\n')
    assert 'train.txt: found no frame id, expected one a line' in al_select('random_kitti', code=2, **options)
    assert 'samplers that need no predictions' in al_select(code=2, annotations='counts.json', **options)


def test_same_frames_for_any_order_of_rows_parts_and_threads(inputs, tmp_path):
    """Byte-identical `frames`, in processes of their own, with one and with four BLAS threads."""
    pool = synthetic_pool(60, fields=FIELDS)
    write_predictions(pool.take(np.arange(30, 60)), tmp_path / 'shuffled' / 'late')
    write_predictions(pool.take(np.arange(30)), tmp_path / 'shuffled' / 'early', frames_per_part=7)
    for name, part in enumerate(sorted((tmp_path / 'shuffled').glob('*/*.parquet'), reverse=True)):
        part.rename(tmp_path / 'shuffled' / f'part-{name}.parquet')
    texts = []
    for folder, threads in ((inputs / 'query', '1'), (tmp_path / 'shuffled', '4')):
        out = tmp_path / f'{threads}.json'
        subprocess.run(
            [sys.executable, COMMAND, ROOT / 'configs/active/cal_kitti.py', '--predictions', folder, '--labels',
             inputs / 'labels.json', '--reference-predictions', inputs / 'reference', '--annotations',
             inputs / 'counts.json', '--out', out],
            check=True,
            env={**os.environ, 'OPENBLAS_NUM_THREADS': threads, 'OMP_NUM_THREADS': threads},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        texts.append(json.dumps(json.loads(out.read_text())['frames']))
    assert texts[0] == texts[1]
    assert len(json.loads(texts[0])) > 10


def test_command_loads_neither_torch_nor_mmdet3d(inputs, tmp_path):
    code = (
        'import runpy, sys; sys.argv = sys.argv[1:]\n'
        'try: runpy.run_path(sys.argv[0], run_name="__main__")\n'
        'except SystemExit as ended: assert not ended.code\n'
        'assert not {"torch", "mmdet3d", "mmcv", "sklearn"} & set(sys.modules)\n'
        'print("ok")'
    )
    words = [COMMAND, ROOT / 'configs/active/cal_kitti.py', '--predictions', inputs / 'query', '--labels']
    words += [inputs / 'labels.json', '--out', tmp_path / 'q.json']
    patched = code.replace('import runpy, sys', 'import runpy, sys; sys.argv = sys.argv[1:]').replace(
        'argv[1]', 'argv[0]'
    )
    done = subprocess.run([sys.executable, '-c', patched, *words], capture_output=True, text=True, check=False)
    assert done.stdout.endswith('ok\n'), done.stderr


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'predictions': 'nowhere'}, 'nowhere: no part-*.parquet found'),
        ({'labels': 'nowhere.json'}, 'nowhere.json: no such file'),
        ({'annotations': 'nowhere.json'}, 'nowhere.json: no such file'),
        ({'predictions': 'reference'}, "the field 'box_features' is missing"),
        ({'config': '/nowhere/config.py'}, '/nowhere/config.py: no such config'),
        ({'budget': -1}, 'budget: found -1'),
        ({'words': ['--cfg-options', 'active_sampler.tsim=1']}, "unknown option of CALSampler 'tsim'"),
        ({'words': ['--cfg-options', 'active_sampler.type=CAL']}, "unknown active sampler 'CAL'"),
        (
            {'config': 'cal_kitti_paper', 'words': ['--cfg-options', 'active_sampler.class_weights.Cra=1']},
            "unknown class in class_weights 'Cra'",
        ),
        ({'words': ['--unit', 'mile']}, "unknown value of unit 'mile'"),
        ({'words': ['--unit', 'frame=1']}, "found {'frame': 1}"),
        ({'words': ['--cfg-options', 'query.stop_rule=never']}, "unknown value of stop_rule 'never'"),
        (
            {'words': ['--cfg-options', 'budget=9']},
            'budget: this is a setting of the query now; write query=dict(budget=9)',
        ),
        ({'words': ['--cfg-options', 'active_sampler.dontcare=paper']}, "write query=dict(dontcare='paper')"),
        ({'words': ['--cfg-options', 'query.budgt=9']}, "unknown key of query 'budgt'"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(al_select, changes, message):
    changes = dict(changes)
    error = al_select(changes.pop('config', 'cal_kitti'), *changes.pop('words', ()), code=2, **changes)
    assert message in error
    assert 'Traceback' not in error


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('annotations', {}, 'found None for frame'),
        ('annotations', [1], 'found list, expected a JSON object'),
        ('annotations', {f'{k:06d}': {'Cra': 1} for k in range(60)}, "did you mean 'Car'"),
        ('annotations', {f'{k:06d}': 3 for k in range(60)}, 'expected its boxes by class'),
        ('dontcare', {f'{k:06d}': [[1, 2, 3]] for k in range(60)}, 'expected a list of [x1, y1, x2, y2]'),
    ],
)
def test_malformed_files_name_the_frame(al_select, tmp_path, name, content, message):
    write_json(tmp_path / 'wrong.json', content)
    assert message in al_select(code=2, **{name: tmp_path / 'wrong.json'})


def test_contradicting_predictions_are_named(al_select, inputs, tmp_path):
    part = synthetic_pool(60, fields=FIELDS).take(np.arange(50))
    write_predictions(second_model(part), tmp_path / 'short')
    assert 'frame 000050 is missing' in al_select(code=2, reference_predictions=tmp_path / 'short')
    for prefix in '01':
        write_predictions(part, tmp_path / prefix)
        (tmp_path / prefix / 'part-0-00000.parquet').rename(tmp_path / f'part-{prefix}.parquet')
    assert 'frame 000000 appears twice' in al_select(code=2, predictions=tmp_path)


def test_config_without_budget_or_sampler(al_select, tmp_path):
    (tmp_path / 'a.py').write_text("active_sampler = dict(type='CALSampler')\n")
    assert 'budget is missing; add query=dict(budget=150)' in al_select(tmp_path / 'a.py', code=2)
    assert al_select(tmp_path / 'a.py', '--cfg-options', 'query.budget=3')['budget'] == 3
    assert al_select(tmp_path / 'a.py', budget=3)['sampler']['caps'] == 'inverse_freq'
    (tmp_path / 'b.py').write_text('query = dict(budget=3)\n')
    assert 'active_sampler is missing' in al_select(tmp_path / 'b.py', code=2)
    (tmp_path / 'c.py').write_text('query = \n')
    assert 'c.py: not readable as a config' in al_select(tmp_path / 'c.py', code=2)
    (tmp_path / 'base.py').write_text('\nquery = dict(budget=1 // 0)\n')
    (tmp_path / 'e.py').write_text("_base_ = 'base.py'\n")
    place = f'{tmp_path / "base.py"}, line 2'
    error = al_select(tmp_path / 'e.py', code=2)
    assert f'e.py: not readable as a config (ZeroDivisionError: integer division or modulo by zero, {place})' in error
    (tmp_path / 'd.py').write_text(
        "_base_ = 'a.py'\nquery = dict(budget=2)\ncustom_imports = dict(imports=['no_such_module'])\n"
    )
    assert al_select(tmp_path / 'd.py')['budget'] == 2
