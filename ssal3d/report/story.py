"""The frank summary: what was run, what was labelled, and whether it helped."""

from collections.abc import Iterator, Sequence

import numpy as np

from ssal3d.report.comparison import UNMEASURED, Group, detectors, difference, first_measure, is_final, spread
from ssal3d.report.experiment import Experiment, sampler_name
from ssal3d.report.html import counts_of, words_of
from ssal3d.report.work_dirs import val_set

CLOSE = 1.0  # points of AP that are called "about the same"


def story(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Return the summary of experiments as questions and answers.

    Args:
        groups: The experiments; the first group is told, the others are compared with it.
    """
    return [
        ('What was run?', _what_was_run(groups[0])),
        ('What was labelled?', _what_was_labelled(groups[0].first)),
        ('Did it help?', _did_it_help(groups[0])),
        *(('Which model goes on?', line) for line in _refused(groups[0].first)),
        *((f'Against {rival.name}?', _against(groups[0], rival)) for rival in groups[1:]),
        ('How sure is that?', _caution(groups)),
    ]


def _what_was_run(some: Group) -> str:
    first, queries = some.first, list(some.first.queries.values())
    samplers = words_of(list(dict.fromkeys(map(sampler_name, queries))))
    rounds = f'{len(queries)} {"query" if len(queries) == 1 else "queries"} by {samplers}' if queries else 'no query'
    seeds = words_of([str(run.card.get('seed')) for run in some.runs])
    runs = 'one run' if len(some.runs) == 1 else f'{len(some.runs)} runs'
    stages = words_of([name.partition('/')[2] or name for names in detectors(first).values() for name in names])
    return (
        f'{some.name}, {runs} (seed {seeds}) with {rounds} on a pool of {first.labels.pool_size} frames. '
        f'Detectors, in the order of training: {stages or "none yet"}.'
    )


def _what_was_labelled(first: Experiment) -> str:
    purchases = first.purchases
    if not purchases:
        return 'Nothing yet.'
    state = first.labels
    parts = []
    for name, step in purchases.items():
        boxes = sum(step['spent_per_class'].values())
        who = 'The start' if name == 'initial' else f'The query of {name.partition("/")[0].replace("_", " ")}'
        parts.append(f'{who}: {step["frames"]} frames with {boxes} boxes ({counts_of(step["spent_per_class"])}).')
    total, share = sum(state.counts.values()), 100 * len(state.frames) / max(state.pool_size, 1)
    line = f'{len(state.frames)} of {state.pool_size} frames ({share:.0f} %) with {total} boxes.'
    return ' '.join((line, *parts))


def _did_it_help(some: Group) -> str:
    measure, names = first_measure([some]), detectors(some.first)
    stages = [stage for group in names.values() for stage in group]
    if not stages:
        return 'No detector is measured yet.'
    before, end = stages[0], stages[-1]
    begun, ended = some.values(before, measure), some.values(end, measure)
    if not begun or not ended:
        return f'Nobody can say: {end if begun else before} has {UNMEASURED}.'
    start = f'the first detector ({before}, {some.first.boxes_of_stage[before]} boxes) has {spread(begun)}'
    if not is_final(end) or end == before:
        return f'Nobody can say yet: {start} mean AP ({measure.title}), and no final detector is measured.'
    finals = [f'{stage} {spread(some.values(stage, measure))}' for stage in list(names.values())[-1]]
    return (
        f'In mean AP ({measure.title}) {start}; with {some.first.boxes_of_stage[end]} boxes the final ones have: '
        f'{words_of(finals)}. From the first to the last one that is {_change(difference(ended, begun))}.'
        f'{_longer(some.first, before, end)} {_by_class(some, before, end)}'
    )


def _longer(first: Experiment, before: str, end: str) -> str:
    """Return that the last detector was trained longer, which helps as well; nothing if it was not or nobody knows."""
    begun, ended = first.training_steps(before), first.training_steps(end)
    if begun is None or ended is None or ended <= begun:
        return ''
    return (
        f' The last one was trained longer, too, {ended} steps against {begun}: not all of the difference need come from '
        'the labels.'
    )


def _refused(first: Experiment) -> Iterator[str]:
    for step in first.promotions:
        if step['refused']:
            yield f'The guard kept {step["promoted"]}: {step["refused"]} fell below it on the val split.'


def _by_class(some: Group, before: str, end: str) -> str:
    measure, changes = first_measure([some]), {}
    for name in some.first.classes:
        values = []
        for run in some.runs:
            precisions = [
                run.average_precision(stage, measure).get(name) for stage in (before, end) if stage in run.stages
            ]
            if len(precisions) == 2 and None not in precisions:
                values.append(precisions[1] - precisions[0])  # type: ignore[operator]
        if values:
            changes[name] = float(np.mean(values))
    return f'By class: {words_of([f"{name} {change:+.1f}" for name, change in changes.items()])}.' if changes else ''


def _against(ours: Group, rival: Group) -> str:
    measure = first_measure([ours])
    last = [[stage for group in detectors(some.first).values() for stage in group][-1:] for some in (ours, rival)]
    if not all(last) or not all(is_final(stage) for (stage,) in last):
        return 'One of them has no final detector yet.'
    values, rival_values = (some.values(stage, measure) for some, (stage,) in zip((ours, rival), last))
    boxes = [some.first.boxes_of_stage[stage] for some, (stage,) in zip((ours, rival), last)]
    warnings, comparable = _unlike(ours.first, rival.first, *(stage for (stage,) in last))
    verdict = f' Ours is {_change(difference(values, rival_values))}.' if comparable and values and rival_values else ''
    return (
        f'{warnings}Its last detector has {spread(rival_values)} with {boxes[1]} boxes, ours {spread(values)} with '
        f'{boxes[0]}.{verdict}'
    )


def _unlike(ours: Experiment, rival: Experiment, stage: str, rival_stage: str) -> tuple[str, bool]:
    """Return warnings of what two experiments do not share, and whether their AP can be compared at all."""
    val_sets = val_set(ours.folder, stage), val_set(rival.folder, rival_stage)
    comparable = None in val_sets or val_sets[0] == val_sets[1]
    warnings = ''
    if not comparable:
        warnings += 'Warning: their val sets differ, so the numbers cannot be compared. '
    if ours.purchases and rival.purchases and ours.labels.pool_sha256 != rival.labels.pool_sha256:
        sizes = ours.labels.pool_size, rival.labels.pool_size
        warnings += f'Warning: their pools differ (ours has {sizes[0]} frames, the other one {sizes[1]}). '
    return warnings, comparable


def _change(points: float) -> str:
    if abs(points) < CLOSE:
        return f'about the same ({points:+.1f} points)'
    return f'{abs(points):.1f} points {"better" if points > 0 else "worse"}'


def _caution(groups: Sequence[Group]) -> str:
    if all(len(some.runs) > 1 for some in groups):
        return 'Numbers in brackets are the lowest and the highest run; with few seeds, ranges that overlap decide nothing.'
    return (
        'Settings with one run and one seed say little. Another seed often moves AP by several points, more on '
        'rare classes; compare runs with several seeds before you believe a small difference.'
    )
