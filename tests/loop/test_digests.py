"""What steps read, without paths."""

import importlib
import json
import sys

import pytest
from mmengine.config import Config

from ssal3d.fileio import digest
from ssal3d.loop.digests import differences, neutral, own_code


def test_paths_and_speed_do_not_count(tmp_path):
    infos = []
    for name in ('here', 'there'):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'infos.pkl').write_bytes(b'the same')
        infos.append(
            {
                'dataset': {'data_root': f'{folder}/', 'ann_file': 'infos.pkl'},
                'evaluator': {'ann_file': f'{folder}/infos.pkl'},
                'num_workers': len(infos),
                'bank': f'{folder}/run/bank',
            }
        )
    neutrals = [
        neutral(content, {tmp_path / name / 'run': '<stage>'}) for content, name in zip(infos, ('here', 'there'))
    ]
    assert neutrals[0] == neutrals[1]
    assert neutrals[0]['bank'] == '<stage>/bank'
    assert neutrals[0]['dataset']['ann_file'].startswith('sha256:')
    (tmp_path / 'there' / 'infos.pkl').write_bytes(b'other labels')
    assert neutral(infos[1], {})['dataset'] != neutrals[0]['dataset']


def test_anything_in_a_config_becomes_json():
    content = {'a': (1, 2.5), 'b': {'x', 'y'}, 'c': float('inf'), 'd': None, 'e': True, 'f': dict, 'g': 'Car'}
    found = neutral(content, {})
    assert found == {'a': [1, 2.5], 'b': ['x', 'y'], 'c': 'inf', 'd': None, 'e': True, 'f': 'dict', 'g': 'Car'}
    assert json.loads(json.dumps(found)) == found
    assert digest(found) == digest(dict(reversed(found.items())))


@pytest.mark.parametrize(
    ('old', 'new', 'expected'),
    [
        ({'a': 1}, {'a': 1}, []),
        ({'a': [1, {'b': 2}]}, {'a': [1, {'b': 3}]}, [('a.1.b', 2, 3)]),
        ({'a': [1]}, {'a': [1, 2]}, [('a', [1], [1, 2])]),
        ({'a': 1, 'b': 2}, {'b': 2}, [('a', 1, None)]),
    ],
)
def test_differences_are_named(old, new, expected):
    assert list(differences(old, new)) == expected


def test_the_code_of_the_users_modules_counts_with_its_packages(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'my_sampler.py').write_text('ORDER = 1')
    (tmp_path / 'my_package').mkdir()
    for name in ('__init__', 'inner'):
        (tmp_path / 'my_package' / f'{name}.py').write_text('')
    names = ['my_sampler', 'my_package', 'ssal3d.register', 'not_imported']
    for name in names[:2]:
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.import_module(name)
    config = Config(dict(custom_imports=dict(imports=names)))
    before = own_code(config)
    assert list(before) == names[:2]
    assert own_code(Config()) == {}
    for changed, path in (('my_sampler', 'my_sampler.py'), ('my_package', 'my_package/inner.py')):
        (tmp_path / path).write_text('ORDER = -1')
        after = own_code(config)
        assert [name for name in names[:2] if after[name] != before[name]] == [changed]
        before = after
    assert list(own_code(Config(dict(custom_imports=dict(imports='my_sampler'))))) == ['my_sampler']
