"""What a page shows of a query: why each frame was chosen, pictures of them, and the pool beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.query.query_file import Query, SelectedFrame
from ssal3d.active.query.report import class_facts, summary_line
from ssal3d.data.label_state import LabelState
from ssal3d.predictions import PoolPredictions
from ssal3d.report.charts import histogram
from ssal3d.report.experiment import Experiment, first_and_last, sampler_name
from ssal3d.report.html import counts_of, details, legend, picture, section, table, text
from ssal3d.report.reasons import ClassNeed, Judgement, class_needs, judge, reasons
from ssal3d.report.scenes import View, from_above, from_camera
from ssal3d.report.views import SHOWN_SCORE, frame_view, predicted_layers

SHOWN_FRAMES = 6
SHOWN_IN_MONTAGE = 6
THUMBNAIL = 2.2  # inches


@dataclass(frozen=True)
class Choice:
    """A query with what it saw and what was bought.

    Attributes:
        experiment: Where it was made.
        step: Its name in the journal, e.g. ``'round_1/query'``.
        query: As read from ``query.json``.
        predictions: What the round's models had predicted before, by stage.
    """

    experiment: Experiment
    step: str
    query: Query
    predictions: Mapping[str, PoolPredictions]

    @classmethod
    def of(cls, experiment: Experiment, step: str) -> 'Choice':
        """Read a query of an experiment and the predictions that it saw."""
        return cls(experiment, step, experiment.queries[step], experiment.predictions(step))

    @cached_property
    def before(self) -> LabelState:
        """What was labelled before the query."""
        state = self.experiment.labels
        return replace(state, frames=tuple(frame for frame in state.frames if frame.round < self.query.round))

    @cached_property
    def judgement(self) -> Judgement | None:
        """What the query saw."""
        return judge(self.query, self.predictions, self.before)

    @cached_property
    def needs(self) -> Sequence[Mapping[str, ClassNeed] | None]:
        """How full each class was when each frame was taken."""
        needs = self.judgement and class_needs(self.query, self.judgement)
        return needs or [None] * len(self.query.frames)

    @property
    def shown(self) -> list[str]:
        """Frames that pictures are shown of."""
        return list(self.query.frame_ids[:SHOWN_FRAMES])

    def view(self, frame: str) -> View:
        """Return what is drawn of a frame: predictions, and what is true if and only if it was bought.

        Args:
            frame: Frame id.
        """
        doubtful = None
        if self.judgement is not None and frame in self.judgement.uncertainty:
            doubtful = self.judgement.doubtful(frame)
        compared = {stage: self.predictions[stage] for stage in first_and_last(self.predictions)}
        return frame_view(self.experiment.pool, self.experiment.labels, compared, frame, doubtful=doubtful)


def query_section(choice: Choice) -> str:
    """Return the section about a query."""
    query, frames = choice.query, list(zip(choice.query.frames, choice.needs))
    header = ('rank', 'frame', 'utility', 'similarity', 'relaxed', 'predicted', 'annotated')
    rows = [(rank, *_row(frame)) for rank, frame in enumerate(query.frames)]
    parts = [text(line) for line in (f'{summary_line(query)}.', *class_facts(query))]
    parts += [text(warning, name='warning') for warning in query.warnings]
    parts += _uncertainty(choice)
    if choice.shown:
        words = (
            f'The first {len(choice.shown)} of {len(frames)} chosen frames from above, the sensor at 0, ahead to the right. '
            f'Predicted boxes have a score above {SHOWN_SCORE:g} and were predicted before anybody labelled the frame; a '
            'dotted mark shows boxes that the models were least sure of.'
        )
        parts += [
            text(words),
            '<div class="frames">',
            *(_card(choice, *frame) for frame in frames[:SHOWN_FRAMES]),
            '</div>',
        ]
    parts += _montage(choice)
    parts.append(details(f'All {len(frames)} chosen frames as a table', [table(header, rows)]))
    reason_rows = ((f.frame_id, ' '.join(reasons(query, f, choice.judgement, need))) for f, need in frames)
    parts.append(details('The reasons for all of them in words', (text(f'{i}: {words}') for i, words in reason_rows)))
    name = choice.step.replace('/', '-')
    return section(name, f'Why these frames? {choice.step}, {sampler_name(query)}', parts)


def _row(frame: SelectedFrame) -> tuple:
    counts = counts_of(frame.predicted_boxes), counts_of(frame.annotated_boxes)
    return frame.frame_id, frame.utility, frame.similarity, frame.relax_level, *counts


def _card(choice: Choice, frame: SelectedFrame, need: Mapping[str, ClassNeed] | None) -> str:
    view, name = choice.view(frame.frame_id), frame.frame_id
    parts = [text(f'Frame {name}', 'h3')]
    parts.append(picture(from_above(view), f'Frame {name} from above. ', legend=legend(view.colours)))
    image = choice.experiment.pool.image(name)
    if image is not None:
        parts.append(picture(from_camera(view, image), f'Frame {name}, camera'))
    annotated = '' if frame.annotated_boxes is None else f'; bought: {counts_of(frame.annotated_boxes)}'
    lines = reasons(choice.query, frame, choice.judgement, need)
    lines.append(f'Predicted: {counts_of(frame.predicted_boxes)}{annotated}.')
    words = ''.join(text(line, 'li') for line in lines)
    return f'<article>{"".join(parts)}<ul>{words}</ul></article>'


def _uncertainty(choice: Choice) -> list[str]:
    if choice.judgement is None:
        return [text('What the query saw is not known: no predictions of this round, or a query of another version.')]
    values = {name: value for name, value in choice.judgement.uncertainty.items() if np.isfinite(value)}
    chosen = [values[name] for name in choice.query.frame_ids if name in values]
    if not chosen:
        return []
    caption = (
        f'How unsure the models were of a frame: entropy of a box, averaged over its boxes. Median of the '
        f'pool {np.median(list(values.values())):.2f}, of the chosen frames {np.median(chosen):.2f}.'
    )
    return [picture(histogram(list(values.values()), chosen, 'mean entropy of the boxes, bits'), caption)]


def _montage(choice: Choice) -> list[str]:
    """Return chosen frames beside frames that chance would have chosen, with predictions alone."""
    if not choice.predictions:
        return []
    bought = set(choice.experiment.labels.frame_ids)
    others = [name for name in list(choice.predictions.values())[-1].frame_ids.tolist() if name not in bought]
    rng = np.random.default_rng(choice.query.seed)
    drawn: NDArray = rng.permutation(len(others))[:SHOWN_IN_MONTAGE]
    parts = [text('Chosen, and what chance would have brought: predictions of the last model alone', 'h3')]
    rows = {'chosen': list(choice.query.frame_ids[:SHOWN_IN_MONTAGE]), 'random': [others[k] for k in sorted(drawn)]}
    last = dict(list(choice.predictions.items())[-1:])
    for kind, names in rows.items():
        parts.append(text(f'{kind} frames' if kind == 'chosen' else 'random frames of the pool, not bought', 'h4'))
        views = (
            (name, View(choice.experiment.pool.points(name), list(predicted_layers(last, name)))) for name in names
        )
        pictures = (picture(from_above(view, width=THUMBNAIL), name) for name, view in views)
        parts += ['<div class="montage">', *pictures, '</div>']
    return parts
