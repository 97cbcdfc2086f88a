"""What new predictions do to the bank objects of their frame (S-SSAL, Eq. 1 to 3, arXiv 2501.15449)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.cpsp.settings import CPSPSettings
from ssal3d.ops.box_kernels import pair_bev_iou
from ssal3d.ops.kernel import kernel

KEEP, REPLACE, DELETE, DUPLICATE = range(4)
ACTIONS = ('kept', 'replaced', 'deleted', 'duplicate')  # their names in statistics


class UncertainBoxes(NamedTuple):
    """Boxes of a frame, of which uncertainty is what decides: bank objects or predictions.

    The kernels take the columns as they are.

    Attributes:
        boxes: ``(K, 7)`` boxes.
        labels: ``(K,)`` class indices.
        uncertainty: ``(K,)`` uncertainties.
    """

    boxes: NDArray[np.floating]
    labels: NDArray[np.integer]
    uncertainty: NDArray[np.floating]


class Matching(NamedTuple):
    """The settings that decide about a frame, see `CPSPSettings`, for the kernel."""

    match_iou: float
    match_same_class: bool
    only_confident: bool
    del_after: int
    replace_on_tie: bool
    one_per_prediction: bool
    keep_in_empty_frames: bool

    @classmethod
    def of(cls, settings: CPSPSettings) -> 'Matching':
        """Take them out of all settings."""
        return cls(
            match_iou=settings.match_iou,
            match_same_class=settings.match_same_class,
            only_confident=settings.support == 'confident',
            del_after=settings.del_after,
            replace_on_tie=settings.replace_on_tie,
            one_per_prediction=settings.one_per_prediction,
            keep_in_empty_frames=settings.keep_in_empty_frames,
        )


class Refinement(NamedTuple):
    """What becomes of B bank objects and P predictions.

    Attributes:
        action: ``(B,)`` of KEEP, REPLACE (by ``partner``), DELETE (without support), DUPLICATE (dropped because its
            prediction stands for another object).
        partner: ``(B,)`` prediction that supports the object, -1 if none does.
        miss: ``(B,)`` refreshes in a row without support, this one included.
        free: ``(P,)`` predictions that meet no bank object and may become new entries.
    """

    action: NDArray[np.int8]
    partner: NDArray[np.int64]
    miss: NDArray[np.uint8]
    free: NDArray[np.bool_]

    @property
    def stays(self) -> NDArray[np.bool_]:
        """``(B,)`` objects that stay as they are."""
        return self.action == KEEP

    @property
    def replaced(self) -> NDArray[np.bool_]:
        """``(B,)`` objects whose place their partner takes."""
        return self.action == REPLACE


def refine(
    bank: UncertainBoxes,
    miss: NDArray[np.uint8],
    predictions: UncertainBoxes,
    confident: NDArray[np.bool_],
    has_points: NDArray[np.bool_],
    settings: CPSPSettings,
) -> Refinement:
    """Compare the bank objects of a frame with new predictions.

    A bank object is supported by the prediction of largest BEV IoU above ``match_iou``. Supported, it gives way to a
    prediction that is less uncertain and holds points (equation 1), else it stays and its misses are forgotten.
    Without support it counts a miss and is deleted at the ``del_after``-th in a row (equation 2). Where two objects
    share a prediction, the one of larger IoU is treated so and the other is dropped. O(B P).

    Args:
        bank: Confident bank objects.
        miss: ``(B,)`` their misses so far.
        predictions: All predictions of the same frame.
        confident: ``(P,)`` whether a prediction reaches its class's confident threshold.
        has_points: ``(P,)`` whether a prediction holds at least one point.
        settings: Matching and deletion.
    """
    rules = Matching.of(settings)
    return Refinement(*_refine(_typed(bank), miss.astype(np.uint8), _typed(predictions), confident, has_points, rules))


def _typed(detections: UncertainBoxes) -> UncertainBoxes:
    """Give the kernel the same types every time."""
    return UncertainBoxes(
        np.ascontiguousarray(detections.boxes, dtype=np.float64).reshape(-1, 7),
        np.ascontiguousarray(detections.labels, dtype=np.int64),
        np.ascontiguousarray(detections.uncertainty, dtype=np.float64),
    )


@kernel
def _refine(bank: Any, miss: Any, predictions: Any, confident: Any, has_points: Any, rules: Any) -> Any:
    action = np.zeros(bank.boxes.shape[0], dtype=np.int8)
    miss = miss.copy()
    free = np.ones(predictions.boxes.shape[0], dtype=np.bool_)
    support = confident if rules.only_confident else np.ones_like(confident)
    partner, quality = _match(bank, predictions, support, rules)
    may_miss = rules.keep_in_empty_frames or predictions.boxes.shape[0] > 0
    for b in range(bank.boxes.shape[0]):
        p = partner[b]
        if p < 0:
            miss[b] += 1
            action[b] = KEEP if miss[b] < rules.del_after and may_miss else DELETE
        elif rules.one_per_prediction and _is_duplicate(b, partner, quality, bank.uncertainty):
            action[b] = DUPLICATE
        else:
            new, old = predictions.uncertainty[p], bank.uncertainty[b]
            wins = new < old or (rules.replace_on_tie and new == old)
            action[b] = REPLACE if has_points[p] and wins else KEEP
            miss[b] = 0
    for p in range(predictions.boxes.shape[0]):
        for b in range(bank.boxes.shape[0]):
            may_match = support[p] and not (rules.match_same_class and bank.labels[b] != predictions.labels[p])
            meets = may_match or action[b] == KEEP
            if meets and pair_bev_iou(bank.boxes[b], predictions.boxes[p]) > rules.match_iou:
                free[p] = False
                break
    return action, partner, miss, free


@kernel
def _match(bank: Any, predictions: Any, support: Any, rules: Any) -> Any:
    """Return for every bank object its prediction of largest BEV IoU above ``match_iou``, or -1, and that IoU."""
    partner = np.full(bank.boxes.shape[0], -1, dtype=np.int64)
    quality = np.full(bank.boxes.shape[0], rules.match_iou)
    for b in range(bank.boxes.shape[0]):
        for p in range(predictions.boxes.shape[0]):
            if not support[p] or (rules.match_same_class and bank.labels[b] != predictions.labels[p]):
                continue
            overlap = pair_bev_iou(bank.boxes[b], predictions.boxes[p])
            if overlap > quality[b]:
                partner[b], quality[b] = p, overlap
    return partner, quality


@kernel
def _is_duplicate(b: Any, partner: Any, quality: Any, uncertainty: Any) -> Any:
    """Whether another object of the frame has the better claim to b's prediction: IoU, then certainty, then order."""
    for other in range(partner.shape[0]):
        if other != b and partner[other] == partner[b]:
            if quality[other] != quality[b]:
                better = quality[other] > quality[b]
            elif uncertainty[other] != uncertainty[b]:
                better = uncertainty[other] < uncertainty[b]
            else:
                better = other < b
            if better:
                return True
    return False


def _warm_up() -> None:
    nothing = UncertainBoxes(np.zeros((0, 7)), np.zeros(0, np.int64), np.zeros(0))
    refine(nothing, np.zeros(0, np.uint8), nothing, np.zeros(0, np.bool_), np.zeros(0, np.bool_), CPSPSettings())
