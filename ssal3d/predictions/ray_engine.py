"""Predicting a pool as a Ray Data job: actors hold the model, and each predicts a part at a time."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError, one_line, reason
from ssal3d.predictions.part_files import part_name
from ssal3d.predictions.part_prediction import PartPrediction, PassTiming
from ssal3d.predictions.places import Place, place
from ssal3d.predictions.pool_inference import PassPlan, finish_pass, missing_parts, ready_for_pass
from ssal3d.terminal import track

# What the actors, which Ray starts elsewhere, get of this process's environment.
HANDED_ON = ('SSAL3D_', 'OMP_', 'MKL_')
RESTARTS = 5  # of an actor that dies, e.g. with its machine; Ray's own default never ends
QUIET = {'RAY_USAGE_STATS_ENABLED': '0', 'RAY_BACKEND_LOG_LEVEL': 'fatal'}  # Ray's own defaults send statistics


Prepare = Callable[[str | None], PassPlan]  # takes the model's device; None for the best there is


def predict_with_ray(
    prepare: Prepare,
    out: str | Place,
    address: str | None = None,
    actors: int | None = None,
    description: str = 'predicting the pool',
) -> PassTiming:
    """Predict a pool with Ray; the parts are those of `ssal3d.predictions.pool_inference.predict_pool`.

    Ray starts an actor that dies again, up to `RESTARTS` times, with its part; what is finished stays for the next run.

    Args:
        prepare: Makes model, view and options; called here, and once in every actor, so it must be picklable.
        out: Folder of the parts, which all machines see under this name, or a URL.
        address: Of a running cluster; None to start Ray on this machine for the pass.
        actors: Number of actors; by default one for every GPU, or without GPUs as many as the cores allow.
        description: Shown beside the progress bar.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        UserError: As `ssal3d.predictions.pool_inference.predict_pool`, or if the cluster does not answer.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    import ray
    import ray.data

    plan, out = prepare('cpu'), place(out)
    out = out.absolute() if isinstance(out, Path) else out
    digests: dict[str, str] = {}
    with ready_for_pass(plan.model, plan.view, **_known(plan.options)) as (_, _, metadata):
        missing = missing_parts(out, len(plan.view.frame_ids), metadata)
        timing = PassTiming()
        if not missing:
            finish_pass(out, len(plan.view.frame_ids), metadata, {})
            return timing
        with _connected(address) as cluster:
            needs = _needs(cluster, plan.options.get('num_workers', 1), len(missing), actors)
            logging.getLogger('ray.data').setLevel(logging.ERROR)
            ray.data.DataContext.get_current().enable_progress_bars = False
            parts = ray.data.from_items([{'part': part} for part in missing], override_num_blocks=len(missing))
            with warnings.catch_warnings():  # there is no other way yet to say how often an actor is started again
                warnings.filterwarnings('ignore', '`ray_remote_args` is deprecated')
                done = parts.map_batches(
                    PartActor,
                    fn_constructor_args=(prepare, out, os.getcwd(), _environment()),
                    batch_size=1,
                    compute=ray.data.ActorPoolStrategy(size=needs.pop('actors')),
                    max_restarts=RESTARTS,
                    max_task_retries=RESTARTS,
                    **needs,
                )
            try:
                for row in track(done.iter_rows(), description, len(missing)):
                    if row['error']:
                        raise UserError(row['error'])
                    digests |= {row['name']: row['sha256']} if row['sha256'] else {}
                    timing.add(int(row['frames']), float(row['load']), float(row['forward']), float(row['write']))
            except ray.exceptions.RayError as error:
                raise UserError(
                    f'--engine ray: actors die or cannot start ({one_line(error)}); look at memory and at the logs of '
                    'Ray, and start the command again: what is finished is kept'
                ) from None
        finish_pass(out, len(plan.view.frame_ids), metadata, digests)
    return timing


class PartActor:
    """Holds a model and predicts parts; Ray makes as many as are wanted.

    Args:
        prepare: See `predict_with_ray`.
        out: Folder of the parts.
        folder: Where the command was started, which relative paths start from.
        environment: Variables to set.
    """

    def __init__(self, prepare: Prepare, out: Place, folder: str, environment: Mapping[str, str]) -> None:
        self.prepare, self.out, self.folder, self.environment = prepare, out, folder, environment
        self._opened = ExitStack()
        self._prediction: PartPrediction | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list]:
        """Predict a part.

        Args:
            batch: Its number as ``part``.

        Returns:
            A row that tells how it went: Ray would put its own traceback around an error.
        """
        part = int(batch['part'][0])
        name = part_name(part)
        try:
            # What fails may leave frames of its part behind, which must not get into the next one.
            prediction, self._prediction = self._prediction or self._start(), None
            took = prediction.timing = PassTiming()
            for _ in prediction.predict_one(part):
                pass
            error, sha256 = '', prediction.files.digests.get(name)
            self._prediction = prediction
        except UserError as found:
            took, error, sha256 = PassTiming(), one_line(found), None
        except OSError as found:
            took, error, sha256 = PassTiming(), one_line(reason(found)), None
        return {
            'name': [name],
            'sha256': [sha256 or ''],
            'error': [error],
            **{name: [value] for name, value in vars(took).items()},
        }

    def _start(self) -> PartPrediction:
        os.environ.update(self.environment)
        if Path(self.folder).is_dir():
            os.chdir(self.folder)
        model, view, options = self.prepare(None)
        ready = ready_for_pass(model, view, **_known(options))
        network, fields, metadata = self._opened.enter_context(ready)
        workers = options.get('num_workers', 1)
        return self._opened.enter_context(
            PartPrediction(network, view, self.out, fields, metadata, workers, lambda _: None)
        )


@contextmanager
def _connected(address: str | None) -> Iterator[Mapping[str, float]]:
    """Yield the resources of the cluster; what is started here is stopped in the end."""
    import ray

    own = not ray.is_initialized()
    if own:
        try:
            ray.init(
                address=address or 'local',
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f'--ray-address {address}: no Ray cluster answers ({one_line(error)}); start one with `ray start --head`, '
                'or leave the option out to use this machine alone'
            ) from None
    try:
        yield ray.cluster_resources()
    finally:
        if own:
            ray.shutdown()


def _needs(cluster: Mapping[str, float], num_workers: int, parts: int, actors: int | None) -> dict[str, Any]:
    """Return the number of actors, and what each occupies."""
    gpus, cores = int(cluster.get('GPU', 0)), int(cluster.get('CPU', 1))
    if gpus:
        return {'actors': min(actors or gpus, parts), 'num_gpus': 1, 'num_cpus': 1}
    each = min(1 + num_workers, cores)
    return {'actors': min(actors or max(cores // each, 1), parts), 'num_cpus': each if actors is None else 1}


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != 'num_workers'}


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
