"""`make docs`: a strict build that loads nothing from elsewhere, and what it refuses."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.helpers.paths import ROOT

PARTS = ('CONTRIBUTING.md', 'README.md', 'configs', 'docs', 'mkdocs.yml', 'ssal3d', 'tools')
TOOLS = ('mkdocs', 'material', 'mkdocstrings_handlers', 'nbconvert')
missing = ', '.join(name for name in TOOLS if not find_spec(name))
pytestmark = pytest.mark.skipif(bool(missing), reason=f'{missing}: not installed; `make docs` installs them')


def build(root, out, code=0):
    """Build the site of a repository and return what the build printed."""
    command = [sys.executable, '-X', 'importtime', '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(out)]
    environment = {**os.environ, 'NO_MKDOCS_2_WARNING': '1'}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The built site, and the modules that building it imported."""
    out = tmp_path_factory.mktemp('site')
    printed = build(ROOT, out)
    return out, set(re.findall(r'^import time:.*\| +([\w.]+)$', printed, re.MULTILINE))


def test_building_reads_the_package_and_never_imports_it(site):
    _, imported = site
    assert 'griffe' in imported
    assert not imported & {'ssal3d', 'torch', 'mmengine', 'mmcv', 'mmdet', 'mmdet3d'}


def test_nothing_is_loaded_from_another_server(site):
    out, _ = site
    pages = {path: path.read_text() for path in out.rglob('*.html')}
    assert len(pages) > 25
    elsewhere = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)="?(?:https?:)?//[^">]*')
    assert {str(path): found for path, text in pages.items() if (found := elsewhere.findall(text))} == {}
    styles = [path.read_text() for path in out.rglob('*.css')]
    assert not re.findall(r'(?:url\(|@import )["\']?(?:https?:)?//[^)]*', '\n'.join(styles))
    assert not any('class="mermaid"' in text for text in pages.values()), 'the theme fetches mermaid from a server'


def test_pages_hold_docstrings_sources_and_the_tutorial(site):
    out, _ = site
    api = (out / 'api' / 'active.html').read_text()
    assert 'id="ssal3d.active.select"' in api
    assert 'Boxes to buy.' in api
    assert 'active_sampler' in (out / 'repository' / 'configs' / 'active' / 'cal_kitti.py.html').read_text()
    assert 'href="repository/configs/active/cal_kitti.py.html"' in (out / 'active_learning.html').read_text()
    assert 'href="tutorial.html"' in (out / 'index.html').read_text()
    assert 'RandomForestClassifier' in (out / 'tutorial.html').read_text()
    assert (out / 'tutorial.ipynb').exists()


def test_links_anchors_names_and_parameters_that_do_not_exist_end_the_build(tmp_path):
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    (tmp_path / 'docs' / 'label_state.md').write_text('# X\n\n[a](gone.md) [b](data.md#gone) [c](../configs/gone.py)\n')
    for path, old, new in (
        ('ssal3d/active/__init__.py', "'select',", "'select', 'unheard_of',"),
        ('ssal3d/active/query/selection.py', '        seed: Seed of the query.', '        sede: Seed of the query.'),
    ):
        text = (tmp_path / path).read_text()
        assert text.count(old) == 1
        (tmp_path / path).write_text(text.replace(old, new))
    printed = build(tmp_path, tmp_path / 'site', code=1)
    warnings = [line for line in printed.splitlines() if 'WARNING' in line]
    for fault in ("'gone.md'", "'data.md#gone'", "'../configs/gone.py'", 'ssal3d.active.unheard_of', "'sede'"):
        assert any(fault in line for line in warnings), f'{fault} not in {warnings}'
