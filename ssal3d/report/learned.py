"""What a page says of detectors and labels: learning curve, AP by class, purchases."""

from collections.abc import Iterator, Sequence

import numpy as np

from ssal3d.report.charts import grouped_bars, learning_curve
from ssal3d.report.comparison import Group, curves, first_measure, is_final, mean_and_range
from ssal3d.report.experiment import MEANING, MEASURES, Experiment, Measure
from ssal3d.report.html import picture, section, table, text


def detector_sections(groups: Sequence[Group]) -> Iterator[str]:
    """Yield the sections about AP."""
    measure, lines = first_measure(groups), curves(groups, first_measure(groups))
    if not lines:
        return
    meaning = text(MEANING[groups[0].first.metric])
    caption = (
        'Mean AP over the annotated boxes that were really paid for. Dashed: the first stage of each training, on labels '
        'alone; solid: the last stage.'
    )
    if any(len(some.runs) > 1 for some in groups):
        caption += ' Lines are means over seeds, bands go from the lowest to the highest run.'
    yield section(
        'curve', 'Learning curve', [picture(learning_curve(lines, f'mean AP ({measure.title}), %'), caption), meaning]
    )
    yield section('classes', 'How good is each detector?', _by_class(groups))


def label_section(experiments: Sequence[Experiment]) -> str:
    """Return the section about what was labelled.

    Args:
        experiments: The first run of each group.
    """
    several, rows = len(experiments) > 1, {}
    for experiment in experiments:
        for name, step in experiment.purchases.items():
            label = f'{name}, {experiment.sampler}' if several and name != 'initial' else name
            counts = [step['spent_per_class'].get(name, 0) for name in experiments[0].classes]
            rows[label] = (step['frames'], sum(counts), *counts)
    if not rows:
        return ''
    classes = experiments[0].classes
    bars = {label: dict(zip(classes, map(float, row[2:]))) for label, row in rows.items()}
    return section(
        'labels',
        'What was labelled?',
        [
            table(('purchase', 'frames', 'boxes', *classes), [(label, *row) for label, row in rows.items()]),
            picture(grouped_bars(bars, 'boxes'), 'Labelled boxes by class and purchase'),
        ],
    )


def promotion_section(experiment: Experiment) -> str:
    """Return the section about what the guard decided; nothing without a guard."""
    rows = [
        (
            step['promoted'],
            step['refused'],
            step['metric'],
            ', '.join(f'{n} {v:.1f}' for n, v in step['values'].items()),
        )
        for step in experiment.promotions
    ]
    header = ('promoted', 'not promoted', 'by', 'values')
    return section('promotions', 'Which model goes on?', [table(header, rows)] if rows else [])


def stage_rows(groups: Sequence[Group]) -> dict[str, tuple[Group, str]]:
    """Return the stages of experiments by what they are called where several are compared.

    A stage that an experiment took over from another one is named once.

    Args:
        groups: The experiments; the first run of each tells its stages.
    """
    rows: dict[str, tuple[Group, str]] = {}
    seen: set[tuple[str, str]] = set()
    for some in groups:
        for stage, step in some.first.stages.items():
            digest = step.get('digest')  # journals of other versions have none
            if digest is not None and (stage, digest) in seen:
                continue
            seen.add((stage, digest or ''))
            label = f'{stage}, {some.first.sampler or some.name}' if len(groups) > 1 and is_final(stage) else stage
            rows[label if label not in rows else f'{stage}, {some.first.folder.name}'] = some, stage
    return rows


def _by_class(groups: Sequence[Group]) -> list[str]:
    measures = MEASURES[groups[0].first.metric]
    names, rows, bars = [*groups[0].first.classes, 'mean'], [], {}
    for label, (some, stage) in stage_rows(groups).items():
        runs = [run for run in some.runs if stage in run.stages]  # one that goes on may lack it
        values = [_of_class(runs, stage, measure) for measure in measures]
        boxes = mean_and_range([run.boxes_of_stage[stage] for run in runs], 0)
        rows.append((label, boxes, *(_shown(by_class[name]) for by_class in values for name in names)))
        bars[label] = {name: float(np.mean(found)) for name, found in values[0].items() if found}
    header = ('stage', 'boxes', *(f'{name} {measure.title}' for measure in measures for name in names))
    chart = picture(grouped_bars(bars, f'AP ({measures[0].title}), %'), f'AP ({measures[0].title}) by class and stage')
    words = 'Means over the runs of a setting, in brackets the lowest and the highest run where they differ.'
    several = [text(words)] if any(len(some.runs) > 1 for some in groups) else []
    return [chart, table(header, rows), *several]


def _of_class(runs: Sequence[Experiment], stage: str, measure: Measure) -> dict[str, list[float]]:
    """Return the AP of a stage in every run by class, %."""
    precisions = [run.average_precision(stage, measure) for run in runs]
    return {
        name: [by_class[name] for by_class in precisions if name in by_class] for name in (*runs[0].classes, 'mean')
    }


def _shown(values: Sequence[float]) -> str | float | None:
    return mean_and_range(values) if len(values) > 1 else next(iter(values), None)
