"""The stages of `tools/gpu_check.py` on the imagined GPU: no tensor of theirs is on the wrong device."""

import importlib
from pathlib import Path
from unittest import mock

import pytest

from ssal3d import compat
from ssal3d.models import mixed_precision
from tests.devices.autocast import imagined_autocast
from tests.devices.imagined import DEVICE, ImaginedGPU

compat.apply_preferences()

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.mark.parametrize(
    ('stage', 'run'),
    [('operators', 'run'), ('model', 'run'), ('training', 'run'), ('training', 'run_methods'), ('pool', 'run')],
)
def test_a_stage_passes(stage, run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.delenv('SSAL3D_TEST_DATA', raising=False)
    importlib.import_module('benchmarks.train_step')
    checks, record = (importlib.import_module(f'gpu_checks.{name}') for name in (stage, 'record'))
    with ImaginedGPU() as gpu, mock.patch.object(mixed_precision, 'autocast', imagined_autocast):
        made = record.Record(stage, tmp_path / 'found.json', DEVICE, True)
        getattr(checks, run)(made)
        assert sum(gpu.kernels.values()) > 50  # it really ran there
    assert [(found.name, found.text) for found in made.results if not found.passed] == []
