"""One frame of a refresh: which objects it has from now on, and which of its points are background."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.bank.cutting import FrameCut, cut_frame, joined_objects, new_objects, pasted_annotations
from ssal3d.bank.generation import CONFIDENT, FALSE_POSITIVE, GROUND_TRUTH
from ssal3d.cpsp.confidence import Checked, uncertainty
from ssal3d.cpsp.refine import ACTIONS, Refinement, UncertainBoxes, refine
from ssal3d.cpsp.settings import CPSPSettings
from ssal3d.ops.boxes import bev_iou
from ssal3d.ops.membership import points_of_boxes

CHANGES = ('kept', 'missed', 'replaced', 'class_changed', 'deleted', 'duplicate', 'added', 'fp_checked', 'fp_true')
_CHANGE_OF_ACTION = np.array([CHANGES.index(name) for name in ACTIONS])


class Rules(NamedTuple):
    """What one refresh applies to every frame.

    Attributes:
        settings: The settings.
        tau: ``(C,)`` confident thresholds in the order of the bank's classes.
        tau_low: ``(C,)`` low thresholds, float32 like the scores: a score of 0.2 is not above a threshold of 0.2.
        number: Number of the generation.
        checked: What is confident on the labelled frames, and right.
    """

    settings: CPSPSettings
    tau: NDArray[np.float64]
    tau_low: NDArray[np.float32]
    number: int
    checked: Checked


class FrameUpdate(NamedTuple):
    """What a frame contributes to a generation.

    Attributes:
        cut: Its objects, their points and its background.
        changes: ``(len(CHANGES), C)`` counts by class.
    """

    cut: FrameCut
    changes: NDArray[np.int64]


def update_unlabelled(points: NDArray[np.float32], preds: NDArray, bank: NDArray, rules: Rules) -> FrameUpdate:
    """Refine the bank objects of an unlabelled frame and cut objects and background from its cloud.

    The points are tested against each box once. Afterwards no background point lies in an object of the bank or in a
    prediction above the low threshold; in the released code it may (docs/deviations.md#cpsp).

    Args:
        points: ``(N, C)`` cloud.
        preds: ``(P,)`` of `PREDICTION`.
        bank: ``(B,)`` of `OBJECT`, the confident objects so far.
        rules: Thresholds and settings.
    """
    settings, labels, scores = rules.settings, preds['label'], preds['score']
    boxes = np.concatenate((preds['box'], bank['box']))
    members = points_of_boxes(points, boxes)
    num_points = members.counts[: len(preds)]
    is_low = scores <= rules.tau_low[labels]
    confident = (scores >= rules.tau[labels]) & ~is_low  # a class with bad scores only has a low threshold, too
    doubt = uncertainty(scores, settings.measure)
    known = UncertainBoxes(bank['box'], bank['label'], uncertainty(bank['score'], settings.measure))
    found = UncertainBoxes(preds['box'], labels, doubt)
    result = refine(known, bank['miss'], found, confident, num_points > 0, settings)
    new = result.free & confident & (num_points > 0)
    rows, chosen = _refined_rows(result, bank, preds, doubt, rules)
    entries = np.concatenate((chosen, np.flatnonzero(new)))
    false = np.zeros(len(preds), np.bool_)
    if settings.fp_source == 'unlabelled':
        false = is_low & result.free & (num_points >= settings.fp_min_points)
        if settings.fp_clear_of_bank:
            false[false] = ~_touches(preds['box'][false], boxes[entries])
    blocked = np.concatenate((~is_low, np.zeros(len(bank), np.bool_)))
    blocked[entries] |= settings.mask_bank_boxes
    added = _entries(preds, doubt, new, CONFIDENT, rules.number)
    rows = joined_objects([rows, added, _entries(preds, doubt, false, FALSE_POSITIVE, rules.number)])
    chosen = np.concatenate((entries, np.flatnonzero(false)))
    cut = cut_frame(points, boxes, members, rows, chosen, blocked)
    return FrameUpdate(cut, _count(result, bank, preds, new, rules))


def update_labelled(points: NDArray[np.float32], annotations: NDArray, preds: NDArray, rules: Rules) -> FrameUpdate:
    """Cut the annotated objects of a labelled frame; the points of every annotated box leave the background.

    Args:
        points: ``(N, C)`` cloud.
        annotations: ``(K,)`` of `ANNOTATION`; other classes have label -1.
        preds: ``(P,)`` of `PREDICTION` on this frame, if any: those that touch no annotated box are true false
            positives, kept above ``fp_min_score`` where `CPSPSettings.fp_source` says so, and the share of true ones
            among the low scores is counted.
        rules: Thresholds and settings.
    """
    settings, count = rules.settings, len(annotations)
    boxes = np.concatenate((annotations['box'], preds['box']))
    members = points_of_boxes(points, boxes)
    pasted = pasted_annotations(annotations, members)
    enough = members.counts[count:] >= settings.fp_min_points
    is_false = ~_touches(preds['box'], annotations['box']) & enough
    false = is_false & (preds['score'] > settings.fp_min_score) & (settings.fp_source == 'labelled')
    no_doubt, doubt = (uncertainty(scores, settings.measure) for scores in (np.ones(len(pasted)), preds['score']))
    truth = new_objects(annotations[pasted], 1.0, no_doubt, GROUND_TRUTH, rules.number)
    rows = joined_objects([truth, _entries(preds, doubt, false, FALSE_POSITIVE, rules.number)])
    chosen = np.concatenate((pasted, count + np.flatnonzero(false)))
    changes = np.zeros((len(CHANGES), len(rules.tau)), np.int64)
    checked = enough & (preds['score'] <= rules.tau_low[preds['label']])
    for kind, which in (('fp_checked', checked), ('fp_true', checked & is_false)):
        changes[CHANGES.index(kind)] = np.bincount(preds['label'][which], minlength=len(rules.tau))
    blocked = np.arange(len(boxes)) < count
    return FrameUpdate(cut_frame(points, boxes, members, rows, chosen, blocked), changes)


def _refined_rows(
    result: Refinement, bank: NDArray, preds: NDArray, doubt: NDArray[np.floating], rules: Rules
) -> tuple[NDArray, NDArray[np.int64]]:
    """Return the objects that survive, with the positions of their boxes among predictions, then bank."""
    rows, position = bank.copy(), len(preds) + np.arange(len(bank))
    rows['miss'] = result.miss
    rows['seen'][result.partner >= 0] = rules.number
    replaced = result.replaced
    partner = result.partner[replaced]
    rows[replaced] = _entries(preds, doubt, partner, CONFIDENT, rules.number)
    position[replaced] = partner
    survives = result.stays | replaced
    return rows[survives], position[survives]


def _entries(preds: NDArray, doubt: NDArray[np.floating], which: NDArray, source: int, number: int) -> NDArray:
    """Return new objects made of those predictions that a mask or positions choose."""
    chosen = preds[which]
    return new_objects(chosen, chosen['score'], doubt[which], source, number)


def _touches(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which boxes have a positive BEV IoU with any of the others."""
    return np.any(bev_iou(boxes, others) > 0, axis=1)


def _count(
    result: Refinement, bank: NDArray, preds: NDArray, new: NDArray[np.bool_], rules: Rules
) -> NDArray[np.int64]:
    """Count by class what happened to bank objects, and what was added."""
    kinds = _CHANGE_OF_ACTION[result.action]
    kinds[result.stays & (result.partner < 0)] = CHANGES.index('missed')
    replaced = result.replaced
    before, after = bank['label'][replaced], preds['label'][result.partner[replaced]]
    changes = (
        (kinds, bank['label']),
        (CHANGES.index('class_changed'), before[before != after]),
        (CHANGES.index('added'), preds['label'][new]),
    )
    shape = len(CHANGES), len(rules.tau)
    cells = np.concatenate([kind * shape[1] + labels for kind, labels in changes])
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
