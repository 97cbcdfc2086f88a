"""What docs/active_learning.md tells people to type works as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from ssal3d.active import ActiveSampler, QuerySettings, select
from ssal3d.data.label_state import LabelState
from ssal3d.predictions.synthetic import CLASSES, synthetic_pool
from ssal3d.registry import ACTIVE_SAMPLERS

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
        'query_eq6': 150,
        'query_random': 150,
    }
    assert all(query['stopped'] == 'budget' for query in queries.values())
    keys = set(
        re.findall(r'^\| `(\w+)`(?:, `(\w+)`)? \| (?:order|weighted|to the|reliable|revealed|0:)', TEXT, re.MULTILINE)
    )
    described = {name for pair in keys for name in pair if name}
    assert described == set(queries['query']['frames'][0])
    call = [sys.executable, '-c', BLOCKS['python'][1]]
    printed = subprocess.run(call, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert "'Car'" in printed


def test_the_sampler_of_the_page_works():
    assert len(BLOCKS['python'][0].splitlines()) <= 30
    try:
        exec(compile(BLOCKS['python'][0], 'active_learning.md', 'exec'), {'__name__': 'page'})
        sampler: ActiveSampler = ACTIVE_SAMPLERS.build({'type': 'FewPointsSampler', 'enough': 20})
    finally:
        ACTIVE_SAMPLERS.module_dict.pop('FewPointsSampler', None)
    pool = synthetic_pool(30, fields=sampler.required_fields)
    query = select(sampler, pool, LabelState.empty(CLASSES, 'p', pool.frame_ids.tolist()), QuerySettings(40))
    utilities = [frame.utility for frame in query.frames]
    assert utilities == sorted(utilities, reverse=True)
    assert query.sampler == {'type': 'FewPointsSampler', 'enough': 20, 'dontcare': 'none'}
