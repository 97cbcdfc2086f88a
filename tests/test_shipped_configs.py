"""The configs that come with the package: found from everywhere, as argument and as `_base_`, and in the wheel."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ssal3d.configs import SHIPPED, find_config, read_config
from ssal3d.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_link_leads_to_the_configs_of_the_repository():
    assert SHIPPED.resolve() == ROOT / 'configs'


def test_a_shipped_config_is_found_without_a_checkout(elsewhere):
    for name in ('configs/active/cal_kitti.py', 'ssal3d::active/cal_kitti.py'):
        assert find_config(name).samefile(ROOT / 'configs' / 'active' / 'cal_kitti.py')
        assert read_config(name).query.budget == 150


def test_a_file_of_the_working_directory_comes_first(elsewhere):
    mine = elsewhere / 'configs' / 'active' / 'cal_kitti.py'
    mine.parent.mkdir(parents=True)
    mine.write_text('query = dict(budget=3)\n')
    assert read_config('configs/active/cal_kitti.py').query.budget == 3
    assert read_config('ssal3d::active/cal_kitti.py').query.budget == 150


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('configs/active/cal_kiti.py', "did you mean 'ssal3d::active/cal_kitti.py'?"),
        ('ssal3d::active/cal_kitti', "did you mean 'ssal3d::active/cal_kitti.py'?"),
        ('ssal3d::nothing', str(SHIPPED)),
        ('/nowhere/at/all', str(SHIPPED)),
    ],
)
def test_what_is_not_there_is_one_line_with_the_nearest_name(elsewhere, name, hint):
    with pytest.raises(UserError) as error:
        find_config(name)
    assert str(error.value).startswith(f'{name}: no such config')
    assert hint in str(error.value)


def test_a_config_inherits_from_a_shipped_one(elsewhere):
    (elsewhere / 'mine.py').write_text(
        "_base_ = ['ssal3d::ssal/pvrcnn_kitti.py']\nactive_sampler = dict(_delete_=True, type='RandomSampler')\n"
    )
    config = read_config('mine.py', {'randomness.seed': 7}, custom_imports=False)
    assert config.active_sampler == {'type': 'RandomSampler'}
    assert config.model.type == read_config('ssal3d::ssal/pvrcnn_kitti.py', custom_imports=False).model.type
    assert config.randomness.seed == 7
    (elsewhere / 'wrong.py').write_text("_base_ = 'ssal3d::ssal/pvrcnn_kiti.py'\n")
    with pytest.raises(UserError, match=r"no such config.*did you mean 'ssal3d::ssal/pvrcnn_kitti\.py'"):
        read_config('wrong.py')


def test_custom_imports_happen_when_they_are_wanted(elsewhere, monkeypatch):
    monkeypatch.syspath_prepend(elsewhere)
    (elsewhere / 'of_mine.py').write_text("raise RuntimeError('imported')\n")
    (elsewhere / 'mine.py').write_text("custom_imports = dict(imports=['of_mine'])\nquery = dict(budget=1)\n")
    assert read_config('mine.py', custom_imports=False).query.budget == 1
    with pytest.raises(UserError, match=r'RuntimeError: imported, .*of_mine\.py, line 1'):
        read_config('mine.py')


def test_the_wheel_holds_every_config_and_the_command(tmp_path):
    pytest.importorskip('setuptools')
    source = tmp_path / 'source'
    source.mkdir()
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    for name in ('ssal3d', 'configs'):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    build = 'import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))'
    done = subprocess.run([sys.executable, '-c', build, str(tmp_path)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        names = set(wheel.namelist())
        entry = next(name for name in names if name.endswith('entry_points.txt'))
        assert b'ssal3d = ssal3d.cli.main:main' in wheel.read(entry)
    expected = {f'ssal3d/.mim/configs/{p.relative_to(SHIPPED)}' for p in SHIPPED.rglob('*.py')}
    assert len(expected) > 50
    assert expected <= names
    assert 'ssal3d/cli/select.py' in names
