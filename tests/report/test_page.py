"""A page says what was bought, why and whether it helped, and shows nothing that was not paid for."""

import base64
import html
import re
import shutil

import numpy as np
import pytest

from ssal3d.cli.report import main
from ssal3d.errors import UserError
from ssal3d.fileio import read_json, write_json
from ssal3d.report import write_report
from ssal3d.report.chosen import Choice
from ssal3d.report.experiment import MEASURES, read_experiment
from ssal3d.terminal import duration
from tests.helpers.experiment_folder import Data, write_experiment

EVIL = '<script>alert(1)</script>'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return Data(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def experiment(tmp_path_factory, data):
    return write_experiment(tmp_path_factory.mktemp('run'), data)


@pytest.fixture(scope='module')
def page(tmp_path_factory, experiment):
    return write_report([experiment], tmp_path_factory.mktemp('out') / 'report.html').read_text()


def words(page):
    """What a reader sees."""
    page = re.sub(r'<(script|style).*?</\1>', ' ', page, flags=re.DOTALL)
    return ' '.join(html.unescape(re.sub(r'<[^>]+>', ' ', page)).split())


def test_the_summary_tells_what_was_labelled_and_whether_it_helped(page, experiment):
    read, shown = read_experiment(experiment), words(page)
    state, query = read.labels, read.queries['round_1/query']
    total = sum(state.counts.values())
    assert f'{len(state.frames)} of 14 frames' in shown
    assert f'with {total} boxes' in shown
    assert f'{len(query.frames)} frames with {query.spent} boxes' in shown
    assert 'the first detector (round_1/normal' in shown
    assert 'From the first to the last one that is 2.0 points better.' in shown
    assert 'one run and one seed say little' in shown


def test_every_part_of_the_story_has_its_section(page):
    sections = set(re.findall(r'<section id="([^"]+)">', page))
    assert sections == {
        *('curve', 'classes', 'labels', 'round_1-query', 'scenes-3d', 'trust', 'bank', 'cost', 'repeat'),
    }


def test_every_chosen_frame_has_its_reasons_in_words(page, experiment):
    query = read_experiment(experiment).queries['round_1/query']
    shown = words(page)
    for frame in query.frames:
        assert f'{frame.frame_id}: Utility {frame.utility:.2f}' in shown
        assert f'Similarity {frame.similarity:.2f}' in shown
    assert 'Still wanted: ' in shown


def test_the_page_is_the_same_whatever_the_annotations_of_unbought_frames_say(tmp_path):
    data = Data(tmp_path / 'data')
    folder = write_experiment(tmp_path / 'run', data)
    before = write_report([folder], tmp_path / 'before.html').read_bytes()
    bought = set(read_experiment(folder).labels.frame_ids)
    assert len(bought) < len(data.pool.ids)

    def lie(name, info):
        if name not in bought:
            info['instances'] = [{**row, 'bbox_3d': [9.0] * 7, 'bbox': [0.0] * 4} for row in info['instances'][:1]]

    data.rewrite(lie)
    assert write_report([folder], tmp_path / 'after.html').read_bytes() == before

    data.rewrite(lambda name, info: info['instances'].pop(0) if name in bought else None)
    assert write_report([folder], tmp_path / 'changed.html').read_bytes() != before


def test_boxes_and_regions_of_an_unbought_frame_are_refused(experiment):
    read = read_experiment(experiment)
    paid = read.labels.frame_ids
    free = next(name for name in read.predictions('round_1/query')['cpsp'].frame_ids.tolist() if name not in paid)
    with pytest.raises(UserError, match=f'frame {free} is not labelled'):
        read.pool.bought([free], paid, read.classes)
    with pytest.raises(UserError, match=f'frame {free} is not labelled'):
        read.pool.dontcare_regions(free, paid)
    names = [layer.name for layer in Choice.of(read, 'round_1/query').view(free).layers]
    assert names == ['cpsp', 'normal']


def test_names_are_escaped_and_the_browser_may_run_the_viewer_alone(tmp_path):
    data = Data(tmp_path / 'data', classes=(EVIL, '$x_{$', '_hidden'))
    folder = write_experiment(tmp_path / 'run', data, name=f'"{EVIL}')
    card = read_json(folder / 'experiment.json')
    write_json(folder / 'experiment.json', {**card, 'versions': {EVIL: EVIL}, 'command': f'</pre>{EVIL}'})
    page = write_report([folder], tmp_path / 'report.html').read_text()
    assert EVIL not in page
    charts = [base64.b64decode(data) for data in re.findall(r'data:image/svg\+xml;base64,([^"]+)"', page)]
    assert len(charts) > 3
    assert not any(EVIL.encode() in chart for chart in charts)
    assert any(html.escape(EVIL).encode() in chart for chart in charts), 'text is drawn as text'
    assert html.escape(EVIL) in page
    assert page.count('<script>') == 1
    assert re.search(r'Content-Security-Policy" content="default-src &#x27;none&#x27;', page)


def test_the_page_asks_nobody_for_anything(page):
    markup = re.sub(r'<(script|style).*?</\1>', ' ', page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href|action)="(?!data:|#)[^"]*"', markup)
    assert '@import' not in page
    assert 'url(' not in re.search(r'<style>(.*?)</style>', page, re.DOTALL)[1]


def test_runs_that_differ_in_their_seed_become_one_line_with_a_band(tmp_path, data):
    folders = [write_experiment(tmp_path / f'run_{seed}', data, seed=seed) for seed in (1, 2)]
    other = write_experiment(tmp_path / 'other', data, seed=1, gain=5.0, name='other')
    shown = words(write_report([*folders, other], tmp_path / 'report.html').read_text())
    assert '2 runs (seed 1 and 2)' in shown
    assert re.search(r'final/supervised 43\.5 \(43\.0 to 44\.0\)', shown)
    assert 'Against other (CAL)? Its last detector has 46.0' in shown
    assert 'Ours is 2.5 points worse.' in shown


def test_the_table_of_ap_has_means_and_ranges_over_seeds(tmp_path, data):
    folders = [write_experiment(tmp_path / f'run_{seed}', data, seed=seed) for seed in (1, 2, 5)]
    page = write_report(folders, tmp_path / 'report.html').read_text()
    runs = [read_experiment(folder) for folder in folders]
    for stage in runs[0].stages:
        row = re.search(rf'<tr><td>{stage}</td>(.*?)</tr>', page)[1]
        cells = re.findall(r'<td>(.*?)</td>', row)
        boxes = [run.boxes_of_stage[stage] for run in runs]
        assert cells[0].startswith(f'{sum(boxes) / 3:.0f}')
        found = [run.average_precision(stage, MEASURES['kitti'][1])['mean'] for run in runs]
        assert len(set(found)) == 3
        assert cells[-1] == f'{sum(found) / 3:.1f} ({min(found):.1f} to {max(found):.1f})'
    assert 'in brackets the lowest and the highest run' in words(page)


def test_experiments_with_other_classes_are_refused(tmp_path, experiment):
    other = write_experiment(tmp_path / 'run', Data(tmp_path / 'data', classes=('Van', 'Person', 'Bike')))
    with pytest.raises(UserError, match='found the classes Van, Person, Bike'):
        write_report([experiment, other], tmp_path / 'report.html')


def test_a_page_is_written_where_the_data_moved(tmp_path, capsys):
    data = Data(tmp_path / 'data')
    folder = write_experiment(tmp_path / 'run', data)
    before = write_report([folder], tmp_path / 'report.html').read_bytes()
    moved = data.root.rename(tmp_path / 'moved')
    with pytest.raises(SystemExit) as stopped:
        main([str(folder), '--out', str(tmp_path / 'other.html')])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith(f'error: {tmp_path / "data" / "infos.pkl"}: no such file or folder')
    assert '--data-root' in error
    with pytest.raises(SystemExit) as done:
        main([str(folder), '--out', str(tmp_path / 'other.html'), '--data-root', str(moved)])
    assert done.value.code == 0
    assert (tmp_path / 'other.html').read_bytes() == before


def test_a_running_experiment_has_a_page_after_every_step(tmp_path, data):
    folder = write_experiment(tmp_path / 'run', data)
    journal = read_json(folder / 'journal.json')
    for count in (0, 1, 2, len(journal['steps']) - 1):
        write_json(folder / 'journal.json', {**journal, 'steps': journal['steps'][:count]})
        shown = words(write_report([folder], tmp_path / 'report.html').read_text())
        assert ('Nothing yet' in shown) == (count == 0)
        assert 'no final detector is measured' in shown or 'No detector is measured yet' in shown


def test_scores_are_measured_on_the_bought_frames_alone(page, experiment):
    read = read_experiment(experiment)
    query = read.queries['round_1/query']
    assert f'round_1/query: {len(query.frames)} frames, bought after these models had predicted them' in words(page)
    kept = read.predictions('round_1/query')['normal']
    rows = np.isin(kept.frame_ids, query.frame_ids)
    counted = int((kept.take(np.flatnonzero(rows)).scores >= np.float32(0.1)).sum())
    table = re.search(r'Numbers: normal</summary>(.*?)</details>', page, re.DOTALL)[1]
    assert sum(int(n) for n in re.findall(r'<tr><td>(?!mean)[^<]+</td><td>(\d+)</td>', table)) == counted


def test_bank_and_pseudo_labels_are_shown(page, experiment):
    bank = read_experiment(experiment).banks('round_1/cpsp')[-1]
    for name, counts in bank.meta['objects'].items():
        row = f'<td>{bank.number}</td><td>{name}</td><td>0</td><td>{counts["confident"]}</td>'
        assert row in page
    assert 'confident objects of the last generation as pseudo labels' in words(page)
    assert '<td>Car</td><td>25.00</td>' in page


def test_cost_names_time_and_memory(page):
    assert f'<td>round_1/normal</td><td>{duration(61.0)}</td><td>2.0 GiB</td>' in page
    assert 'loading 0.5 s, detector 1.5 s' in words(page)


def test_the_page_takes_the_place_of_pages_alone(tmp_path, data):
    folder = write_experiment(tmp_path / 'run', data)
    before = (folder / 'journal.json').read_bytes()
    with pytest.raises(UserError, match=r'journal\.json: is there and no HTML file, .*give another --out'):
        write_report([folder], folder / 'journal.json')
    with pytest.raises(UserError, match='run: is an input of this command; give another --out'):
        write_report([folder], folder)
    assert (folder / 'journal.json').read_bytes() == before


def test_one_run_is_not_counted_as_two(tmp_path, data):
    folder = write_experiment(tmp_path / 'run', data)
    with pytest.raises(UserError, match='is the same work dir as'):
        write_report([folder, folder.parent / 'run' / '..' / 'run'], tmp_path / 'report.html')
    shutil.copytree(folder, tmp_path / 'copy')
    with pytest.raises(UserError, match=r'copy: found the settings and the seed 1 of .*run'):
        write_report([folder, tmp_path / 'copy'], tmp_path / 'report.html')
    assert not (tmp_path / 'report.html').exists()


def measured_on(folder, val, stage='final/supervised'):
    path = folder / 'reads' / f'{stage}.json'
    reads = read_json(path, schema=False)
    reads['training']['val_dataloader'] = {'dataset': {'dataset': {'ann_file': val}}}
    write_json(path, reads)


def test_other_val_sets_and_pools_are_told_first(tmp_path, data):
    ours, same = (write_experiment(tmp_path / name, data, gain=5.0, name=name) for name in ('run', 'same'))
    other = write_experiment(tmp_path / 'other', Data(tmp_path / 'data', frames=16), name='other')
    for folder, val in ((ours, 'sha256:1'), (same, 'sha256:1'), (other, 'sha256:2')):
        measured_on(folder, val)
    shown = words(write_report([ours, same, other], tmp_path / 'report.html').read_text())
    assert 'Against same (CAL)? Its last detector' in shown
    assert 'Ours is about the same (+0.0 points)' in shown
    assert (
        'Against other (CAL)? Warning: their val sets differ, so the numbers cannot be compared. Warning: their'
        in shown
    )
    assert 'their pools differ (ours has 14 frames, the other one 16). Its last detector' in shown
    assert shown.count('Ours is') == 1


def test_metrics_that_the_page_does_not_know_are_not_measured(tmp_path, data):
    folders = [write_experiment(tmp_path / name, data, name=name) for name in ('run', 'other')]
    for folder in folders:
        journal = read_json(folder / 'journal.json')
        for step in journal['steps']:
            if 'metrics' in step:
                step['metrics'] = {'mine/score': 3.0}
        write_json(folder / 'journal.json', journal)
        shown = words(write_report([folder], tmp_path / 'report.html').read_text())
        assert 'Nobody can say: round_1/normal has no AP that this page knows.' in shown
    shown = words(write_report(folders, tmp_path / 'report.html').read_text())
    assert 'Its last detector has no AP that this page knows' in shown
    assert 'Ours is' not in shown


def test_a_final_detector_that_was_trained_longer_is_told(tmp_path, data):
    folder = write_experiment(tmp_path / 'run', data)
    for stage, step in (('round_1/normal', 100), ('final/supervised', 400)):
        (folder / stage / 'run/vis_data/scalars.json').write_text(f'{{"loss": 1.0, "step": {step}}}\n{{"lo')
    shown = words(write_report([folder], tmp_path / 'report.html').read_text())
    assert '2.0 points better. The last one was trained longer, too, 400 steps against 100: not all' in shown
