"""One page about one or several experiments: self-contained HTML that needs no network."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from ssal3d.active.query.query_file import Query
from ssal3d.active.query.report import class_facts, summary_line
from ssal3d.fileio import atomic_path
from ssal3d.predictions import PoolPredictions
from ssal3d.report.experiment import AP_KEYS, Experiment, read_experiment
from ssal3d.report.pictures import QUERY, REFERENCE, TRUE, birds_eye_view, grouped_bars, histogram

SHOWN_FRAMES = 6
SHOWN_SCORE = 0.3  # predicted boxes below it are not drawn
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #222 }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: .8rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .7rem; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto } figure { margin: .8rem 0 } figcaption { color: #555; font-size: .9em }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: .8rem }
code { background: #f4f4f4; padding: 0 .2rem } .warning { background: #fff4d6; padding: .3rem .6rem }
"""


def write_report(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write the page of experiments; the first one is shown in full, the others are compared with it.

    Args:
        folders: Work dirs of experiments.
        out: The HTML file.

    Returns:
        Its path.

    Raises:
        UserError: If a folder holds no experiment.
    """
    experiments = [read_experiment(folder) for folder in folders]
    first = experiments[0]
    parts = [
        f'<h1>{escape(str(first.card.get("name", first.folder.name)))}</h1>',
        *_overview(experiments),
        *_stages(experiments),
        *_promotions(first),
        *_purchases(experiments),
        *(part for name, query in first.queries.items() for part in _query(first, name, query)),
        *_environment(first),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>ssal3d report</title>'
        f'<style>{STYLE}</style></head><body>{"".join(parts)}</body></html>\n'
    )
    out = Path(out)
    with atomic_path(out) as temporary:
        temporary.write_text(page, encoding='utf-8')
    return out


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table; numbers get one decimal, everything is escaped."""
    head = ''.join(f'<th>{escape(str(name))}</th>' for name in header)
    body = ''.join(f'<tr>{"".join(f"<td>{escape(_cell(value))}</td>" for value in row)}</tr>' for row in rows)
    return f'<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def picture(content: bytes, caption: str) -> str:
    """Return a figure with an embedded PNG."""
    data = base64.b64encode(content).decode()
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def label_of(experiment: Experiment, stage: str, several: bool) -> str:
    """Return how a stage is called where several experiments are compared."""
    group = stage.partition('/')[0]
    return (
        f'{stage}, {experiment.sampler} query'
        if several and group.startswith('final') and experiment.sampler
        else stage
    )


def _overview(experiments: Sequence[Experiment]) -> list[str]:
    first = experiments[0]
    labels, seconds = first.labels, sum(step.get('seconds', 0) for step in first.steps.values())
    boxes = ', '.join(f'{count} {escape(name)}' for name, count in labels.counts.items())
    return [
        f'<p>{len(labels.frames)} of {labels.pool_size} frames of the pool are labelled: {boxes}. '
        f'{len(first.steps)} steps took {seconds / 60:.1f} minutes. Average precision (AP) is measured on the val split, '
        'moderate difficulty, 40 recall positions, in percent.</p>'
    ]


def _stages(experiments: Sequence[Experiment]) -> list[str]:
    several, rows, bars = len(experiments) > 1, [], {}
    seen: set[str] = set()
    for experiment in experiments:
        for name, step in experiment.stages.items():
            label = label_of(experiment, name, several)
            if label in seen:
                continue  # taken over from the first experiment
            seen.add(label)
            found = {kind: experiment.average_precision(name, kind) for kind in AP_KEYS}
            rows.append((label, step['seconds'] / 60, *(v for values in found.values() for v in values.values())))
            bars[label] = found['BEV']
    names = [*experiments[0].classes, 'mean']
    header = ('stage', 'minutes', *(f'{name} {kind}' for kind in AP_KEYS for name in names))
    return [
        '<h2>How good is each detector?</h2>',
        table(header, rows),
        picture(grouped_bars(bars, 'AP (BEV), %'), 'AP in bird’s-eye view by stage and class'),
    ]


def _promotions(experiment: Experiment) -> list[str]:
    """Return what the guard decided; nothing without a guard."""
    decisions = [step for step in experiment.steps.values() if 'promoted' in step]
    if not decisions:
        return []
    values = [', '.join(f'{name} {value:.1f}' for name, value in step['values'].items()) for step in decisions]
    rows = [(step['promoted'], step['refused'], step['metric'], text) for step, text in zip(decisions, values)]
    return ['<h2>Which model goes on?</h2>', table(('promoted', 'not promoted', 'by', 'values'), rows)]


def _purchases(experiments: Sequence[Experiment]) -> list[str]:
    several, rows = len(experiments) > 1, {}
    for experiment in experiments:
        for name, step in experiment.purchases.items():
            label = f'{name}, {experiment.sampler}' if several and name != 'initial' else name
            rows[label] = (step['frames'], step['spent'], *step['spent_per_class'].values())
    classes = experiments[0].classes
    bars = {label: dict(zip(classes, row[2:])) for label, row in rows.items()}
    return [
        '<h2>What was labelled?</h2>',
        table(('purchase', 'frames', 'boxes', *classes), [(label, *row) for label, row in rows.items()]),
        picture(grouped_bars(bars, 'boxes'), 'Labelled boxes by class and purchase'),
    ]


def _query(experiment: Experiment, step: str, query: Query) -> list[str]:
    predictions = experiment.predictions(step.partition('/')[0])
    last = list(predictions.values())[-1] if predictions else None
    parts = [f'<h2>Why these frames? ({escape(step)}, {escape(str(query.sampler["type"]))})</h2>']
    parts += [f'<p>{escape(line)}</p>' for line in (summary_line(query), *class_facts(query))]
    parts += [f'<p class="warning">{escape(warning)}</p>' for warning in query.warnings]
    if last is not None:
        counts = np.bincount(last.frame_of_box[last.scores > SHOWN_SCORE], minlength=len(last))
        position = last.index()
        chosen = [float(counts[position[name]]) for name in query.frame_ids if name in position]
        caption = f'Predicted boxes a frame above a score of {SHOWN_SCORE}: pool and chosen frames'
        parts.append(picture(histogram(counts.astype(float).tolist(), chosen, 'predicted boxes in a frame'), caption))
    header = ('rank', 'frame', 'utility', 'similarity', 'relaxed', 'predicted', 'annotated')
    rows = [
        (
            rank,
            f.frame_id,
            f.utility,
            f.similarity,
            f.relax_level,
            _counts(f.predicted_boxes),
            _counts(f.annotated_boxes),
        )
        for rank, f in enumerate(query.frames)
    ]
    parts.append(table(header, rows))
    shown = query.frame_ids[:SHOWN_FRAMES]
    return [*parts, '<div class="frames">', *_frames(experiment, shown, predictions), '</div>']


def _frames(experiment: Experiment, frames: Sequence[str], predictions: Mapping[str, PoolPredictions]) -> list[str]:
    """Return pictures of frames: what both models predicted before, what was true once labelled."""
    parts = []
    for name, (boxes, labels) in zip(frames, experiment.annotated(frames)):
        drawn = {'true': (boxes[labels >= 0], TRUE)}
        for colour, (stage, found) in zip((REFERENCE, QUERY), predictions.items()):
            span = found.boxes_of(found.index()[name]) if name in found.index() else slice(0, 0)
            drawn[stage] = (found.boxes[span][found.scores[span] > SHOWN_SCORE], colour)
        caption = f'Frame {name}: boxes predicted before it was labelled, true boxes'
        parts.append(picture(birds_eye_view(experiment.points(name), drawn, f'frame {name}'), caption))
    return parts


def _environment(experiment: Experiment) -> list[str]:
    versions = experiment.card.get('versions', {})
    return [
        '<h2>Repeat it</h2>',
        f'<p><code>{escape(str(experiment.card.get("command", "")))}</code></p>',
        table(('package', 'version'), versions.items()),
    ]


def _counts(boxes: Mapping[str, int] | None) -> str:
    return ', '.join(f'{count} {name}' for name, count in (boxes or {}).items() if count) or '–'


def _cell(value: object) -> str:
    if value is None:
        return '–'
    return f'{value:.2f}' if isinstance(value, float) else str(value)
