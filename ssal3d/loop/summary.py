"""The end of an experiment: tables for people, ``metrics.json`` for programs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssal3d.class_names import TYPE_OF_CLASS
from ssal3d.data.label_state import LabelState
from ssal3d.fileio import SCHEMA, write_json
from ssal3d.loop.guard import promotion_line
from ssal3d.loop.journal import Journal
from ssal3d.loop.trained_model import TrainedModel
from ssal3d.terminal import console, print_table

METRICS = 'metrics.json'
# What each metric's table shows, by the prefix of its keys: title, and the end of the keys by the name of the column.
_WAYMO = 'waymo'  # its keys name types, and its values are shares
SHOWN = {
    _WAYMO: ('AP and APH (level 2, %)', {'AP': 'L2_AP', 'APH': 'L2_APH'}),
    'kitti': ('AP (R40, moderate, %)', {'bev': 'bev_R40_moderate', '3d': '3d_R40_moderate'}),
    'lidar': ('AP (%) by centre distance and by 3D overlap', {'centre': 'centre', '3d': '3d'}),
}


def summarise(
    config: Config,
    journal: Journal,
    work_dir: Path,
    labels: Path,
    models: Sequence[TrainedModel] = (),
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Print time and AP of every stage and the boxes of every purchase; write ``metrics.json``, complete or not at all.

    Args:
        config: The experiment's config.
        journal: What was done.
        work_dir: The experiment's folder.
        labels: The last label state.
        models: What was trained, for the learning curve of final models after every round.
        measured: What hooks have measured at the end: ``held_out``, metrics by model on the frames that nobody
            labelled, and ``pseudo_labels``, their number and quality by stage and class.

    Returns:
        The content of ``metrics.json``.
    """
    state = LabelState.read(labels)
    names = [*config.pool_dataset.metainfo['classes'], 'mean']
    stages = {step['step']: step for step in journal.steps if 'metrics' in step}
    purchases = {step['step']: step for step in journal.steps if 'spent_per_class' in step}
    promotions = [step for step in journal.steps if 'promoted' in step]
    title, shown = _shown(step['metrics'] for step in stages.values())
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
    curve = learning_curve(models)
    if curve:
        content['curve'] = curve
        print_table(
            f'{title} on the val split by what was labelled',
            ('model', 'frames', 'boxes', *header[2:]),
            [(p['model'], p['frames'], p['boxes'], *_row(p['metrics'], names, shown)) for p in curve],
        )
    if promotions:
        content['promotions'] = [
            {key: step[key] for key in ('promoted', 'refused', 'metric', 'values')} for step in promotions
        ]
        for step in promotions:
            console.print(promotion_line(step))
    content |= measured or {}
    _print_held_out(content.get('held_out', {}), content.get('pseudo_labels', {}), names)
    write_json(work_dir / METRICS, content)
    console.print(f'labels: {labels}\njournal: {journal.path}\nmetrics: {work_dir / METRICS}')
    return content


def learning_curve(models: Sequence[TrainedModel]) -> list[dict[str, Any]]:
    """Return the metrics of final models by the number of labelled frames and boxes; empty with one round of them.

    Args:
        models: What was trained.
    """
    final = [model for model in models if model.is_last and model.group.partition('_')[0] == 'final']
    if len({model.group for model in final}) < 2:
        return []
    states = {model.name: LabelState.read(model.inputs.labels) for model in final}
    return [
        {
            'model': model.name,
            'frames': len(states[model.name].frames),
            'boxes': sum(states[model.name].counts.values()),
            'metrics': dict(model.metrics),
        }
        for model in final
    ]


def _print_held_out(
    metrics: Mapping[str, Mapping[str, float]],
    pseudo_labels: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    names: Sequence[str],
) -> None:
    if metrics:
        title, shown = _shown(metrics.values())
        print_table(
            f'{title} on the frames of the pool that nobody labelled',
            ('model', *(f'{name} {column}' for column in shown for name in names)),
            [(name, *_row(found, names, shown)) for name, found in metrics.items()],
        )
    if pseudo_labels:
        print_table(
            'pseudo labels on the frames of the pool that nobody labelled',
            ('stage', 'class', 'number', 'right, %', 'objects covered, %'),
            [(stage, name, *row.values()) for stage, found in pseudo_labels.items() for name, row in found.items()],
        )


def _shown(metrics: Iterable[Mapping[str, float]]) -> tuple[str, Mapping[str, str]]:
    """Return title and columns for the kind of metrics that a table shows."""
    prefix = next((key.partition('/')[0] for found in metrics for key in found), 'kitti')
    return SHOWN.get(prefix, SHOWN['kitti'])


def _row(metrics: Mapping[str, float], names: Sequence[str], shown: Mapping[str, str]) -> list[float | None]:
    flat = {key.rpartition('/')[2]: value for key, value in metrics.items()}
    if shown is SHOWN[_WAYMO][1]:
        flat = {key: 100 * value for key, value in flat.items()}
        names = [TYPE_OF_CLASS.get(name, name) for name in names]
    return [flat.get(f'{name}_{metric}') for metric in shown.values() for name in names]
