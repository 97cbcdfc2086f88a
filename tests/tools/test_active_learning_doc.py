"""What docs/active_learning.md tells people to type works as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs' / 'active_learning.md').read_text()
BLOCKS = {language: re.findall(rf'```{language}\n(.*?)```', TEXT, re.DOTALL) for language in ('bash', 'python')}


def test_commands_and_call_run(tmp_path):
    for name in ('tools', 'configs'):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}', 'PYTHONPATH': str(ROOT)}
    subprocess.run(['bash', '-ec', BLOCKS['bash'][0]], cwd=tmp_path, env=environment, check=True, capture_output=True)
    queries = {path.stem: json.loads(path.read_text()) for path in (tmp_path / 'try').glob('query*.json')}
    assert {name: query['budget'] for name, query in queries.items()} == {
        'query': 150,
        'query_simulated': 100,
        'query_paper': 20,
        'query_random': 150,
    }
    assert all(query['stopped'] == 'budget' for query in queries.values())
    keys = set(
        re.findall(r'^\| `(\w+)`(?:, `(\w+)`)? \| (?:order|weighted|to the|reliable|revealed|0:)', TEXT, re.MULTILINE)
    )
    described = {name for pair in keys for name in pair if name}
    assert described == set(queries['query']['frames'][0])
    call = [sys.executable, '-c', BLOCKS['python'][0]]
    printed = subprocess.run(call, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert "'Car'" in printed
