"""A pass over a pool as a job of Ray Data: the files of the ordinary engine, and its errors in one line."""

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from ssal3d.errors import UserError
from ssal3d.predictions import ray_engine
from ssal3d.predictions.pool_inference import PassPlan, predict_pool
from ssal3d.predictions.ray_engine import PartActor, predict_with_ray
from tests.helpers.paths import ROOT, TINY
from tests.helpers.tiny_pool import TinyDetector, TinyPool, digests

FRAMES = 14
OPTIONS = {'fields': ('box_features', 'num_points'), 'batch_size': 2, 'num_workers': 0, 'frames_per_part': 4}
needs_ray = pytest.mark.skipif(find_spec('ray') is None, reason="needs Ray: install 'ssal3d[ray]'")


def prepare(changes, device=None):
    """Make what a pass needs, in this process and in those of Ray."""
    mark = Path(changes['dies']) if 'dies' in changes and device is None else None  # in an actor
    if mark and len(list(mark.iterdir())) < changes['times']:
        (mark / str(os.getpid())).touch()
        os._exit(1)
    model = TinyDetector()
    if changes.get('fails') and device is None:
        model.test_step = fails
    if 'fails_in' in changes:  # a batch of the first model; the next one is whole
        number, batches, step = changes.pop('fails_in'), [], model.test_step
        model.test_step = lambda data: (fails if counted(batches) == number else step)(data)
    return PassPlan(model, TinyPool(FRAMES), {**OPTIONS, **changes.get('options', {})})


def counted(batches):
    batches.append(None)
    return len(batches) - 1


def fails(data):
    raise UserError('frame 000004: the scan ends inside a point; copy it again')


@pytest.fixture(scope='module')
def cluster():
    """Ray on this machine, once for the module; the engine leaves what it did not start."""
    import ray

    from ssal3d.predictions.ray_engine import QUIET

    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        patch.setenv('PYTHONPATH', str(ROOT))
        ray.init(address='local', num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level='ERROR')
        yield
        ray.shutdown()


@needs_ray
def test_ray_writes_the_files_of_the_ordinary_engine_and_only_missing_ones(cluster, tmp_path):
    plan = prepare({})
    predict_pool(plan.model, plan.view, tmp_path / 'here', **plan.options)
    timing = predict_with_ray(partial(prepare, {}), tmp_path / 'ray', actors=2)
    assert timing.frames == FRAMES
    assert digests(tmp_path / 'ray') == digests(tmp_path / 'here')
    (tmp_path / 'ray' / 'part-00001.parquet').unlink()
    assert predict_with_ray(partial(prepare, {}), tmp_path / 'ray').frames == 4
    assert predict_with_ray(partial(prepare, {}), tmp_path / 'ray').frames == 0
    assert digests(tmp_path / 'ray') == digests(tmp_path / 'here')
    with pytest.raises(UserError, match='these are predictions of another run'):
        predict_with_ray(partial(prepare, {'options': {'fields': ('num_points',)}}), tmp_path / 'ray')


@needs_ray
def test_the_part_of_a_dead_actor_is_predicted_by_another(cluster, tmp_path):
    (tmp_path / 'died').mkdir()
    changes = {'dies': str(tmp_path / 'died'), 'times': 1}
    assert predict_with_ray(partial(prepare, changes), tmp_path / 'parts', actors=1).frames == FRAMES
    assert len(list((tmp_path / 'died').iterdir())) == 1
    assert len(digests(tmp_path / 'parts')) == 4


@needs_ray
def test_actors_that_always_die_end_the_command_in_one_line(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, 'RESTARTS', 1)
    (tmp_path / 'died').mkdir()
    changes = {'dies': str(tmp_path / 'died'), 'times': 1000}
    with pytest.raises(UserError, match='--engine ray: actors die or cannot start'):
        predict_with_ray(partial(prepare, changes), tmp_path / 'parts', actors=1)


@needs_ray
def test_an_error_in_an_actor_is_one_line(cluster, tmp_path):
    with pytest.raises(UserError, match=r'^frame 000004: the scan ends inside a point; copy it again$'):
        predict_with_ray(partial(prepare, {'fails': True}), tmp_path / 'parts', actors=1)


def test_frames_of_a_part_that_failed_do_not_get_into_the_next_one(tmp_path, monkeypatch):
    """An actor as Ray uses it, which needs no Ray."""
    plan = prepare({})
    predict_pool(plan.model, plan.view, tmp_path / 'here', **plan.options)
    monkeypatch.chdir(tmp_path)  # where the actor goes: this process comes back
    actor = PartActor(partial(prepare, {'fails_in': 1}), tmp_path / 'actor', str(tmp_path), {})
    (error,) = actor({'part': [0]})['error']
    assert error == 'frame 000004: the scan ends inside a point; copy it again'
    assert actor({'part': [1]})['error'] == ['']
    expected = {'part-00001.parquet': digests(tmp_path / 'here')['part-00001.parquet']}
    assert digests(tmp_path / 'actor') == expected


def command(*words):
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr[-2000:]
    return done.stderr


def test_without_ray_the_extra_is_named():
    code = (
        "import sys; sys.modules['ray'] = None\n"
        'from ssal3d.errors import command\n'
        'from ssal3d.predictions.ray_engine import predict_with_ray\n'
        "command(lambda: predict_with_ray(None, 'out'))()"
    )
    assert command('-c', code) == "error: ray is not installed; install 'ssal3d[ray]', see docs/install.md\n"


def test_options_that_do_not_go_together_are_refused():
    words = ('-m', 'ssal3d', 'predict', 'CONFIG', 'CHECKPOINT', '--out', 'out')
    assert '--engine ray: found --launcher pytorch' in command(*words, '--engine', 'ray', '--launcher', 'pytorch')
    assert '--ray-address is for --engine ray' in command(*words, '--ray-address', 'auto')


@needs_ray
@pytest.mark.slow
def test_the_command_predicts_with_ray_what_it_predicts_alone(street, checkpoint, tmp_path):
    environment = {**os.environ, 'SSAL3D_KITTI': str(street), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    words = ['-m', 'ssal3d', 'predict', str(TINY), str(checkpoint), '--batch-size', '2', '--num-workers', '0']
    words += ['--frames-per-part', '6', '--out']
    for folder, *more in (('one',), ('ray', '--engine', 'ray', '--ray-actors', '1')):
        line = [sys.executable, *words, str(tmp_path / folder), *more]
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        assert '12 frames' in done.stdout
    assert digests(tmp_path / 'ray') == digests(tmp_path / 'one')
