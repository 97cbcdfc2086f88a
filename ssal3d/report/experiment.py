"""What a finished or running experiment left in its folder, for people to look at."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ssal3d.active.query.query_file import Query
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import Generation
from ssal3d.class_names import ALIASES
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.journal_steps import NAME as RECORD
from ssal3d.journal_steps import read_steps
from ssal3d.predictions import PoolPredictions, read_predictions
from ssal3d.predictions.reader import find_parts
from ssal3d.report.pool import Pool
from ssal3d.typed import check_fields, is_finite

CARD = 'experiment.json'  # written by the loop when it starts
KINDS = ('predictions_', 'calibrated_')  # of folders of predictions, before the stage
KIND = re.compile('|'.join(f'^{kind}' for kind in KINDS))


@dataclass(frozen=True)
class Measure:
    """An average precision that an evaluation reports.

    Attributes:
        title: What a page calls it.
        key: End of its key, behind the class name.
        percent: What its values are multiplied by to be percent.
    """

    title: str
    key: str
    percent: float = 1.0


# By the prefix of the metrics; the first one is drawn.
MEASURES = {
    'kitti': (Measure('BEV', 'bev_R40_moderate'), Measure('3D', '3d_R40_moderate')),
    'lidar': (Measure('centre', 'centre'), Measure('3D', '3d')),
    'waymo': (Measure('L2 AP', 'L2_AP', 100), Measure('L2 APH', 'L2_APH', 100)),
}
MEANING = {
    'kitti': 'Average precision (AP) is measured on the val split: moderate difficulty, 40 recall positions, in percent.',
    'lidar': 'Average precision (AP) is measured on the val split, by centre distance and by 3D overlap, in percent.',
    'waymo': 'Average precision (AP; APH counts the heading) is measured on the val split, level 2, in percent.',
}


@dataclass(frozen=True)
class Experiment:
    """An experiment's folder.

    Attributes:
        folder: Work dir of an experiment.
        card: Content of ``experiment.json``: name, classes, pool, versions.
        steps: Finished steps of the journal by name, in their order.
        data_root: Where the data of the pool lie now; None where the card says.
    """

    folder: Path
    card: Mapping[str, Any]
    steps: Mapping[str, Mapping[str, Any]]
    data_root: Path | None = None

    @property
    def name(self) -> str:
        """Name of the experiment's config."""
        return str(self.card.get('name', self.folder.name))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return tuple(self.card['classes'])

    @property
    def sampler(self) -> str:
        """Name of the sampler of the last query without its ending, e.g. ``'CAL'``; empty without a query."""
        queries = list(self.queries.values())
        return sampler_name(queries[-1]) if queries else ''

    @property
    def purchases(self) -> dict[str, Mapping[str, Any]]:
        """Steps in which labels were bought."""
        return {name: step for name, step in self.steps.items() if 'spent_per_class' in step}

    @property
    def stages(self) -> dict[str, Mapping[str, Any]]:
        """Steps in which a detector was trained and measured."""
        return {name: step for name, step in self.steps.items() if step.get('metrics')}

    @property
    def promotions(self) -> list[Mapping[str, Any]]:
        """What a guard decided, in order."""
        return [step for step in self.steps.values() if 'promoted' in step]

    @property
    def boxes_of_stage(self) -> dict[str, int]:
        """Annotated boxes that each stage could learn from."""
        boxes, result = 0, {}
        for name, step in self.steps.items():
            boxes += sum(step.get('spent_per_class', {}).values())
            if step.get('metrics'):
                result[name] = boxes
        return result

    @cached_property
    def queries(self) -> dict[str, Query]:
        """Queries that chose by predictions, by step."""
        found = {name: step['query'] for name, step in self.purchases.items() if name != 'initial' and 'query' in step}
        return {name: Query.read(self.folder / path) for name, path in found.items()}

    @cached_property
    def labels(self) -> LabelState:
        """What is labelled after the last purchase; nothing before the first one."""
        files = [step['labels'] for step in self.steps.values() if 'labels' in step]
        return LabelState.read(self.folder / files[-1]) if files else self.pool.nothing_labelled(self.classes)

    @property
    def metric(self) -> str:
        """Prefix of the metrics, a key of `MEASURES`."""
        prefixes = {key.partition('/')[0] for step in self.stages.values() for key in step['metrics']}
        return next((name for name in MEASURES if name in prefixes), 'kitti')

    def average_precision(self, stage: str, measure: Measure) -> dict[str, float]:
        """Return the AP of a stage by class, and their mean, in %.

        Args:
            stage: Step name.
            measure: One of `MEASURES`.
        """
        flat = {key.rpartition('/')[2].casefold(): value for key, value in self.steps[stage]['metrics'].items()}
        result = {}
        for name in (*self.classes, 'mean'):
            keys = [f'{alias}_{measure.key}'.casefold() for alias in (name, ALIASES.get(name, name))]
            value = next((flat[key] for key in keys if key in flat), None)
            if value is not None:
                result[name] = float(value) * measure.percent
        return result

    def predictions(self, step: str) -> dict[str, PoolPredictions]:
        """Return the predictions that a query saw, by stage: those of the second model first, if it saw any.

        Args:
            step: Name of the query's step, e.g. ``'round_1/query'``.
        """
        inputs, group = self.queries[step].inputs, step.partition('/')[0]
        paths = [inputs[role]['path'] for role in ('reference_predictions', 'predictions') if role in inputs]
        if not paths:  # a query that does not tell: all of its round, calibrated ones where there are
            found: dict[str, str] = {}
            for kind in KINDS:
                found |= {
                    name.removeprefix(f'{group}/{kind}'): name
                    for name in self.steps
                    if name.startswith(f'{group}/{kind}')
                }
            paths = list(found.values())
        folders = {KIND.sub('', Path(path).name): path if '://' in path else self.folder / path for path in paths}
        return {stage: read_predictions(folder) for stage, folder in folders.items() if find_parts(folder)}

    def scalars(self, stage: str) -> Iterator[dict[str, Any]]:
        """Yield what a stage's training logged, in order.

        Args:
            stage: Step name.

        Raises:
            UserError: If a line is damaged; the last one may be half written, by a run that goes on or was killed.
        """
        for path in sorted((self.folder / stage).glob('*/vis_data/scalars.json')):
            yield from _logged(path)

    def training_steps(self, stage: str) -> int | None:
        """Return the iterations that a stage's training logged, None where it logged none.

        Args:
            stage: Step name.
        """
        lines = (line for line in self.scalars(stage) if 'loss' in line)  # those of the val split count epochs
        return max((int(line['step']) for line in lines if is_finite(line.get('step'))), default=None)

    def banks(self, stage: str) -> list[Generation]:
        """Return the generations of a stage's box bank that are still there, oldest first.

        Args:
            stage: Step name.
        """
        bank = BoxBank(self.folder / stage / 'bank')
        return [bank.open(number) for number in bank.generations()]

    @cached_property
    def pool(self) -> Pool:
        """The frames, their scans and the annotations of those that were bought."""
        card = self.card['pool']
        root = self.data_root or Path(card['data_root'])
        annotations = [
            step['annotations'] for step in self.steps.values() if 'annotations' in step
        ]  # people labelled in it
        pool = Pool(self.folder / annotations[-1] if annotations else root / card['ann_file'], root / card['points'])
        gone = [path for path in (pool.annotations, pool.scans) if not path.exists()]
        if gone:
            raise UserError(
                f'{gone[0]}: no such file or folder, but {self.folder} was trained on it; if the data moved, tell where: '
                '`ssal3d report` takes --data-root, `ssal3d show` --annotations and --points'
            )
        return pool


def _logged(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log without a last one that is half written."""
    lines = [line for line in enumerate(path.read_bytes().split(b'\n'), 1) if line[1].strip()]
    for number, line in lines:
        try:
            content = json.loads(line)
        except ValueError as error:  # also of bytes that are no text
            if (number, line) == lines[-1]:
                return
            raise UserError(f'{path}: line {number}: not valid JSON ({error}); remove the line') from None
        if not isinstance(content, dict):
            if (number, line) == lines[-1]:
                return
            raise UserError(f'{path}: line {number}: found {content!r:.40}, expected an object; remove the line')
        yield content


class _Card(TypedDict):
    """What a report takes from the card of an experiment."""

    classes: Sequence[str]
    pool: Mapping[str, str]
    name: str
    command: str
    seed: int | None
    versions: Mapping[str, str]


def sampler_name(query: Query) -> str:
    """Return the name of a query's sampler without its ending."""
    return str(query.sampler['type']).removesuffix('Sampler')


def read_experiment(folder: str | Path, data_root: str | Path | None = None) -> Experiment:
    """Read an experiment's folder.

    Args:
        folder: A work dir of ``ssal3d train``.
        data_root: Where the data of the pool lie now, if they moved.

    Raises:
        UserError: If it holds no experiment.
    """
    folder = Path(folder)
    steps = read_steps(folder / RECORD)
    card = read_json(folder / CARD, required=('classes', 'pool'))
    check_fields(_Card, card, str(folder / CARD))
    moved = None if data_root is None else Path(data_root)
    return Experiment(folder, card, {step['step']: step for step in steps}, moved)


def experiment_of(path: str | Path) -> Experiment:
    """Return the experiment that a file or folder belongs to.

    Args:
        path: Anything inside its work dir, or the work dir.

    Raises:
        UserError: If no folder above holds an experiment.
    """
    for folder in (Path(path).resolve(), *Path(path).resolve().parents):
        if (folder / CARD).is_file() and (folder / RECORD).is_file():
            return read_experiment(folder)
    raise UserError(f'{path}: no folder above holds {CARD}; give --annotations and --points, which tell the data')


def first_and_last(predictions: Mapping[str, PoolPredictions]) -> list[str]:
    """Return the stages whose predictions a query compares: the last one, and the first if that is another one."""
    names = list(predictions)
    return list(dict.fromkeys([*names[:1], *names[-1:]]))


def rows_of(pool: PoolPredictions, frames: Sequence[str]) -> PoolPredictions:
    """Return the predictions of some frames; those that are not predicted are left out."""
    position = pool.index()
    return pool.take(np.array(sorted(position[name] for name in frames if name in position), dtype=np.int64))
