"""Why a query chose each frame, in words: what it was unsure of, what it held already, which classes were wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional import Limits, binary_entropy, frame_mean
from ssal3d.active.functional.collaborative_greedy import Relaxation
from ssal3d.active.query.query_file import Query, SelectedFrame
from ssal3d.active.query.selection import aligned_reference, unlabelled_part
from ssal3d.active.sampler import ActiveSampler, Detections
from ssal3d.active.samplers.cal import CALSampler
from ssal3d.class_names import per_class
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
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

    @cached_property
    def entropies(self) -> NDArray[np.float64]:
        """The ``(F,)`` values of ``uncertainty``."""
        return np.array(list(self.uncertainty.values()), dtype=np.float64)

    @cached_property
    def _position(self) -> dict[str, int]:
        return self.detections.predictions.index()

    def doubtful(self, frame: str) -> NDArray[np.floating]:
        """Return the ``(K, 7)`` boxes of a frame that the models are least sure of."""
        predictions = self.detections.predictions
        span = predictions.boxes_of(self._position[frame])
        return predictions.boxes[span][binary_entropy(predictions.scores[span]) >= DOUBTFUL]


@dataclass(frozen=True)
class ClassNeed:
    """How far a class was filled when a frame was taken.

    Attributes:
        count: Boxes of the class that the query had counted before.
        limit: Boxes at which it is full; infinite without a limit.
        counts: Whether predicted boxes of the class count at all; not if too many of them are known to be wrong.
    """

    count: int
    limit: float
    counts: bool = True

    @property
    def full(self) -> bool:
        """Whether further boxes of the class counted less."""
        return self.count >= self.limit

    def __str__(self) -> str:
        if not np.isfinite(self.limit):
            return 'without limit'
        return f'{self.count} of {self.limit:.0f}' if self.counts else 'not counted, too often wrong'


def judge(query: Query, predictions: Mapping[str, PoolPredictions], labels: LabelState) -> Judgement | None:
    """Return what a query saw, None without predictions.

    Args:
        query: As read from ``query.json``.
        predictions: Of the round's models by stage, in their order.
        labels: Label state before the query; it leaves out what is labelled.
    """
    if not predictions:
        return None
    told: list[str] = []  # what the query warned of already
    pool = unlabelled_part(list(predictions.values())[-1], labels, told.append)
    try:
        sampler: ActiveSampler = ACTIVE_SAMPLERS.build(dict(query.sampler))
    except UserError:  # a query of another version, whose sampler had other options
        return None
    compared = len(predictions) > 1 and sampler.uses_reference
    reference = aligned_reference(next(iter(predictions.values())), pool, told.append) if compared else None
    detections = sampler.detections(pool, reference)
    merged = detections.predictions
    means = frame_mean(binary_entropy(merged.scores), merged.offsets)
    return Judgement(detections, dict(zip(merged.frame_ids.tolist(), means.tolist())))


def class_needs(query: Query, judgement: Judgement) -> list[dict[str, ClassNeed]] | None:
    """Return how full each class was when each frame was taken, None if the query has no class limits.

    The counters are those of `collaborative_greedy`, counted again.

    Args:
        query: A query of CAL.
        judgement: What it saw.

    Raises:
        UserError: If the counters do not end where the query says that they did.
    """
    facts = query.diagnostics.get('classes', {})
    if query.sampler['type'] != CALSampler.__name__ or not facts or all(f['limit'] is None for f in facts.values()):
        return None
    classes = judgement.detections.predictions.classes
    counted = np.cumsum([np.zeros(len(classes), dtype=np.int64), *_counted(query, judgement)], axis=0)
    for name, count in zip(classes, counted[-1].tolist()):
        if count != facts[name]['counted']:
            raise UserError(
                f'query of round {query.round}: class {name} has {count} counted boxes by the predictions, the query says '
                f'{facts[name]["counted"]}; the prediction folder is not the one that it was made from'
            )
    limits = {name: np.inf if facts[name]['limit'] is None else facts[name]['limit'] for name in classes}
    return [
        {name: ClassNeed(int(count), limits[name], facts[name]['counts']) for name, count in zip(classes, counts)}
        for counts in counted[:-1]
    ]


def _counted(query: Query, judgement: Judgement) -> list[NDArray[np.int64]]:
    """Return the ``(C,)`` boxes that each chosen frame added to the counters."""
    found, classes = judgement.detections, judgement.detections.predictions.classes
    if query.sampler['counts'] == 'annotated' and query.cost == 'annotated':
        return [np.array([(f.annotated_boxes or {}).get(name, 0) for name in classes]) for f in query.frames]
    levels, position, pool = _levels(query, classes), found.predictions.index(), found.predictions
    objects = {
        level: found.count(found.reliable & (pool.scores > levels[level].s_obj[pool.labels]))
        for level in {frame.relax_level for frame in query.frames}
    }
    counts = np.array([query.diagnostics['classes'][name]['counts'] for name in classes])
    return [np.where(counts, objects[frame.relax_level][position[frame.frame_id]], 0) for frame in query.frames]


def _levels(query: Query, classes: Sequence[str]) -> list[Relaxation]:
    """Return the limits of a query of CAL, level by level."""
    options, nothing = query.sampler, np.zeros(len(classes))
    s_obj = per_class(options['s_obj'], classes, 's_obj')
    facts = query.diagnostics.get('classes', {})  # a class may have counted from a higher score
    s_obj = np.array([facts.get(name, {}).get('s_obj', known) for name, known in zip(classes, s_obj)])
    return list(Limits(options['t_sim'], s_obj, nothing, nothing, tuple(options['relax'])).levels())


def reasons(
    query: Query, frame: SelectedFrame, judgement: Judgement | None, need: Mapping[str, ClassNeed] | None
) -> list[str]:
    """Return why a frame was chosen, one sentence each.

    Args:
        query: As read from ``query.json``.
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
        lines.append(_relaxed(query, frame.relax_level, known=judgement is not None))
    return lines or [f'{query.sampler["type"]} ranks nothing: the frame was drawn at random.']


def _unsure(query: Query, frame: SelectedFrame, judgement: Judgement | None) -> str:
    line = f'Utility {frame.utility:.2f}, by which {query.sampler["type"]} ranks'
    if judgement is None or not np.isfinite(judgement.uncertainty.get(frame.frame_id, np.nan)):
        return f'{line}.'
    entropy, values = judgement.uncertainty[frame.frame_id], judgement.entropies
    place, doubtful = int((values > entropy).sum()) + 1, len(judgement.doubtful(frame.frame_id))
    return (
        f'{line}. The boxes of the frame have {entropy:.2f} bits of entropy on average, place {place} of {len(values)} in the '
        f'pool; {doubtful} {"is" if doubtful == 1 else "are"} doubtful.'
    )


def _similar(similarity: float) -> str:
    if not similarity:
        return 'Similarity 0.00: nothing like it had been chosen yet.'
    return f'Similarity {similarity:.2f} (1 is the same) to what had been chosen before.'


def _needed(need: Mapping[str, ClassNeed]) -> str:
    open_classes = [f'{name} ({value})' for name, value in need.items() if not value.full]
    full = [name for name, value in need.items() if value.full]
    line = f'Still wanted: {words_of(open_classes)}' if open_classes else 'No class was wanted any more'
    return f'{line}; full, so that its uncertainty counts less: {words_of(full)}.' if full else f'{line}.'


def _relaxed(query: Query, level: int, known: bool) -> str:
    line = (
        f'No frame passed the limits as they stand; they had been relaxed {"once" if level == 1 else f"{level} times"}'
    )
    if not known or query.sampler['type'] != CALSampler.__name__:
        return f'{line}.'
    classes = list(query.spent_per_class)
    before, now = (_levels(query, classes)[step] for step in (0, level))
    changes = []
    if (now.s_obj < before.s_obj).any():
        changes.append(f'scores above {float(now.s_obj.min()):.2f} count as objects')
    if now.any_class:
        changes.append('no box of a wanted class is needed')
    if now.t_sim > before.t_sim:
        limit = f'below {now.t_sim:.2f} instead of {before.t_sim:.2f}' if np.isfinite(now.t_sim) else 'of any size'
        changes.append(f'similarity {limit}')
    return f'{line}: {words_of(changes)}.'
