"""Why a query chose each frame, in words: what it was unsure of, what it held already, which classes were wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.detections import Detections
from ssal3d.active.functional import Limits, binary_entropy, frame_mean, inverse_frequency_caps, manual_caps
from ssal3d.active.query.query_file import Query, SelectedFrame
from ssal3d.active.query.selection import aligned_reference, unlabelled_part
from ssal3d.active.sampler import ActiveSampler
from ssal3d.active.samplers.cal import CALSampler
from ssal3d.class_names import per_class
from ssal3d.data.label_state import LabelState
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS
from ssal3d.report.html import words_of

DOUBTFUL = 0.9  # bits of entropy from which a box is doubtful: scores between 0.32 and 0.68


@dataclass(frozen=True)
class Judgement:
    """What a query saw of the frames that it chose from.

    Attributes:
        detections: The boxes that it judged; of an ensemble where it compares two models.
        uncertainty: Mean entropy of the boxes of each frame in bits, by frame id.
    """

    detections: Detections
    uncertainty: Mapping[str, float]

    def doubtful(self, frame: str) -> NDArray[np.floating]:
        """Return the ``(K, 7)`` boxes of a frame that the models are least sure of."""
        found = self.detections.predictions
        span = found.boxes_of(found.index()[frame])
        return found.boxes[span][binary_entropy(found.scores[span]) >= DOUBTFUL]


@dataclass(frozen=True)
class ClassNeed:
    """How far a class was filled when a frame was taken.

    Attributes:
        count: Boxes of the class that the query counted before.
        limit: Boxes at which it is full.
    """

    count: int
    limit: float

    @property
    def full(self) -> bool:
        """Whether further boxes of the class counted less."""
        return self.count >= self.limit


def judge(query: Query, predictions: Mapping[str, PoolPredictions], labels: LabelState) -> Judgement | None:
    """Return what a query saw, None without predictions.

    Args:
        query: The query.
        predictions: Of the round's models by stage, in their order.
        labels: Label state before the query; it leaves out what is labelled.
    """
    if not predictions:
        return None
    told: list[str] = []  # what the query warned of already
    pool = unlabelled_part(list(predictions.values())[-1], labels, told.append)
    sampler: ActiveSampler = ACTIVE_SAMPLERS.build(dict(query.sampler))
    compared = len(predictions) > 1 and sampler.uses_reference
    reference = aligned_reference(next(iter(predictions.values())), pool, told.append) if compared else None
    detections = sampler.detections(pool, reference)
    merged = detections.predictions
    means = frame_mean(binary_entropy(merged.scores), merged.offsets)
    return Judgement(detections, dict(zip(merged.frame_ids.tolist(), means.tolist())))


def class_needs(query: Query, judgement: Judgement, labelled: Mapping[str, int]) -> list[dict[str, ClassNeed]] | None:
    """Return how full each class was when each frame was taken, None if the query has no class limits.

    The counters are those of `collaborative_greedy`, counted again.

    Args:
        query: A query of CAL.
        judgement: What it saw.
        labelled: Boxes by class that were labelled before.
    """
    options, classes = query.sampler, judgement.detections.predictions.classes
    if options['type'] != CALSampler.__name__ or options['caps'] == 'none':
        return None
    if options['caps'] == 'inverse_freq':
        counts = np.array([labelled.get(name, 0) for name in classes], dtype=np.int64)
        caps = inverse_frequency_caps(counts, query.budget, options['u_min'])
    else:
        weights = per_class(options['class_weights'] or 1.0, classes, 'class_weights')
        caps = manual_caps(weights, query.budget)
    added = _counted(query, judgement, options, caps)
    before = np.cumsum([np.zeros(len(classes), dtype=np.int64), *added], axis=0)
    return [
        {name: ClassNeed(int(count), float(cap)) for name, count, cap in zip(classes, counts, caps)}
        for counts in before
    ][:-1]


def _counted(
    query: Query, judgement: Judgement, options: Mapping[str, Any], caps: NDArray[np.floating]
) -> list[NDArray[np.int64]]:
    """Return the ``(C,)`` boxes that each chosen frame added to the counters."""
    found, classes = judgement.detections, judgement.detections.predictions.classes
    if options['counts'] == 'annotated' and query.cost == 'annotated':
        return [np.array([(f.annotated_boxes or {}).get(name, 0) for name in classes]) for f in query.frames]
    s_obj = per_class(options['s_obj'], classes, 's_obj')
    limits = Limits(options['t_sim'], s_obj, caps, np.ones(len(classes)))
    position, pool = found.predictions.index(), found.predictions
    objects = {
        level: found.count(found.reliable & (pool.scores > limits.relaxed_s_obj(level)[pool.labels]))
        for level in {frame.relax_level for frame in query.frames}
    }
    return [objects[frame.relax_level][position[frame.frame_id]] for frame in query.frames]


def reasons(
    query: Query, frame: SelectedFrame, judgement: Judgement | None, need: Mapping[str, ClassNeed] | None
) -> list[str]:
    """Return why a frame was chosen, one sentence each.

    Args:
        query: The query.
        frame: One of its frames.
        judgement: What the query saw; None if nobody knows.
        need: How full the classes were before.
    """
    lines = [] if frame.utility is None else [_unsure(query, frame, judgement)]
    if frame.similarity is not None:
        lines.append(_similar(frame.similarity))
    if need:
        lines.append(_needed(need))
    if frame.relax_level:
        lines.append(_relaxed(query, frame.relax_level))
    return lines or [f'{query.sampler["type"]} ranks nothing: the frame was drawn at random.']


def _unsure(query: Query, frame: SelectedFrame, judgement: Judgement | None) -> str:
    line = f'Utility {frame.utility:.2f}, by which {query.sampler["type"]} ranks'
    if judgement is None or not np.isfinite(judgement.uncertainty.get(frame.frame_id, np.nan)):
        return f'{line}.'
    own, values = judgement.uncertainty[frame.frame_id], np.array(list(judgement.uncertainty.values()))
    place, doubtful = int((values > own).sum()) + 1, len(judgement.doubtful(frame.frame_id))
    return (
        f'{line}. The boxes of the frame have {own:.2f} bits of entropy on average, place {place} of {len(values)} in the '
        f'pool; {doubtful} {"is" if doubtful == 1 else "are"} doubtful.'
    )


def _similar(similarity: float) -> str:
    if not similarity:
        return 'Similarity 0.00: nothing like it had been chosen yet.'
    return f'Similarity {similarity:.2f} (1 is the same) to what had been chosen before.'


def _needed(need: Mapping[str, ClassNeed]) -> str:
    wanted = [f'{name} ({value.count} of {value.limit:.0f})' for name, value in need.items() if not value.full]
    full = [name for name, value in need.items() if value.full]
    line = f'Still wanted: {words_of(wanted)}' if wanted else 'No class was wanted any more'
    return f'{line}; full, so that its uncertainty counts less: {words_of(full)}.' if full else f'{line}.'


def _relaxed(query: Query, level: int) -> str:
    line = (
        f'No frame passed the limits as they stand: they had been relaxed {"once" if level == 1 else f"{level} times"}'
    )
    if 't_sim' not in query.sampler:
        return f'{line}.'
    base = float(query.sampler['t_sim'])
    reached = Limits(base, np.zeros(1), np.zeros(1), np.zeros(1)).relaxed_t_sim(level)
    return f'{line} (similarity below {reached:.2f} instead of {base:.2f}, lower scores count as objects).'
