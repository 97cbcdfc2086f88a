"""What a finished or running experiment left in its folder, for people to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.query.query_file import Query
from ssal3d.data.infos import frame_id, read_infos
from ssal3d.data.label_state import LabelState
from ssal3d.data.scans import read_scan
from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import read_annotated_boxes
from ssal3d.fileio import read_json
from ssal3d.predictions import PoolPredictions, read_predictions

CARD = 'experiment.json'  # written by the loop when it starts
AP_KEYS = {'BEV': 'bev_R40_moderate', '3D': '3d_R40_moderate'}


@dataclass(frozen=True)
class Experiment:
    """An experiment's folder.

    Attributes:
        folder: The work dir.
        card: Content of ``experiment.json``: name, classes, pool, versions.
        steps: Finished steps of the journal by name.
    """

    folder: Path
    card: Mapping[str, Any]
    steps: Mapping[str, Mapping[str, Any]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return tuple(self.card['classes'])

    @property
    def sampler(self) -> str:
        """Name of the sampler of the last query without its ending, e.g. ``'CAL'``; empty without a query."""
        queries = list(self.queries.values())
        return str(queries[-1].sampler['type']).removesuffix('Sampler') if queries else ''

    @property
    def purchases(self) -> dict[str, Mapping[str, Any]]:
        """Steps in which labels were bought."""
        return {name: step for name, step in self.steps.items() if 'spent_per_class' in step}

    @property
    def stages(self) -> dict[str, Mapping[str, Any]]:
        """Steps in which a detector was trained and measured."""
        return {name: step for name, step in self.steps.items() if step.get('metrics')}

    @cached_property
    def queries(self) -> dict[str, Query]:
        """Queries that chose by predictions, by step."""
        found = {name: step['query'] for name, step in self.purchases.items() if name != 'initial' and 'query' in step}
        return {name: Query.read(self.folder / path) for name, path in found.items()}

    @cached_property
    def labels(self) -> LabelState:
        """What is labelled after the last purchase."""
        return LabelState.read(self.folder / [step['labels'] for step in self.steps.values() if 'labels' in step][-1])

    def average_precision(self, stage: str, kind: str) -> dict[str, float]:
        """Return the AP of a stage by class, and their mean, in %.

        Args:
            stage: Step name.
            kind: ``'BEV'`` or ``'3D'``.
        """
        flat = {key.rpartition('/')[2]: value for key, value in self.steps[stage]['metrics'].items()}
        return {
            name: flat[f'{name}_{AP_KEYS[kind]}']
            for name in (*self.classes, 'mean')
            if f'{name}_{AP_KEYS[kind]}' in flat
        }

    def predictions(self, round_name: str) -> dict[str, PoolPredictions]:
        """Return the predictions that a round's query could see, by stage.

        Args:
            round_name: E.g. ``'round_1'``.
        """
        prefix = f'{round_name}/predictions_'
        folders = {name.removeprefix(prefix): name for name in self.steps if name.startswith(prefix)}
        return {stage: read_predictions(self.folder / name) for stage, name in folders.items()}

    @cached_property
    def _infos(self) -> dict[str, dict[str, Any]]:
        return {frame_id(info): info for info in read_infos(self.annotations)['data_list']}

    @property
    def annotations(self) -> Path:
        """The pool's annotation file; the experiment's own if people labelled in it."""
        own = [step['annotations'] for step in self.steps.values() if 'annotations' in step]
        if own:
            return self.folder / own[-1]
        pool = self.card['pool']
        return Path(pool['data_root']) / pool['ann_file']

    def points(self, frame: str) -> NDArray[np.float32]:
        """Return the scan of a frame.

        Args:
            frame: Frame id.
        """
        lidar = self._infos[frame]['lidar_points']
        path = Path(self.card['pool']['data_root']) / self.card['pool']['points'] / Path(lidar['lidar_path']).name
        return read_scan(path, lidar.get('num_pts_feats', 4))

    def annotated(self, frames: Sequence[str]) -> list[tuple[NDArray[np.floating], NDArray[np.int64]]]:
        """Return boxes and class indices of labelled frames; a frame that nobody labelled is refused.

        Args:
            frames: Frame ids.

        Raises:
            UserError: If a frame is not labelled in this experiment.
        """
        unpaid = [name for name in frames if name not in set(self.labels.frame_ids)]
        if unpaid:
            raise UserError(f'{self.folder}: frame {unpaid[0]} is not labelled; its boxes must not be shown')
        truth = read_annotated_boxes(self.annotations, frames, self.classes)
        spans = [slice(a, b) for a, b in zip(truth.offsets[:-1], truth.offsets[1:])]
        return [(truth.boxes[span], truth.labels[span]) for span in spans]


def read_experiment(folder: str | Path) -> Experiment:
    """Read an experiment's folder.

    Args:
        folder: A work dir of ``ssal3d train``.

    Raises:
        UserError: If it holds no experiment.
    """
    folder = Path(folder)
    steps = read_json(folder / 'journal.json', required=('steps',))['steps']
    card = read_json(folder / CARD, required=('classes', 'pool'))
    return Experiment(folder, card, {step['step']: step for step in steps})
