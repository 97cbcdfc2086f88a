"""Nothing of ours is left out on the imagined GPU: every stage, column and detector appears in a test of this room."""

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.predictions.schema import COLUMNS, REQUIRED
from tests.devices import test_hooks, test_pool_columns, test_training_steps
from tests.helpers.paths import ROOT, TINY
from tests.models import single_stages

OF_THE_LOADER = {'lidar2img', 'image_shape'}  # read from annotations; among the usual columns where there are cameras


def test_every_kind_of_stage_runs_as_a_whole():
    shipped = read_config(ROOT / 'configs/ssal/pvrcnn_kitti.py').stages
    run = read_config(TINY).stages
    assert {str(stage.type) for stage in shipped.values()} <= {
        str(run[name].type) for name in test_hooks.STAGES_WITH_HOOKS
    }


def test_every_method_takes_a_step():
    shipped = read_config(ROOT / 'configs/ssal/pvrcnn_kitti.py').stages
    methods = {name for name, stage in shipped.items() if 'method' in stage}
    assert len(methods) >= 4
    assert methods <= set(test_training_steps.STAGES)


def test_every_column_is_predicted():
    predicted = {name for fields, *_ in test_pool_columns.COLUMNS.values() for name in fields}
    assert set(COLUMNS) - set(REQUIRED) - predicted <= OF_THE_LOADER


def test_every_shipped_detector_runs():
    paths = sorted((ROOT / 'configs/ssal').glob('*.py'))
    shipped = {str(read_config(path, custom_imports=False).model.type) for path in paths}
    run = {builder()['type'] for builder in single_stages.BUILDERS.values()}
    assert shipped == run | {test_training_steps.STAGES['supervised'][0]().type}
