"""The end of an experiment: tables for people, ``metrics.json`` for programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssal3d.data.label_state import LabelState
from ssal3d.fileio import SCHEMA, write_json
from ssal3d.loop.held_out import measure_predictions, measure_pseudo_labels
from ssal3d.loop.journal import Journal
from ssal3d.stages.supervised import FrameBoxes
from ssal3d.terminal import console, print_table

# What each metric's table shows, by the prefix of its keys: title, and the end of the keys by the name of the column.
SHOWN = {
    'kitti': ('AP (R40, moderate, %)', {'bev': 'bev_R40_moderate', '3d': '3d_R40_moderate'}),
    'lidar': ('AP (%) by centre distance and by 3D overlap', {'centre': 'centre', '3d': '3d'}),
}


def summarise(
    config: Config,
    journal: Journal,
    work_dir: Path,
    labels: Path,
    held_out: Mapping[str, Path] | None = None,
    pseudo_labels: Mapping[str, FrameBoxes] | None = None,
) -> dict[str, Any]:
    """Print time and AP of every stage and the boxes of every purchase; write ``metrics.json``.

    Args:
        config: The experiment's config.
        journal: What was done.
        work_dir: The experiment's folder.
        labels: The last label state.
        held_out: Predictions by stage to measure on the frames that nobody labelled.
        pseudo_labels: What stages took for labels of these frames, to be measured, too.

    Returns:
        The content of ``metrics.json``.
    """
    state = LabelState.read(labels)
    names = [*config.pool_dataset.metainfo['classes'], 'mean']
    stages = {step['step']: step for step in journal.steps if 'metrics' in step}
    purchases = {step['step']: step for step in journal.steps if 'spent_per_class' in step}
    prefix = next((key.partition('/')[0] for step in stages.values() for key in step['metrics']), 'kitti')
    title, shown = SHOWN.get(prefix, SHOWN['kitti'])
    header = ('stage', 'minutes', *(f'{name} {column}' for column in shown for name in names))
    print_table(
        f'{title} on the val split',
        header,
        [(name, step['seconds'] / 60, *_row(step['metrics'], names, shown)) for name, step in stages.items()],
    )
    print_table(
        f'labels: {len(state.frames)} of {state.pool_size} frames',
        ('purchase', 'frames', 'boxes', *state.classes),
        [(n, s['frames'], s['spent'], *(s['spent_per_class'][c] for c in state.classes)) for n, s in purchases.items()],
    )
    content: dict[str, Any] = {
        'schema': SCHEMA,
        'stages': {name: {'seconds': step['seconds'], **step['metrics']} for name, step in stages.items()},
        'purchases': {
            name: {key: step[key] for key in ('frames', 'spent', 'spent_per_class', 'stopped')}
            for name, step in purchases.items()
        },
        'labelled': {'frames': len(state.frames), 'boxes': state.counts},
    }
    if held_out:
        content['held_out'] = measure_predictions(config, state, held_out)
        print_table(
            f'{title} on the frames of the pool that nobody labelled',
            ('model', *header[2:]),
            [(name, *_row(metrics, names, shown)) for name, metrics in content['held_out'].items()],
        )
    if pseudo_labels:
        content['pseudo_labels'] = measured = measure_pseudo_labels(config, state, pseudo_labels)
        print_table(
            'pseudo labels on the frames of the pool that nobody labelled',
            ('stage', 'class', 'number', 'right, %', 'objects covered, %'),
            [(stage, name, *row.values()) for stage, found in measured.items() for name, row in found.items()],
        )
    write_json(work_dir / 'metrics.json', content)
    console.print(f'labels: {labels}\njournal: {journal.path}\nmetrics: {work_dir / "metrics.json"}')
    return content


def _row(metrics: Mapping[str, float], names: Sequence[str], shown: Mapping[str, str]) -> list[float | None]:
    flat = {key.rpartition('/')[2]: value for key, value in metrics.items()}
    return [flat.get(f'{name}_{metric}') for metric in shown.values() for name in names]
