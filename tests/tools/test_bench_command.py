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
