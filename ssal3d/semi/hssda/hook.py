"""The hook that mines labels of HSSDA between epochs; the rules are in `ssal3d.semi.hssda.mining`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet3d.registry import DATASETS, HOOKS
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import Generation
from ssal3d.bank.planes import tell_missing_planes
from ssal3d.bank.shared_cuts import labelled_cut_by_all, pieces_folder
from ssal3d.data.boxes import to_gravity_array
from ssal3d.data.views import FrameView, LabelledView, points_loader
from ssal3d.distributed import WORK_LIMIT, barrier
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import remove
from ssal3d.models.wrapping import unwrapped
from ssal3d.semi.hssda.detector import FROM_LAST_MINING, HSSDA
from ssal3d.semi.hssda.gathering import gathered
from ssal3d.semi.hssda.label_store import BOUGHT, LabelStore, label_rows
from ssal3d.semi.hssda.levels import DEFAULTS, MIN_POINTS, FramePrediction, LevelRules, ScoredBoxes
from ssal3d.semi.hssda.mining import (
    describe_labels,
    label_counts,
    labelled_precision,
    mid_labels,
    mined_labels,
    mining_thresholds,
)
from ssal3d.semi.pseudo_labels import PRECISION, precision_statistics
from ssal3d.terminal import track

POOLS = ('all', 'labelled_only')
FEWEST = 8  # frames of a step below which HSSDA is known to gain nothing; its article took 60, its README 12


@HOOKS.register_module()
class HSSDAMiningHook(Hook):
    """Predicts all frames twice every ``interval`` epochs and makes what is certain a label for the rest of the run.

    Generation 0 of the label store holds the bought labels; generation g + 1 belongs to epochs ``g * interval`` to
    ``(g + 1) * interval - 1``, so a resumed run knows which one it needs. All of them are kept (about a megabyte each),
    so that a run can go on from any checkpoint. The teacher predicts shards of the frames on all ranks; rank 0
    estimates thresholds and publishes labels; all ranks cut the paste database anew, from bought and mined objects.

    Args:
        store: Folder of the label store.
        bank: Folder of the paste database that the pipelines read.
        labelled: Config of the view of the labelled frames, without pipeline.
        frames: Config of the view of all frames without annotations; its pipeline loads points and packs ``frame_id``.
        interval: Epochs between two minings.
        pool: See `mining_thresholds`.
        defaults: Thresholds of a cue with too few samples.
        truncate: See `two_centre_thresholds`.
        one_to_one: See `score_pools`.
        min_points: Points that a mined label needs inside.
        paste_mined: Whether mined objects are pasted like bought ones (released).
        prediction: ``batch_size`` and ``num_workers`` of the teacher's pass.
    """

    priority = 'HIGH'

    def __init__(
        self,
        store: str | Path,
        bank: str | Path,
        labelled: dict[str, Any],
        frames: dict[str, Any],
        interval: int = 5,
        pool: str = 'all',
        defaults: Mapping[str, Sequence[float]] | None = None,
        truncate: bool = False,
        one_to_one: bool = True,
        min_points: int = MIN_POINTS,
        paste_mined: bool = True,
        prediction: Mapping[str, Any] | None = None,
    ) -> None:
        if pool not in POOLS:
            raise unknown_name('pool of HSSDA', pool, list(POOLS))
        self.store, self.bank = LabelStore(store), BoxBank(bank)
        self.labelled: LabelledView = DATASETS.build(labelled)
        self.frames: FrameView = DATASETS.build(frames)
        self.interval, self.min_points, self.paste_mined = interval, min_points, paste_mined
        self.estimation: dict[str, Any] = dict(
            pool=pool, defaults={**DEFAULTS, **(defaults or {})}, truncate=truncate, one_to_one=one_to_one
        )
        self.batch_size = int((prediction or {}).get('batch_size', 1))
        self.num_workers = int((prediction or {}).get('num_workers', 1))

    def before_train(self, runner: Runner) -> None:
        """Publish the bought labels, or go back to the labels of the epoch that a resumed run starts in.

        Raises:
            UserError: If they are missing.
        """
        if not isinstance(unwrapped(runner.model), HSSDA):
            raise UserError(
                f'HSSDAMiningHook: found the model {type(unwrapped(runner.model)).__name__}, expected HSSDA'
            )
        tell_missing_planes(runner.train_dataloader.dataset)
        _, ranks = get_dist_info()
        batch = (runner.train_dataloader.batch_size or 1) * ranks
        batch *= getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if batch < FEWEST:
            runner.logger.warning(
                f'HSSDA: a step has {batch} frames; it is known to gain nothing from fewer than {FEWEST}'
            )
        if runner.epoch == 0:
            if is_main_process():
                LabelStore.create(self.store.folder, self._bought_labels(), self.labelled.metainfo['classes'])
            barrier()
            self.store.use(0)
        elif runner.epoch % self.interval:
            self._switch(runner, runner.epoch // self.interval + 1)

    def before_train_epoch(self, runner: Runner) -> None:
        """Mine labels if it is time."""
        if runner.epoch % self.interval:
            return
        number = runner.epoch // self.interval + 1
        self.store.use(number - 1)
        predictions = self._predict(runner)
        if is_main_process():
            thresholds = mining_thresholds(predictions, self.store, **self.estimation)
            new = mined_labels(
                predictions,
                self.store,
                thresholds,
                points_loader(self.frames),
                self.min_points,
            )
            counts = labelled_precision(predictions, self.store, thresholds)
            model: Any = unwrapped(runner.model)
            mid = None
            if model.mid_level == FROM_LAST_MINING:
                rules = LevelRules.of(thresholds, self.store.classes, model.no_mid)
                mid = mid_labels(predictions, self.store, new, rules)
            self.store.publish(new, runner.epoch, thresholds, keep_last=number + 1, mid=mid)
            self._log_precision(runner, *counts)
        barrier()
        self._switch(runner, number)

    def _log_precision(self, runner: Runner, right: torch.Tensor, total: torch.Tensor) -> None:
        """Tell how good the high level is where the truth is known; a class without such boxes has no value."""
        classes = self.store.classes
        statistics = precision_statistics(right, total, classes)
        _log_last(runner, {name: statistics.get(name) for name in map(PRECISION.format, classes)})
        rows = zip(classes, right.tolist(), total.tolist())
        told = ', '.join(f'{name} {good} of {count}' for name, good, count in rows)
        runner.logger.info(f'boxes of labelled frames above the high thresholds that are right: {told}')

    def _switch(self, runner: Runner, number: int) -> None:
        """Let detector, data set and paste database use a generation.

        Raises:
            UserError: If it lacks labels that the detector wants.
        """
        self.store.use(number)
        if unwrapped(runner.model).mid_level == FROM_LAST_MINING and not self.store.has_mid:
            raise UserError(
                f'{self.store.folder}: generation {number} holds no labels of the middle level, expected them for mid_level='
                f"'{FROM_LAST_MINING}'; resume with the mid_level that the run began with, or start it again without resuming"
            )
        pieces = pieces_folder(self.bank)
        database = self._paste_database(pieces)
        if database is not None:
            self.bank.publish(database)
            remove(pieces)
        barrier(WORK_LIMIT)
        unwrapped(runner.model).set_thresholds(self.store.thresholds)  # type: ignore[operator]
        runner.train_dataloader.dataset.set_generation(number)
        runner.logger.info(f'labels, generation {number}: {describe_labels(self.store)}')
        mined = label_counts(self.store, self.store.labels['source'] != BOUGHT)
        _log_last(runner, {f'pseudo/{name}/mined': count for name, count in mined.items()})

    def _predict(self, runner: Runner) -> list[FramePrediction]:
        """Return the predictions of all frames in order, on rank 0; batches do not depend on the number of ranks."""
        model: Any = unwrapped(runner.model)
        rank, ranks = get_dist_info()
        batches = [
            range(first, min(first + self.batch_size, len(self.frames)))
            for first in range(0, len(self.frames), self.batch_size)
        ]
        loader = DataLoader(
            self.frames,
            batch_sampler=[list(batch) for batch in batches[rank::ranks]],
            num_workers=self.num_workers,
            collate_fn=pseudo_collate,
            generator=torch.Generator(),  # the loader's own draw must not touch the global one
        )
        local: list[FramePrediction] = []
        for batch in track(loader, 'predicting all frames twice', len(loader), quiet=rank != 0):
            data = model.data_preprocessor.cast_data(batch)
            samples = data['data_samples']
            views = model.teacher_views(data['inputs']['points'], samples)
            local += [
                FramePrediction(sample.metainfo['frame_id'], _on_cpu(view.original), _on_cpu(view.other))
                for sample, view in zip(samples, views)
            ]
        order = {frame_id: place for place, frame_id in enumerate(self.frames.frame_ids)}
        return sorted(gathered(local), key=lambda found: order[found.frame_id])

    def _bought_labels(self) -> dict[str, NDArray | None]:
        """Return the annotations of the labelled frames by frame id; None for the others."""
        frames: dict[str, NDArray | None] = dict.fromkeys(self.frames.frame_ids)
        for index, frame_id in enumerate(self.labelled.frame_ids):
            annotations = self.labelled.get_data_info(index)['ann_info']
            labels = np.asarray(annotations['gt_labels_3d'])
            trained = labels >= 0
            frames[frame_id] = label_rows(to_gravity_array(annotations['gt_bboxes_3d'])[trained], labels[trained])
        return frames

    def _paste_database(self, pieces: Path) -> Generation | None:
        """Return the generation of the box bank with the bought objects and, with ``paste_mined``, the mined ones.

        The processes cut it together, and the first one gets it.
        """
        classes, frames = np.array(self.store.classes), list(self.labelled.annotated_objects())
        for frame_id in self.frames.frame_ids if self.paste_mined else ():
            rows = self.store.labels_of(frame_id)
            if len(rows) and not self.store.is_bought(frame_id):
                frames.append((frame_id, rows['box'], classes[rows['label']], np.ones(len(rows), bool)))
        load_points = points_loader(self.frames, self.labelled)
        return labelled_cut_by_all(load_points, self.store.classes, LabelledObjects.from_frames(frames), pieces)


def _log_last(runner: Runner, values: Mapping[str, float | torch.Tensor | None]) -> None:
    """Show values (None: no more) beside the losses until the next mining, without the log's mean over older ones."""
    for name, value in values.items():
        runner.message_hub.log_scalars.pop(f'train/{name}', None)
        if value is not None:
            runner.message_hub.update_scalar(f'train/{name}', float(value))


def _on_cpu(found: ScoredBoxes) -> ScoredBoxes:
    return ScoredBoxes(*(column.cpu() for column in found))
