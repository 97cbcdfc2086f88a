"""What a job of docs/extending.md touches in a checkout: done in a copy of the package, and these files suffice."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

PAGE = (ROOT / 'docs' / 'extending.md').read_text()
BLOCKS = re.findall(r'^```python\n(.*?)^```', PAGE, re.M | re.S)


def block(name):
    return next(text for text in BLOCKS if f'class {name}' in text)


def listed(file, before, name):
    """A list of names gets one more, before another one."""
    return lambda root: (root / file).write_text((root / file).read_text().replace(before, f'{name}{before}', 1))


def written(file, name):
    def write(root):
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text(block(name))

    return write


def imported_sampler(root):
    path = root / 'active' / 'samplers' / '__init__.py'
    line = 'from ssal3d.active.samplers.few_points import FewPointsSampler\n'
    path.write_text(path.read_text().replace('from ', f'{line}from ', 1))


def added_unit(root):
    path, code = root / 'active' / 'query' / 'units.py', block('SecondsUnit')
    path.write_text(f'{path.read_text()}\n\n{code[code.index("@BUDGET_UNITS") :]}')


def made_folder(root):
    (root / 'semi' / 'confident').mkdir()
    (root / 'semi' / 'confident' / '__init__.py').touch()


# By registry and name: the files of the package that the job touches, and how.
JOBS = {
    ('ACTIVE_SAMPLERS', 'FewPointsSampler'): {
        'active/samplers/few_points.py': written('active/samplers/few_points.py', 'FewPointsSampler'),
        'active/samplers/__init__.py': imported_sampler,
    },
    ('BUDGET_UNITS', 'SecondsUnit'): {'active/query/units.py': added_unit},
    ('MODELS', 'TeachingVoxelNet'): {
        'models/teaching.py': written('models/teaching.py', 'TeachingVoxelNet'),
        'register.py': listed('register.py', "    'ssal3d.semi',\n", "    'ssal3d.models.teaching',\n"),
    },
    ('MODELS', 'ConfidentLabels'): {
        'semi/confident/__init__.py': made_folder,
        'semi/confident/detector.py': written('semi/confident/detector.py', 'ConfidentLabels'),
    },
    ('DATASETS', 'DaytimeDataset'): {
        'data/daytime.py': written('data/daytime.py', 'DaytimeDataset'),
        'register.py': listed('register.py', "    'ssal3d.semi',\n", "    'ssal3d.data.daytime',\n"),
    },
}
ASK = """
import json, ssal3d.active
from ssal3d.registry import ACTIVE_SAMPLERS, BUDGET_UNITS
import ssal3d.register
from mmdet3d.registry import DATASETS, MODELS
registries = dict(ACTIVE_SAMPLERS=ACTIVE_SAMPLERS, BUDGET_UNITS=BUDGET_UNITS, MODELS=MODELS, DATASETS=DATASETS)
names = json.loads({names!r})
print(json.dumps([registries[registry].module_dict[name].__module__ for registry, name in names]))
"""


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    root = tmp_path_factory.mktemp('checkout')
    shutil.copytree(ROOT / 'ssal3d', root / 'ssal3d', ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    return root


def test_each_job_touches_two_files_at_most_or_one_folder(checkout):
    for files in JOBS.values():
        for edit in files.values():
            edit(checkout / 'ssal3d')
        assert len(files) <= 2
    assert len({file.rpartition('/')[0] for file in JOBS['MODELS', 'ConfidentLabels']}) == 1
    code = ASK.format(names=json.dumps(list(JOBS)))
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=checkout,
        env={'PATH': '/usr/bin:/bin', 'PYTHONPATH': str(checkout)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [
        'ssal3d.active.samplers.few_points',
        'ssal3d.active.query.units',
        'ssal3d.models.teaching',
        'ssal3d.semi.confident.detector',
        'ssal3d.data.daytime',
    ]


def test_one_file_decides_which_objects_leave_the_box_bank():
    """Of the package only `cpsp/refine.py` knows what becomes of an object without support."""
    deciding = [
        path.relative_to(ROOT / 'ssal3d').as_posix()
        for path in sorted((ROOT / 'ssal3d').rglob('*.py'))
        if re.search(r'\bDELETE\b', path.read_text())
    ]
    assert deciding == ['cpsp/refine.py']
