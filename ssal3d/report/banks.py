"""What a page says of box banks and pseudo labels: sizes, thresholds, precision, pictures."""

import math
import re
from collections.abc import Iterator

import numpy as np

from ssal3d.bank.generation import CONFIDENT, SOURCES, Generation
from ssal3d.report.experiment import Experiment
from ssal3d.report.html import legend, picture, section, table, text
from ssal3d.report.scenes import QUERY, Layer, View, from_above

SHOWN_FRAMES = 3
PRECISION = re.compile(r'pseudo/(.+)/precision_on_labelled')


def bank_section(experiment: Experiment) -> str:
    """Return the section about box banks; nothing where no stage keeps predicted boxes."""
    parts = list(_parts(experiment))
    meaning = text(
        'Ground truth was bought; confident and false-positive objects were predicted in frames that nobody labelled. '
        'Generations that the run has deleted are not listed.'
    )
    return section('bank', 'Box bank and pseudo labels', [meaning, *parts] if parts else [])


def _parts(experiment: Experiment) -> Iterator[str]:
    for stage in experiment.stages:
        generations = experiment.banks(stage)
        if any((generation.objects['source'] != 0).any() for generation in generations):
            yield text(f'{stage}: objects in the bank', 'h3')
            header = ('generation', 'class', *(source.replace('_', ' ') for source in SOURCES), 'confident from')
            yield table(header, [row for generation in generations for row in _rows(generation)])
            yield from _pictures(experiment, stage, generations[-1])
        yield from _precision(experiment, stage)


def _rows(generation: Generation) -> list[tuple]:
    counts = generation.meta['objects']
    tau = {name: None if math.isinf(value) else value for name, value in generation.tau.items()}
    return [
        (generation.number, name, *(counts[name].get(source, 0) for source in SOURCES), tau[name])
        for name in generation.classes
    ]


def _precision(experiment: Experiment, stage: str) -> Iterator[str]:
    """Yield how many pseudo labels would have been right on labelled frames, as the training logged it."""
    found: dict[str, list[float]] = {}
    for line in experiment.scalars(stage):
        for key, value in line.items():
            match = PRECISION.fullmatch(key)
            if match and isinstance(value, (int, float)) and math.isfinite(value):
                found.setdefault(match[1], []).append(float(value))
    if found:
        yield text(f'{stage}: pseudo labels that were right on labelled frames, %', 'h3')
        rows = [
            (name, 100 * values[0], 100 * float(np.mean(values)), 100 * values[-1]) for name, values in found.items()
        ]
        yield table(('class', 'first', 'mean', 'last'), rows)


def _pictures(experiment: Experiment, stage: str, generation: Generation) -> Iterator[str]:
    """Yield pictures of pseudo labels in frames that nobody labelled: predictions, nothing else."""
    confident = generation.objects[generation.objects['source'] == CONFIDENT]
    rows = np.unique(confident['frame'])
    if not len(rows):
        return
    spread = rows[np.linspace(0, len(rows) - 1, min(SHOWN_FRAMES, len(rows))).round().astype(int)]
    yield text(f'{stage}: confident objects of the last generation as pseudo labels, a sample', 'h3')
    yield '<div class="frames">'
    for row in spread.tolist():
        frame, objects = str(generation.frames['frame_id'][row]), confident[confident['frame'] == row]
        names = [f'{generation.classes[label]} {score:.2f}' for label, score in zip(objects['label'], objects['score'])]
        view = View(experiment.pool.points(frame), [Layer('pseudo label', objects['box'], QUERY, names=names)])
        yield picture(from_above(view), f'Frame {frame}. ', legend=legend(view.colours))
    yield '</div>'
