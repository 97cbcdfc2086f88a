"""CAL, Collaborative Active Learning: uncertain, diverse and class-balanced frames.

The uncertainty comes from two models (`ensemble`), diversity from box features (`diversity`), class balance from limits
per class; `collaborative_greedy` puts them together.

Source: S-SSAL (Wang et al. 2025, arXiv 2501.15449), Eq. 4 to 6 and Algorithm 1; see docs/deviations.md#cal.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.checks import check_width
from ssal3d.active.functional.chunks import map_chunks
from ssal3d.active.functional.collaborative_greedy import (
    RELAXABLE,
    ClassCounters,
    CountPrecision,
    Limits,
    collaborative_greedy,
    count_precision,
    inverse_frequency_caps,
    manual_caps,
)
from ssal3d.active.functional.diversity import Similarity, unit_rows
from ssal3d.active.functional.ensemble import merge_predictions, suppress
from ssal3d.active.functional.uncertainty import binary_entropy, softmax_entropy
from ssal3d.active.sampler import ActiveSampler, Candidate, Detections, QueryContext
from ssal3d.class_names import per_class
from ssal3d.errors import UserError, unknown_name
from ssal3d.options import check_range, one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS, STAGES

ByClass = Mapping[str, float]


@ACTIVE_SAMPLERS.register_module()
class CALSampler(ActiveSampler):
    """Selects what the semi-supervised model is unsure of, avoiding what is similar to the selection or frequent.

    Where the paper and its code differ and both make sense, there is an option (docs/deviations.md#cal): ``entropy``,
    ``div``, ``cluster``, ``caps``, ``counts``, ``div_reference``. Features are those of the query model's own boxes,
    even where the ensemble replaces or adds boxes.

    A class whose predicted boxes are mostly phantoms would fill its counter without a single real object. Hence only
    boxes with scores that are known to be precise enough on the labelled frames count, where there are predictions of
    them by the same models; the query's diagnostics say which scores that are, which classes have none, and why.

    Args:
        t_sim: Similarity to the selection from which a frame is rejected.
        s_rep: Score above which a box of the reference model may replace one of the query model.
        s_add: Score above which a box of the reference model may be added; one value or one by class.
        iou_ens: BEV IoU above which boxes of the two models show the same object.
        iou_rel: BEV IoU with a box of the reference model above which a box is reliable.
        s_obj: Score above which a reliable box counts as an object; one value or one by class.
        w_full: Weight of the uncertainty of classes that reached their limit; one value or one by class.
        caps: Class limits: ``'inverse_freq'`` (Eq. 6, from labelled counts), ``'manual'`` (from ``class_weights``) or
            ``'none'``.
        class_weights: Weights by class for manual limits; equal by default.
        u_min: Lowest limit of a class with Eq. 6; by default ``max(1, 0.1 budget / C)``.
        counts: What fills the class counters: ``'reliable'`` predicted boxes, or the ``'annotated'`` ones of frames
            already bought.
        entropy: ``'binary_score'`` of the final score, ``'rpn_softmax'`` (Eq. 4 on ``class_logits``), or ``'none'``:
            frames in a seeded random order (rows of Table 5 without ensemble entropy).
        div: Similarity to the ``'union'`` of all selected features (Eq. 5) or the most similar selected frame
            (``'per_frame'``, released code).
        div_reference: Similarity to this ``'query'`` alone, or also to the ``'labelled'`` frames.
        cluster: Number of representative features to keep of the selection; None keeps all.
        ensemble_nms: BEV IoU above which only the box with the highest score of one or both models is left, whatever
            the classes: one object, one box. For detectors that suppress class by class; None for none.
        relax: Which limits are relaxed, one after another, when no frame passes them: ``'s_obj'``, down to its half,
            then ``'classes'``, the demand for a box of a class below its limit, at last ``'t_sim'``.
        min_precision: Share of a class's counted boxes that must have a counterpart among the annotated boxes of its
            frame. Where fewer have, ``s_obj`` of the class rises until they do; a class without such a score does not
            fill its counter. 0: ``s_obj`` stays, all classes count (paper).
        ensemble_after: Stages after which an experiment merges the query model with the round's first one, by their
            class, e.g. ``['CPSPStage']``; None: after any.
    """

    required_fields: tuple[str, ...] = ('box_features',)
    stored_fields = ('box_features',)
    uses_reference = True
    uses_labelled = True

    def __init__(
        self,
        t_sim: float = 0.9,
        s_rep: float = 0.5,
        s_add: float | ByClass = 0.8,
        iou_ens: float = 0.5,
        iou_rel: float = 0.2,
        s_obj: float | ByClass = 0.3,
        w_full: float | ByClass = 0.1,
        caps: str = 'inverse_freq',
        class_weights: ByClass | None = None,
        u_min: float | None = None,
        counts: str = 'reliable',
        entropy: str = 'binary_score',
        div: str = 'union',
        div_reference: str = 'query',
        cluster: int | None = None,
        ensemble_nms: float | None = None,
        relax: Sequence[str] = RELAXABLE,
        min_precision: float = 0.5,
        ensemble_after: Sequence[str] | None = None,
    ) -> None:
        if isinstance(ensemble_after, str):
            raise UserError(f'ensemble_after: found {ensemble_after!r}, expected a list of classes of stages, or None')
        for name in ensemble_after or ():
            if STAGES.get(name) is None:
                raise unknown_name('stage in ensemble_after', name, sorted(STAGES.module_dict))
        self.ensemble_after = None if ensemble_after is None else list(ensemble_after)
        self.t_sim = check_range('t_sim', t_sim, low=1e-6)
        if isinstance(relax, bool | str):
            raise UserError(f'relax: found {relax!r}, expected a list of names out of {", ".join(RELAXABLE)}')
        self.relax = [one_of('relax', name, RELAXABLE) for name in relax]
        self.min_precision = check_range('min_precision', min_precision, high=1)
        self.s_rep, self.s_add, self.s_obj = check_range('s_rep', s_rep, high=1), s_add, s_obj
        self.iou_ens, self.iou_rel = check_range('iou_ens', iou_ens, high=1), check_range('iou_rel', iou_rel, high=1)
        self.ensemble_nms = None if ensemble_nms is None else check_range('ensemble_nms', ensemble_nms, high=1)
        self.w_full, self.class_weights, self.u_min = w_full, class_weights, u_min
        self.caps = one_of('caps', caps, ('inverse_freq', 'manual', 'none'))
        self.counts = one_of('counts', counts, ('reliable', 'annotated'))
        self.entropy = one_of('entropy', entropy, ('binary_score', 'rpn_softmax', 'none'))
        self.div = one_of('div', div, ('union', 'per_frame'))
        self.div_reference = one_of('div_reference', div_reference, ('query', 'labelled'))
        self.cluster = None if cluster is None else int(check_range('cluster', cluster, low=1))
        if self.cluster and div != 'union':
            raise UserError(f"cluster: found {cluster} with div='{div}', expected div='union'; clusters mix frames")
        if div_reference == 'labelled':
            self.needs_labelled, self.labelled_fields = True, ('box_features',)
        if entropy == 'rpn_softmax':
            self.required_fields = (*type(self).required_fields, 'class_logits')
            self.reference_fields = ('class_logits',)

    def reads_reference(self, stage: str) -> bool:
        """Return whether ``ensemble_after`` names the stage that trained the query model."""
        return self.ensemble_after is None or stage in self.ensemble_after

    def detections(self, pool: PoolPredictions, reference: PoolPredictions | None) -> Detections:
        """Return the ensemble of both models; without a reference model the pool's own boxes, all reliable."""
        detections = Detections.of(pool)
        if reference is not None:
            s_add = per_class(self.s_add, pool.classes, 's_add')
            detections = merge_predictions(pool, reference, self.s_rep, s_add, self.iou_ens, self.iou_rel)
        return detections if self.ensemble_nms is None else suppress(detections, self.ensemble_nms)

    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield frames in the order of `collaborative_greedy`."""
        classes = context.classes
        annotated = self._counts_annotated(context)
        s_obj = per_class(self.s_obj, classes, 's_obj')
        precision = None if annotated else counted_precision(context, s_obj, self.min_precision)
        limits = Limits(
            self.t_sim,
            s_obj if precision is None else precision.s_obj,
            self._caps(context),
            per_class(self.w_full, classes, 'w_full'),
            tuple(self.relax),
            None if precision is None else ~(precision.of_class < self.min_precision),  # an unknown one is NaN
        )
        counters = ClassCounters(limits, context.revealed.get if annotated else lambda frame: None)
        context.diagnostics['classes'] = partial(_class_facts, context, limits, counters, precision)
        base = self._base_uncertainty(context)
        similarity = self._similarity(pool, context.labelled)
        yield from collaborative_greedy(base, context.detections, similarity, limits, counters)

    def _base_uncertainty(self, context: QueryContext) -> NDArray[np.float64]:
        merged = context.detections.predictions
        if self.entropy == 'none':
            return np.array([context.rng.random() for _ in range(len(merged))])[merged.frame_of_box]
        if self.entropy == 'binary_score':
            size = 2**18  # boxes at a time: bounds memory
            return np.concatenate(map_chunks(lambda a, b: binary_entropy(merged.scores[a:b]), len(merged.scores), size))
        return softmax_entropy(merged['class_logits']) / (np.log(2) * len(merged.classes))  # Eq. 4, in bits

    def _caps(self, context: QueryContext) -> NDArray[np.float64]:
        if self.caps == 'none':
            return np.full(len(context.classes), np.inf)
        if self.caps == 'inverse_freq':
            return inverse_frequency_caps(context.labelled_counts, context.budget, self.u_min)
        weights = per_class(1.0 if self.class_weights is None else self.class_weights, context.classes, 'class_weights')
        if (weights < 0).any() or not weights.sum() > 0:
            raise UserError(f'class_weights: found {self.class_weights}, expected weights >= 0 that are not all 0')
        if abs(weights.sum() - len(weights)) > 1e-6:
            context.warn(
                f'class_weights sum to {weights.sum():g}; scaled to sum to {len(weights)}, the number of classes'
            )
        return manual_caps(weights, context.budget)

    def _counts_annotated(self, context: QueryContext) -> bool:
        if self.counts == 'annotated' and context.charged != 'annotated':
            context.warn("counts='annotated' needs annotated counts; the class counters use reliable predicted boxes")
            return False
        return self.counts == 'annotated'

    def _similarity(self, pool: PoolPredictions, labelled: PoolPredictions | None) -> Similarity:
        features = pool['box_features']
        similarity = Similarity(features, pool.offsets, pool.frame_ids, self.div, self.cluster)
        if self.needs_labelled and labelled is not None:
            known = np.asarray(labelled['box_features'])
            check_width(known, features, 'box_features have {} values', labelled, pool)
            for frame in range(len(labelled)):
                similarity.add_scene(unit_rows(known[labelled.boxes_of(frame)]))
        return similarity


def counted_precision(context: QueryContext, s_obj: NDArray[np.floating], least: float) -> CountPrecision | None:
    """Return how many of the boxes that fill the class counters are real on the labelled frames; None if unknown."""
    if context.known is None or context.known_counts is None:
        return None
    boxes, seen = context.known.predictions, np.flatnonzero(context.known.reliable)
    return count_precision(
        boxes.scores[seen], boxes.labels[seen], boxes.frame_of_box[seen], context.known_counts, s_obj, least
    )


def _class_facts(
    context: QueryContext, limits: Limits, counters: ClassCounters, precision: CountPrecision | None
) -> dict[str, Any]:
    """Return, by class, its limit, how far it is filled, and whether its predicted boxes count and why not."""
    facts: dict[str, Any] = {}
    counted = counters.counted(context.revealed)
    for label, name in enumerate(context.classes):
        cap, share = float(limits.caps[label]), None if precision is None else float(precision.of_class[label])
        facts[name] = {
            'limit': cap if np.isfinite(cap) else None,
            'counted': int(counted[label]),
            'full': bool(counters.full[label]),
            'counts': limits.counts is None or bool(limits.counts[label]),
            'precision': None if share is None or np.isnan(share) else round(share, 4),
            'labelled_boxes': 0 if precision is None else int(precision.boxes[label]),
            's_obj': float(limits.s_obj[label]),  # exact: the page counts again
        }
    return facts
