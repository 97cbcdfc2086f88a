"""The end of an experiment: tables for people, ``metrics.json`` for programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet3d.registry import METRICS
from mmengine.config import Config

from ssal3d.data.label_state import LabelState
from ssal3d.fileio import SCHEMA, write_json
from ssal3d.loop.journal import Journal
from ssal3d.predictions import read_predictions
from ssal3d.terminal import console, print_table

SHOWN = ('bev_R40_moderate', '3d_R40_moderate')


def summarise(
    config: Config, journal: Journal, work_dir: Path, labels: Path, held_out: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """Print time and AP of every stage and the boxes of every purchase; write ``metrics.json``.

    Args:
        config: The experiment's config.
        journal: What was done.
        work_dir: The experiment's folder.
        labels: The last label state.
        held_out: Predictions by stage to measure on the frames that nobody labelled.

    Returns:
        The content of ``metrics.json``.
    """
    state = LabelState.read(labels)
    names = [*config.pool_dataset.metainfo['classes'], 'mean']
    stages = {step['step']: step for step in journal.steps if 'metrics' in step}
    purchases = {step['step']: step for step in journal.steps if 'spent_per_class' in step}
    header = ('stage', 'minutes', *(f'{name} {metric.split("_")[0]}' for metric in SHOWN for name in names))
    print_table(
        'AP (R40, moderate, %) on the val split',
        header,
        [(name, step['seconds'] / 60, *_row(step['metrics'], names)) for name, step in stages.items()],
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
        content['held_out'] = _measure_held_out(config, state, held_out)
        print_table(
            'AP (R40, moderate, %) on the frames of the pool that nobody labelled',
            ('model', *header[2:]),
            [(name, *_row(metrics, names)) for name, metrics in content['held_out'].items()],
        )
    write_json(work_dir / 'metrics.json', content)
    console.print(f'labels: {labels}\njournal: {journal.path}\nmetrics: {work_dir / "metrics.json"}')
    return content


def _measure_held_out(config: Config, state: LabelState, folders: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Return the AP of predictions on the frames that are still unlabelled; the only use of their ground truth."""
    data = config.pool_dataset
    metric = METRICS.build(dict(config.val_evaluator, ann_file=f'{data.data_root}/{data.ann_file}'))
    metric.dataset_meta = {'classes': data.metainfo['classes']}
    labelled, results = set(state.frame_ids), {}
    for name, folder in folders.items():
        pool = read_predictions(folder)
        frames = [frame for frame, frame_id in enumerate(pool.frame_ids) if str(frame_id) not in labelled]
        results[name] = metric.compute_metrics(
            [
                {
                    'frame': str(pool.frame_ids[frame]),
                    'boxes': pool.boxes[pool.boxes_of(frame)],
                    'scores': pool.scores[pool.boxes_of(frame)],
                    'labels': pool.labels[pool.boxes_of(frame)],
                }
                for frame in frames
            ]
        )
    return results


def _row(metrics: Mapping[str, float], names: Sequence[str]) -> list[float | None]:
    flat = {key.removeprefix('kitti/'): value for key, value in metrics.items()}
    return [flat.get(f'{name}_{metric}') for metric in SHOWN for name in names]
