"""Mining the permanent labels of HSSDA between epochs (spec/semi_supervised.md 7.3)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet3d.registry import DATASETS, HOOKS
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_gather_object, barrier, get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ssal3d.cpsp.annotations import LabelledObjects
from ssal3d.cpsp.box_bank import BoxBank
from ssal3d.cpsp.hook import labelled_objects
from ssal3d.cpsp.refresh import refresh
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.data.boxes import gravity_centred
from ssal3d.data.views import FrameView, LabelledView
from ssal3d.errors import UserError, unknown_name
from ssal3d.predictions.pool_inference import unwrapped
from ssal3d.semi.hssda import FROM_LAST_MINING, HSSDA
from ssal3d.semi.hssda_levels import (
    DEFAULTS,
    MIN_POINTS,
    FrameViews,
    Level,
    LevelRules,
    ScoredBoxes,
    assign_levels,
    best_bev_iou,
    estimate_thresholds,
    high_labels,
    score_pools,
    step_labels,
)
from ssal3d.semi.label_store import BOUGHT, LabelStore, label_rows
from ssal3d.semi.pseudo_labels import count_right, precision_statistics
from ssal3d.terminal import track

POOLS = ('all', 'labelled_only')
ENOUGH = 24  # frames per step below which the authors' learning rate is known to give worse results (spec 9)

DualThresholds = dict[str, dict[str, tuple[float, float]]]


class FramePrediction(NamedTuple):
    """What the teacher says of a frame on both views, on the CPU."""

    frame_id: str
    original: ScoredBoxes
    other: ScoredBoxes


def mining_thresholds(
    predictions: Sequence[FramePrediction],
    store: LabelStore,
    pool: str = 'all',
    defaults: Mapping[str, Sequence[float]] = DEFAULTS,
    truncate: bool = False,
    one_to_one: bool = True,
) -> DualThresholds:
    """Return (high, low) by class and cue from what agrees with known boxes.

    Args:
        predictions: Predictions of all frames.
        store: Known boxes.
        pool: Which frames count: ``'all'`` with boxes, bought or mined (released; thresholds drift with what was mined,
            H06), or ``'labelled_only'``.
        defaults: See `estimate_thresholds`.
        truncate: See `two_centre_thresholds`.
        one_to_one: See `score_pools`.
    """
    wanted = [found for found in predictions if pool == 'all' or store.is_bought(found.frame_id)]
    frames = (FrameViews(found.original, found.other, _known(store, found.frame_id)) for found in wanted)
    return estimate_thresholds(score_pools(frames, store.classes, one_to_one), defaults, truncate)


def mined_labels(
    predictions: Sequence[FramePrediction],
    store: LabelStore,
    thresholds: DualThresholds,
    load_points: Callable[[str], NDArray[np.float32]],
    min_points: int = MIN_POINTS,
) -> dict[str, NDArray]:
    """Return the rows of new labels by frame, for `LabelStore.publish`; bought frames get none.

    Args:
        predictions: Predictions of all frames.
        store: Known boxes, which a new label must not touch.
        thresholds: Of this mining.
        load_points: Gives the ``(N, >=3)`` cloud of a frame; called for frames with candidates only.
        min_points: Points that a label needs inside.
    """
    rules, new = LevelRules.of(thresholds, store.classes), {}
    for frame_id, own, other in predictions:
        if store.is_bought(frame_id):
            continue
        known = _known(store, frame_id)
        overlaps = best_bev_iou(own.boxes, known) > 0
        levels = assign_levels(own.s, own.r, best_bev_iou(own.boxes, other.boxes), own.labels, overlaps, rules)
        if not (levels == Level.HIGH).any():
            continue
        chosen = high_labels(levels, own.boxes, torch.from_numpy(load_points(frame_id)), known, min_points)
        if chosen.any():
            new[frame_id] = label_rows(*(own_column[chosen].numpy() for own_column in (own[0], own[3], own[1], own[2])))
    return new


def mid_labels(
    predictions: Sequence[FramePrediction], store: LabelStore, mined: Mapping[str, NDArray], rules: LevelRules
) -> dict[str, NDArray]:
    """Return the rows of the middle level by frame, for `LabelStore.publish`, as training steps would find them now.

    Args:
        predictions: Predictions of all frames; bought ones get no such labels.
        store: Known boxes before this mining.
        mined: Labels that it has found; a label of the middle level must not touch them either.
        rules: Thresholds of this mining.
    """
    result = {}
    for frame_id, own, other in predictions:
        if store.is_bought(frame_id):
            continue
        known = _known(store, frame_id)
        if frame_id in mined:
            known = torch.cat((known, torch.from_numpy(mined[frame_id]['box'].copy())))
        mid, weights = step_labels(own, other, known, rules)
        if len(weights):
            columns = (mid.boxes, mid.labels, mid.s, mid.r, weights)
            result[frame_id] = label_rows(*(column.numpy() for column in columns))
    return result


def labelled_precision(
    predictions: Sequence[FramePrediction], store: LabelStore, thresholds: DualThresholds
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how many boxes of bought frames pass the high thresholds and are right, and how many pass, ``(C,)`` each.

    All true boxes of these frames are known, so a label may touch them here.

    Args:
        predictions: Predictions of all frames.
        store: Known boxes.
        thresholds: Of this mining.
    """
    rules, classes = LevelRules.of(thresholds, store.classes), len(store.classes)
    counts = torch.zeros(2, classes, dtype=torch.int64)
    for frame_id, own, other in predictions:
        if not store.is_bought(frame_id):
            continue
        unknown = torch.zeros_like(own.labels, dtype=torch.bool)
        levels = assign_levels(own.s, own.r, best_bev_iou(own.boxes, other.boxes), own.labels, unknown, rules)
        high, truth = levels == Level.HIGH, torch.from_numpy(store.labels_of(frame_id)['label'].astype(np.int64))
        known = _known(store, frame_id)
        counts += torch.stack(count_right(own.boxes[high], own.labels[high], known, truth, classes))
    return counts[0], counts[1]


@HOOKS.register_module()
class HSSDAMiningHook(Hook):
    """Predicts all frames twice every ``interval`` epochs and makes what is certain a label for the rest of the run.

    Generation 0 of the label store holds the bought labels; generation g + 1 belongs to epochs ``g * interval`` to
    ``(g + 1) * interval - 1``, so a resumed run knows which one it needs. All of them are kept (about a megabyte each),
    so that a run can go on from any checkpoint. The teacher predicts shards of the frames on all ranks; rank 0 estimates
    thresholds, publishes labels and cuts the paste database anew, from bought and mined objects.

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

        Args:
            runner: The runner.

        Raises:
            UserError: If they are missing.
        """
        if not isinstance(unwrapped(runner.model), HSSDA):
            raise UserError(
                f'HSSDAMiningHook: found the model {type(unwrapped(runner.model)).__name__}, expected HSSDA'
            )
        _, ranks = get_dist_info()
        batch = (runner.train_dataloader.batch_size or 1) * ranks
        if batch < ENOUGH:
            runner.logger.warning(
                f'HSSDA: a step has {batch} frames; results are known to suffer below {ENOUGH} at a learning rate of 0.01'
            )
        if runner.epoch == 0:
            if is_main_process():
                LabelStore.create(self.store.folder, self._bought_labels(), self.labelled.metainfo['classes'])
            barrier()
            self.store.use(0)
        elif runner.epoch % self.interval:
            self._switch(runner, runner.epoch // self.interval + 1)

    def before_train_epoch(self, runner: Runner) -> None:
        """Mine labels if it is time.

        Args:
            runner: The runner.
        """
        if runner.epoch % self.interval:
            return
        number = runner.epoch // self.interval + 1
        self.store.use(number - 1)
        predictions = self._predict(runner)
        if is_main_process():
            thresholds = mining_thresholds(predictions, self.store, **self.estimation)
            where = {frame_id: index for index, frame_id in enumerate(self.frames.frame_ids)}
            new = mined_labels(
                predictions,
                self.store,
                thresholds,
                lambda frame_id: self.frames.load_points(where[frame_id]),
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
        found = {name: value.item() for name, value in precision_statistics(right, total, classes).items()}
        _log_last(runner, {**dict.fromkeys(precision_statistics(right, total + 1, classes)), **found})
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
        if is_main_process():
            self.bank.publish(self._paste_database())
        barrier()
        unwrapped(runner.model).set_thresholds(self.store.thresholds)  # type: ignore[operator]
        runner.train_dataloader.dataset.set_generation(number)
        runner.logger.info(f'labels, generation {number}: {describe_labels(self.store)}')
        mined = _counts(self.store, self.store.labels['source'] != BOUGHT)
        _log_last(runner, {f'pseudo/{name}/mined': count for name, count in mined.items()})

    def _predict(self, runner: Runner) -> list[FramePrediction]:
        """Return the predictions of all frames in order, on every rank; batches do not depend on the number of ranks."""
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
        own: list[FramePrediction] = []
        for batch in track(loader, 'predicting all frames twice', len(loader), quiet=rank != 0):
            data = model.data_preprocessor.cast_data(batch)
            samples = data['data_samples']
            views = model.teacher_views(data['inputs']['points'], samples)
            own += [
                FramePrediction(sample.metainfo['frame_id'], _on_cpu(view.original), _on_cpu(view.other))
                for sample, view in zip(samples, views)
            ]
        order = {frame_id: place for place, frame_id in enumerate(self.frames.frame_ids)}
        parts = all_gather_object(own)
        return sorted((found for part in parts for found in part), key=lambda found: order[found.frame_id])

    def _bought_labels(self) -> dict[str, NDArray | None]:
        """Return the annotations of the labelled frames by frame id; None for the others."""
        frames: dict[str, NDArray | None] = dict.fromkeys(self.frames.frame_ids)
        for index, frame_id in enumerate(self.labelled.frame_ids):
            annotations = self.labelled.get_data_info(index)['ann_info']
            labels = np.asarray(annotations['gt_labels_3d'])
            trained = labels >= 0
            frames[frame_id] = label_rows(gravity_centred(annotations['gt_bboxes_3d'])[trained], labels[trained])
        return frames

    def _paste_database(self) -> Any:
        """Return the generation of the box bank with the bought objects and, if so wished, the mined ones."""
        annotated, classes = labelled_objects(self.labelled), np.array(self.store.classes)
        frames = [
            (frame_id, annotated.boxes[start:stop], annotated.names[start:stop], annotated.usable[start:stop])
            for frame_id, start, stop in zip(annotated.frame_ids, annotated.offsets[:-1], annotated.offsets[1:])
        ]
        where: dict[str, tuple[FrameView, int]] = {
            frame_id: (self.labelled, index) for index, frame_id in enumerate(self.labelled.frame_ids)
        }
        for index, frame_id in enumerate(self.frames.frame_ids if self.paste_mined else ()):
            rows = self.store.labels_of(frame_id)
            if len(rows) and not self.store.is_bought(frame_id):
                frames.append((frame_id, rows['box'], classes[rows['label']], np.ones(len(rows), bool)))
                where[frame_id] = (self.frames, index)
        return refresh(
            lambda frame_id: where[frame_id][0].load_points(where[frame_id][1]),
            self.store.classes,
            cpsp_settings(),
            labelled=LabelledObjects.from_frames(frames),
        )


def describe_labels(store: LabelStore) -> str:
    """Return one line for the log: bought and mined labels and the thresholds, by class."""
    labels = store.labels
    mined = labels['source'] != BOUGHT
    counts = [_counts(store, rows) for rows in (~mined, mined, mined & (labels['born'] == store.epoch))]
    parts = []
    for name in store.classes:
        cues = ', '.join(f'{cue} {high:.2f}/{low:.2f}' for cue, (high, low) in store.thresholds.get(name, {}).items())
        bought, total, new = (count[name] for count in counts)
        parts.append(f'{name}: {bought} bought, {total} mined ({new} new); high/low {cues}')
    return '; '.join(parts)


def _log_last(runner: Runner, values: Mapping[str, float | None]) -> None:
    """Show values (None: no more) beside the losses until the next mining; the log's mean over older ones means nothing."""
    for name, value in values.items():
        runner.message_hub.log_scalars.pop(f'train/{name}', None)
        if value is not None:
            runner.message_hub.update_scalar(f'train/{name}', value)


def _counts(store: LabelStore, rows: NDArray[np.bool_]) -> dict[str, int]:
    found = np.bincount(store.labels['label'][rows], minlength=len(store.classes))
    return dict(zip(store.classes, found.tolist()))


def _known(store: LabelStore, frame_id: str) -> torch.Tensor:
    return torch.from_numpy(np.array(store.labels_of(frame_id)['box'], dtype=np.float32).reshape(-1, 7))


def _on_cpu(found: ScoredBoxes) -> ScoredBoxes:
    return ScoredBoxes(*(column.cpu() for column in found))
