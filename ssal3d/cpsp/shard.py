"""The input of a refresh, checked and laid out by frame, so that ranges of frames can be worked on apart."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.bank.annotations import ANNOTATION, LabelledObjects
from ssal3d.bank.generation import CONFIDENT, OBJECT, PREDICTION, Generation
from ssal3d.cpsp.background import Rules
from ssal3d.cpsp.confidence import checked_on_labels, thresholds
from ssal3d.cpsp.settings import CPSPSettings, low_thresholds
from ssal3d.errors import UserError, unknown_name
from ssal3d.ops.boxes import overlaps_any
from ssal3d.predictions import PoolPredictions
from ssal3d.predictions.reader import check_values
from ssal3d.predictions.table import Ragged


class Shard(NamedTuple):
    """Frames and all that is known about them; the tables give each frame's rows by its position.

    Attributes:
        frame_ids: Frame ids, ascending.
        labelled: ``(F,)`` which frames are labelled.
        checksums: ``(F,)`` checksum of the cloud in the previous generation, -1 if there is none.
        preds: `PREDICTION` of the unlabelled frames.
        labelled_preds: `PREDICTION` of the labelled frames.
        bank: `OBJECT`: confident objects of the previous generation.
        annotations: `ANNOTATION` of the labelled frames.
        classes: Class names.
        rules: Thresholds and settings.
    """

    frame_ids: list[str]
    labelled: NDArray[np.bool_]
    checksums: NDArray[np.int64]
    preds: Ragged
    labelled_preds: Ragged
    bank: Ragged
    annotations: Ragged
    classes: tuple[str, ...]
    rules: Rules

    def part(self, start: int, stop: int) -> 'Shard':
        """Return the frames from ``start`` to ``stop``, without the others' rows, to be sent to a worker."""

        def cut(table: Ragged) -> Ragged:
            offsets = table.offsets[start : stop + 1]
            return Ragged(table.values[offsets[0] : offsets[-1]], offsets - offsets[0])

        return self._replace(
            frame_ids=self.frame_ids[start:stop],
            labelled=self.labelled[start:stop],
            checksums=self.checksums[start:stop],
            preds=cut(self.preds),
            labelled_preds=cut(self.labelled_preds),
            bank=cut(self.bank),
            annotations=cut(self.annotations),
        )

    def facts(self) -> list[Any]:
        """Return all that the frames' updates depend on but their clouds, as arrays and JSON values."""
        rules = self.rules
        tables = (self.preds, self.labelled_preds, self.bank, self.annotations)
        return [
            [self.frame_ids, self.classes, rules.settings.to_json(), rules.number],
            *(self.labelled, self.checksums, rules.tau, rules.tau_low),
            *(array for table in tables for array in table),
        ]


def pool_shard(
    classes: tuple[str, ...],
    settings: CPSPSettings,
    predictions: PoolPredictions | None,
    labelled: LabelledObjects | None,
    labelled_predictions: PoolPredictions | None,
    previous: Generation | None,
) -> Shard:
    """Check the input of `ssal3d.cpsp.refresh.refresh`, estimate the thresholds and return all frames as one shard."""
    known_ids = np.empty(0, np.str_) if labelled is None else labelled.frame_ids
    frame_ids = _frame_ids(predictions, known_ids)
    if previous is not None:
        _check_previous(previous, frame_ids, classes)
    if labelled_predictions is not None:
        is_known = np.isin(labelled_predictions.frame_ids, known_ids)
        labelled_predictions = labelled_predictions.take(np.flatnonzero(is_known))
    preds = _prediction_table(predictions, classes, frame_ids)
    labelled_preds = _prediction_table(labelled_predictions, classes, frame_ids)
    annotations = _annotation_table(labelled, classes, frame_ids)
    rules = _rules(preds, labelled_preds, annotations, classes, settings, previous)
    bank = _bank_table(previous, len(frame_ids))
    return Shard(
        frame_ids.tolist(),
        np.isin(frame_ids, known_ids),
        np.full(len(frame_ids), -1) if previous is None else previous.frames['checksum'].astype(np.int64),
        preds,
        labelled_preds,
        bank.where(~rules.checked.fails[bank.values['label']]),
        annotations,
        classes,
        rules,
    )


def _frame_ids(predictions: PoolPredictions | None, labelled_ids: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return all frame ids, ascending; raises UserError if a frame is labelled and predicted, or there is none."""
    predicted_ids = np.empty(0, np.str_) if predictions is None else predictions.frame_ids
    both = np.intersect1d(predicted_ids, labelled_ids)
    if len(both):
        raise UserError(
            f'frame {both[0]} is labelled and among the predictions; pass predictions of unlabelled frames only'
        )
    frame_ids = np.union1d(predicted_ids, labelled_ids)
    if not len(frame_ids):
        raise UserError('the box bank needs at least one labelled or unlabelled frame, found none')
    return frame_ids


def _check_previous(previous: Generation, frame_ids: NDArray[np.str_], classes: tuple[str, ...]) -> None:
    if previous.classes != classes:
        raise UserError(
            f'{previous.source}: found classes {", ".join(previous.classes)}, expected {", ".join(classes)}; build the '
            'bank from the start'
        )
    different = np.setxor1d(previous.frames['frame_id'], frame_ids)
    if len(different):
        where = 'only in the bank' if different[0] in previous.row_of_frame else 'not in the bank'
        raise UserError(
            f'{previous.source}: frame {different[0]} is {where}; predict the same unlabelled frames at every refresh '
            'and keep the labelled ones, or build the bank from the start'
        )


def _rules(
    preds: Ragged,
    labelled_preds: Ragged,
    annotations: Ragged,
    classes: tuple[str, ...],
    settings: CPSPSettings,
    previous: Generation | None,
) -> Rules:
    """Estimate the thresholds of this generation."""
    scores, labels = preds.values['score'], preds.values['label']
    stable = None
    if previous is not None and settings.stability_filter:
        old = previous.preds['box'], previous.pred_offsets
        stable = overlaps_any(preds.values['box'], preds.offsets, *old, settings.stability_iou)
    tau = thresholds(scores, labels, classes, settings, stable, None if previous is None else previous.tau)
    checked = checked_on_labels(tau, labelled_preds, annotations, settings)
    low = low_thresholds(scores, labels, classes, settings)
    return Rules(
        settings,
        np.where(checked.fails, np.inf, [tau[name] for name in classes]),
        np.array([low[name] for name in classes], np.float32),
        0 if previous is None else previous.number + 1,
        checked,
    )


def _prediction_table(
    predictions: PoolPredictions | None, classes: tuple[str, ...], frame_ids: NDArray[np.str_]
) -> Ragged:
    """Return predictions as rows of `PREDICTION` by frame, their labels turned into the bank's by class name."""
    if predictions is None:
        return _by_frame(np.zeros(0, PREDICTION), np.empty(0, np.str_), np.zeros(1, np.int64), frame_ids)
    check_values(predictions)
    for before, after in pairwise(predictions.frame_ids.tolist()):
        if after <= before:
            raise UserError(f'{predictions.source}: frame {after} follows {before}, expected ascending unique ids')
    for name in predictions.classes:
        if name not in classes:
            raise unknown_name('class', name, list(classes))
    rows = np.zeros(len(predictions.boxes), PREDICTION)
    rows['box'], rows['score'] = predictions.boxes, predictions.scores
    rows['label'] = np.array([classes.index(name) for name in predictions.classes], np.int16)[predictions.labels]
    return _by_frame(rows, predictions.frame_ids, predictions.offsets, frame_ids)


def _annotation_table(
    labelled: LabelledObjects | None, classes: tuple[str, ...], frame_ids: NDArray[np.str_]
) -> Ragged:
    if labelled is None:
        return _by_frame(np.zeros(0, ANNOTATION), np.empty(0, np.str_), np.zeros(1, np.int64), frame_ids)
    return _by_frame(labelled.table(classes), labelled.frame_ids, labelled.offsets, frame_ids)


def _bank_table(previous: Generation | None, num_frames: int) -> Ragged:
    """Return the confident objects of the previous generation by frame."""
    objects = np.zeros(0, OBJECT) if previous is None else previous.objects[previous.objects['source'] == CONFIDENT]
    return Ragged(objects, np.searchsorted(objects['frame'], np.arange(num_frames + 1)))


def _by_frame(
    rows: NDArray, own_ids: NDArray[np.str_], own_offsets: NDArray[np.int64], frame_ids: NDArray[np.str_]
) -> Ragged:
    """Spread the rows of some frames over all frames; both orders ascend, so the rows stay as they are."""
    counts = np.zeros(len(frame_ids), np.int64)
    counts[np.searchsorted(frame_ids, own_ids)] = np.diff(own_offsets)
    return Ragged(rows, np.concatenate(([0], np.cumsum(counts))))
