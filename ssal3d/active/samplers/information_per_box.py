"""Information per box: frames that teach most for what they cost; see `ssal3d.active.functional.information`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.checks import check_box_features, check_width
from ssal3d.active.functional.information import (
    Information,
    class_weights,
    lazy_greedy,
    leading_directions,
    project,
)
from ssal3d.active.functional.uncertainty import binary_entropy
from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.options import check_range, one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS

LEAST_COST = 1e-6  # boxes; scores of 0 must not make a frame free


@ACTIVE_SAMPLERS.register_module()
class InformationPerBoxSampler(ActiveSampler):
    """Buys, one by one, the frame whose boxes add most information per box that it costs.

    A box is worth the entropy of its score in bits times the weight of its class, and adds less if similar boxes were
    bought before. The pieces are standard: Bayesian D-optimal design, and the lazy greedy
    for submodular functions under a budget (Leskovec et al. 2007). See docs/samplers.md for what the greedy guarantees.

    Args:
        dim: Directions of the box features to keep (principal components).
        sigma: Noise of one look at a box, in lengths of a feature; the lower, the less a second, equal box adds. At 0.5
            a box of worth 1 adds 0.80 nats, the same box again 0.29.
        balance: Exponent of the class weights ``1 / (1 + boxes labelled or bought)``; 0 treats all classes alike.
        cost: Boxes that a frame is expected to cost: its number of ``'predicted'`` boxes, its ``'expected'`` number of
            true boxes (sum of scores: frames full of doubtful boxes become cheap), or ``'none'``: all frames cost 1.
        frame_cost: What opening a frame costs an annotator, in boxes; more makes it open fewer, fuller frames. None:
            frames and boxes cost what they do in the unit of the query's budget.
        reference: Look for what is new to this ``'query'`` alone, or also to the ``'labelled'`` frames, whose
            predicted boxes then count as bought with worth 1.
    """

    required_fields: tuple[str, ...] = ('box_features',)

    def __init__(
        self,
        dim: int = 64,
        sigma: float = 0.5,
        balance: float = 0.5,
        cost: str = 'predicted',
        frame_cost: float | None = None,
        reference: str = 'query',
    ) -> None:
        self.dim = int(check_range('dim', dim, low=1))
        self.sigma = check_range('sigma', sigma, low=1e-3, high=1e3)
        self.balance = check_range('balance', balance, high=10)
        self.cost = one_of('cost', cost, ('predicted', 'expected', 'none'))
        self.frame_cost = None if frame_cost is None else check_range('frame_cost', frame_cost, high=1e6)
        self.reference = one_of('reference', reference, ('query', 'labelled'))
        if reference == 'labelled':
            self.needs_labelled, self.labelled_fields = True, ('box_features',)

    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield frames by information per cost; frames without boxes come last."""
        information = self._information(pool, context)
        costs, predicted = self._costs(pool, context), context.detections.count(context.detections.reliable)
        counts = context.labelled_counts.copy()

        def weigh() -> None:
            information.weights = class_weights(counts, context.labelled_counts, self.balance)

        def ratios(frames: NDArray[np.int64]) -> NDArray[np.float64]:
            return (information.gains(frames) / costs[frames]).round(9)

        weigh()
        filled = np.diff(pool.offsets) > 0
        for frame, ratio in lazy_greedy(ratios, np.flatnonzero(filled)):
            yield Candidate(frame, ratio)
            information.add_frame(frame)
            counts += context.revealed.get(frame, predicted[frame])
            weigh()
        for frame in np.flatnonzero(~filled).tolist():
            yield Candidate(frame, 0.0)

    def _information(self, pool: PoolPredictions, context: QueryContext) -> Information:
        """Return the information at the start: none, or that of the labelled frames."""
        features = finite_features(pool)
        directions = leading_directions(features, self.dim)
        information = Information(
            project(features, directions),
            binary_entropy(pool.scores),
            pool.labels,
            pool.offsets,
            len(pool.classes),
            self.sigma,
        )
        if context.labelled is not None and len(features) and len(context.labelled.scores):
            known = finite_features(context.labelled)
            check_width(known, features, 'box_features have {} values', context.labelled, pool)
            information.add(project(known, directions))
        return information

    def _costs(self, pool: PoolPredictions, context: QueryContext) -> NDArray[np.float64]:
        """Return the ``(F,)`` costs of the frames, > 0."""
        if self.cost == 'none':
            return np.ones(len(pool))
        of_box = pool.scores.astype(np.float64) if self.cost == 'expected' else None
        if self.frame_cost is not None:
            boxes = np.bincount(pool.frame_of_box, of_box, minlength=len(pool))
            return np.maximum(self.frame_cost + boxes, LEAST_COST)
        classes = len(pool.classes)
        cell = pool.frame_of_box * classes + pool.labels
        boxes = np.bincount(cell, of_box, minlength=len(pool) * classes).reshape(len(pool), classes)
        return np.maximum(context.price(boxes), LEAST_COST)


def finite_features(predictions: PoolPredictions) -> NDArray[np.floating]:
    """Return the ``(K, D)`` box features.

    Raises:
        UserError: If one is NaN or infinite; names the frame.
    """
    features: NDArray[np.floating] = predictions['box_features']
    check_box_features(features, predictions.frame_of_box, predictions.frame_ids)
    return features
