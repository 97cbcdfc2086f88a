"""`tools/bench.py`: rows as JSON, and one line for a wrong option."""

import subprocess
import sys
from pathlib import Path

from ssal3d.fileio import read_json

ROOT = Path(__file__).resolve().parents[2]


def bench(*words, code=0):
    done = subprocess.run([sys.executable, 'tools/bench.py', *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def test_a_query_of_any_sampler_is_timed(tmp_path):
    bench('selection', '--sampler', 'confidence', '--frames', '150', '--json', str(tmp_path / 'rows.json'))
    rows = {row['part']: row for row in read_json(tmp_path / 'rows.json')['rows']}
    assert rows['selecting']['target'] == 1
    assert 0 < rows['selecting']['value'] < rows['whole command']['value']
    assert rows['frames selected']['value'] > 50


def test_wrong_options_are_one_line():
    error = bench('selection', '--sampler', 'confidnce', code=2).stderr
    assert error.splitlines()[-1].startswith("error: --sampler: found 'confidnce', expected one of badge, cal")
    assert '--sampler does not belong to the benchmark box-bank' in bench('box-bank', '--sampler', 'cal', code=2).stderr


def test_parts_are_compared_with_the_baseline_by_their_multiple_of_the_mix(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    from benchmarks import all as everything

    past = {'start': {'seconds': 1.0, 'mix': 0.1, 'ratio': 10.0}, 'select': {'seconds': 1.0, 'mix': 0.1, 'ratio': 10.0}}
    # a machine of half the speed: both take longer, one of them more than it should
    found = {
        'start': {'seconds': 2.2, 'mix': 0.2, 'ratio': 11.0},
        'select': {'seconds': 2.6, 'mix': 0.2, 'ratio': 13.0},
    }
    assert everything.regressions(found, past) == ['select by 30 %']
    assert everything.regressions(past, past) == []
    page = everything.page(found, past)
    assert '| `select` |' in page
    assert 'Slower in this run: select by 30 %.' in page
    assert '| 1.10 |' in page


def test_a_part_of_all_is_measured_alone_and_an_unknown_one_is_one_line(tmp_path):
    page = (ROOT / 'docs' / 'performance.md').read_text()
    bench('all', 'start', '--json', str(tmp_path / 'rows.json'))
    rows = {row['part']: row for row in read_json(tmp_path / 'rows.json')['rows']}
    assert 0.01 < rows['start']['value'] < 5
    assert (ROOT / 'docs' / 'performance.md').read_text() == page
    error = bench('all', 'strat', code=2).stderr
    assert error.splitlines()[-1].startswith("error: 'strat': expected a part, one of start, select, crb")


def test_a_pool_in_pieces_is_queried_and_stays_where_it_is_told(tmp_path):
    words = ('large-selection', '--frames', '1500', '--folder', str(tmp_path / 'pool'))
    bench(*words, '--json', str(tmp_path / 'rows.json'))
    rows = {row['part']: row['value'] for row in read_json(tmp_path / 'rows.json')['rows']}
    assert rows['frames selected'] > 100
    assert 0.05 < rows['peak memory'] < 1
    assert len(list((tmp_path / 'pool' / 'query_model').glob('*.parquet'))) == 2
