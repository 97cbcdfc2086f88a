"""The hook that builds and refreshes the box bank of CPSP."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet3d.registry import DATASETS, HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import Generation
from ssal3d.bank.hook import describe
from ssal3d.bank.planes import tell_missing_planes
from ssal3d.bank.shared_cuts import cut_by_all, pieces_folder
from ssal3d.cpsp.background import FrameUpdate
from ssal3d.cpsp.refresh import generation_of, update_frames
from ssal3d.cpsp.reuse import needed_generations, why_not_reused
from ssal3d.cpsp.settings import CPSPSettings, cpsp_settings
from ssal3d.cpsp.shard import pool_shard
from ssal3d.data.views import FrameView, LabelledView, points_loader
from ssal3d.distributed import WORK_LIMIT, barrier, from_rank_0
from ssal3d.errors import UserError
from ssal3d.fileio import remove
from ssal3d.models.loading import checkpoints
from ssal3d.models.wrapping import unwrapped
from ssal3d.predictions import read_predictions
from ssal3d.predictions.pool_inference import predict_pool


@HOOKS.register_module()
class CPSPHook(Hook):
    """Builds the box bank before the first epoch and refreshes it every ``interval`` epochs.

    Source: CPSP of S-SSAL (Wang et al. 2025, arXiv 2501.15449); see docs/deviations.md#cpsp.

    Generation g belongs to epochs ``g * interval`` to ``(g + 1) * interval - 1``, so a resumed run knows which one it
    needs; those that it would need to go on from its newest checkpoints are kept. Each refresh predicts the unlabelled
    frames once, and cuts all frames once; the ranks share both. Rank 0 joins what they cut and publishes it, then all
    go on with the new generation. One that a killed run has left is used again if this run would build the same.

    Args:
        bank: Folder of the bank that the transforms of the pipelines read.
        labelled: Config of the view of the labelled frames.
        unlabelled: Config of the view of the unlabelled frames with the test pipeline.
        initial_predictions: Predictions of the weights that training starts from; made here if not given.
        interval: Epochs between two refreshes.
        settings: Arguments of `cpsp_settings`.
        prediction: ``batch_size`` and ``num_workers`` of `predict_pool`.
    """

    priority = 'HIGH'

    def __init__(
        self,
        bank: str | Path,
        labelled: dict[str, Any],
        unlabelled: dict[str, Any],
        initial_predictions: str | Path | None = None,
        interval: int = 10,
        settings: Mapping[str, Any] | None = None,
        prediction: Mapping[str, Any] | None = None,
    ) -> None:
        self.bank = BoxBank(bank)
        self.labelled: LabelledView = DATASETS.build(labelled)
        self.unlabelled: FrameView = DATASETS.build(unlabelled)
        # The same pipeline on the labelled frames, without their labels: for false positives that can be checked.
        self.labelled_pool: FrameView = DATASETS.build(
            {**unlabelled, 'labels': None, 'frames': self.labelled.frame_ids}
        )
        self.initial_predictions = initial_predictions
        self.interval = interval
        self.settings: CPSPSettings = cpsp_settings(**(settings or {}))
        self.prediction = dict(prediction or {})

    def before_train(self, runner: Runner) -> None:
        """Go back to the generation of the epoch that a resumed run starts in."""
        tell_missing_planes(runner.train_dataloader.dataset)
        if runner.epoch % self.interval == 0:
            return  # before_train_epoch builds it
        number = runner.epoch // self.interval
        if number not in self.bank.generations():
            raise UserError(
                f'{self.bank.path(number)}: the generation of epoch {runner.epoch} is missing; restore it, or delete '
                'the checkpoints of this stage to train it again'
            )
        if is_main_process():
            self._publish(runner, self.bank.open(number))
        barrier(WORK_LIMIT)

    def before_train_epoch(self, runner: Runner) -> None:
        """Build the epoch's generation if it is the first of one."""
        if runner.epoch % self.interval == 0:
            self._next_generation(runner, runner.epoch // self.interval)

    def _next_generation(self, runner: Runner, number: int) -> None:
        weights = from_rank_0(weights_sha256(runner.model))  # one folder for all, should a rank differ in a bit
        if from_rank_0(self._is_there(runner, number, weights)):
            if is_main_process():
                self._publish(runner, self.bank.open(number))
        else:
            folder, is_temporary = self._predict(runner, number, weights)
            labelled = self._predict_labelled(runner, number, weights)
            pieces = pieces_folder(self.bank)
            generation = build_generation(
                self.unlabelled.metainfo['classes'],
                self.settings,
                pieces,
                labelled=self.labelled,
                unlabelled=self.unlabelled,
                predictions=folder,
                labelled_predictions=labelled,
                previous=self.bank.open(number - 1) if number else None,
                provenance={'weights_sha256': weights, 'epoch': runner.epoch},
            )
            if generation is not None:
                self._publish(runner, generation)
                for done in (folder if is_temporary else None, labelled, pieces):
                    if done:
                        remove(done)  # the generation keeps them
        barrier(WORK_LIMIT)
        generation = self.bank.open(number)
        runner.logger.info(f'box bank, generation {number}: {describe(generation)}')
        for name, tau in generation.meta['tau'].items():
            if tau is not None:
                runner.message_hub.update_scalar(f'cpsp/tau_{name}', tau)

    def _predict(self, runner: Runner, number: int, weights: str) -> tuple[Path, bool]:
        """Return the folder with predictions of the current weights, and whether it was made here."""
        if number == 0 and self.initial_predictions:
            return Path(self.initial_predictions), False
        return self._predict_view(runner, self.unlabelled, f'gen-{number:06d}-{weights[:12]}', weights), True

    def _predict_labelled(self, runner: Runner, number: int, weights: str) -> Path | None:
        """Return the folder with predictions on the labelled frames, if the settings look at them."""
        if not self.settings.looks_at_labelled_frames:
            return None
        return self._predict_view(runner, self.labelled_pool, f'labelled-{number:06d}-{weights[:12]}', weights)

    def _predict_view(self, runner: Runner, view: FrameView, name: str, weights: str) -> Path:
        folder = self.bank.folder.with_name(f'{self.bank.folder.name}_predictions') / name
        metadata = {'checkpoint_sha256': weights}
        timing = predict_pool(
            runner.model, view, folder, metadata=metadata, description=f'predicting {name}', **self.prediction
        )
        runner.logger.info(f'{name}: {timing}')
        return folder

    def _is_there(self, runner: Runner, number: int, weights: str) -> bool:
        """Whether a run that was killed has left a generation that this one would build, too; if not, log why."""
        if number not in self.bank.generations():
            return False
        frames = self.labelled.frame_ids, self.unlabelled.frame_ids
        reason = why_not_reused(self.bank.open(number), weights, self.settings, *frames)
        if reason:
            runner.logger.warning(f'box bank, generation {number}: it is built again, {reason}')
        return reason is None

    def _publish(self, runner: Runner, generation: Generation) -> None:
        """Publish a generation; those that the run's checkpoints need stay, however rare checkpoints are."""
        pinned = needed_generations(checkpoints(runner.work_dir), runner.epoch, self.interval)
        self.bank.publish(generation, pinned=pinned)


def build_generation(
    classes: tuple[str, ...],
    settings: CPSPSettings,
    pieces: Path,
    *,
    labelled: LabelledView,
    unlabelled: FrameView,
    predictions: Path,
    labelled_predictions: Path | None = None,
    previous: Generation | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Generation | None:
    """Build a generation from views by all processes, each of which calls this: the first one returns it.

    Args:
        classes: Class names.
        settings: Settings.
        pieces: Where several processes put what they cut, see `ssal3d.bank.shared_cuts.cut_by_all`.
        labelled: View of the labelled frames.
        unlabelled: View of the unlabelled frames.
        predictions: Folder of their predictions.
        labelled_predictions: Folder of predictions on the labelled frames.
        previous: The generation before.
        provenance: Facts for the meta data.
    """
    pool = pool_shard(
        tuple(classes),
        settings,
        read_predictions(predictions),
        LabelledObjects.from_frames(labelled.annotated_objects()),
        read_predictions(labelled_predictions) if labelled_predictions else None,
        previous,
    )
    load_points = points_loader(labelled, unlabelled)

    def cut(start: int, stop: int) -> list[FrameUpdate]:
        return update_frames(pool.part(start, stop), load_points)

    updates = cut_by_all(cut, len(pool.frame_ids), pieces, *pool.facts())
    if updates is None:
        return None
    return generation_of(pool, [FrameUpdate(*update) for update in updates], previous, provenance or {})


def weights_sha256(model: nn.Module) -> str:
    """Return the SHA-256 of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(unwrapped(model).state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
