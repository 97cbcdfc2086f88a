"""What an experiment tells while it runs, in lines for the terminal."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssal3d.active.query.query_file import Query
from ssal3d.active.query.report import class_table, describe
from ssal3d.data.label_state import LabelState
from ssal3d.log import tell
from ssal3d.terminal import print_table

SHOWN = {'bev': 'bev_R40_moderate', '3D': '3d_R40_moderate'}  # what one line can say of an evaluation


def stage_line(name: str, kind: str, labels: Path, start: str | None) -> str:
    """Return what a stage is about to learn from.

    Args:
        name: Step name.
        kind: Class of the stage.
        labels: Its label state.
        start: Stage whose weights it starts from; None for random weights.
    """
    state = LabelState.read(labels)
    boxes = ', '.join(f'{count} {name}' for name, count in state.counts.items())
    origin = f'from the weights of {start}' if start else 'from random weights'
    return f'{name} ({kind}): {len(state.frames)} of {state.pool_size} frames are labelled, {boxes}; {origin}'


def metrics_line(metrics: Mapping[str, float], classes: Sequence[str]) -> str | None:
    """Return the AP by class in one line; None without such metrics.

    Args:
        metrics: Metrics of a stage by key.
        classes: Class names.

    >>> metrics_line({'kitti/Car_bev_R40_moderate': 90.67, 'kitti/mean_bev_R40_moderate': 40.8}, ['Car'])
    'AP on the val split, moderate, in %: bev Car 90.7, mean 40.8'
    """
    flat = {key.rpartition('/')[2]: value for key, value in metrics.items()}
    parts = []
    for name, key in SHOWN.items():
        values = [f'{label} {flat[f"{label}_{key}"]:.1f}' for label in (*classes, 'mean') if f'{label}_{key}' in flat]
        parts += [f'{name} {", ".join(values)}'] if values else []
    return f'AP on the val split, moderate, in %: {"; ".join(parts)}' if parts else None


def tell_query(query: Query) -> None:
    """Say what a query chose and why, with its warnings and a table of classes."""
    for line in describe(query):
        tell(line.removeprefix('warning: '), logging.WARNING if line.startswith('warning: ') else logging.INFO)
    table = class_table(query)
    print_table(*table)
    rows = '; '.join(', '.join(f'{name} {cell}' for name, cell in zip(table.header, row)) for row in table.rows)
    tell(f'{table.title}: {rows}', terminal=False)
