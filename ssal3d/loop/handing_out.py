"""A query that people answer: hand its frames out, stop, and take the labels when the experiment is resumed."""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.datasets import KittiDataset, WaymoDataset
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_world_size, is_main_process

from ssal3d.active.query.query_file import Query
from ssal3d.annotation.importing import Labels
from ssal3d.annotation.provenance import Export
from ssal3d.annotation.sources import choose, frames_of_infos
from ssal3d.annotation.store import store
from ssal3d.annotation.telling import show_labels
from ssal3d.commands import as_called
from ssal3d.data.infos import read_infos, write_infos
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError, WaitingError
from ssal3d.fileio import read_json, write_json
from ssal3d.log import tell
from ssal3d.loop.digests import differences
from ssal3d.loop.drawn_boxes import with_drawn_boxes
from ssal3d.loop.file_annotator import CHECKED, HANDED_OUT, RETURNED, FileAnnotator, answers
from ssal3d.predictions import read_predictions
from ssal3d.terminal import print_table

ASKED = 'asked.json'  # the query as it was handed out; query.json holds what came of it
MADE_OF = 'made_of'  # in it: what the query was made of, which may not change while people work


def check_people(config: Config, annotator: FileAnnotator) -> None:
    """Check before anything is trained that frames of this data can be handed out and taken back.

    Raises:
        UserError: If the classes have no names in the tool, the data set's annotations cannot be written, or a setting
            needs labels that nobody has.
    """
    data = config.pool_dataset
    if issubclass(DATASETS.get(data.type), WaymoDataset):
        raise UserError(
            f'FileAnnotator: boxes that people drew cannot be written into the annotation file of a {data.type}; convert '
            'the scans with `ssal3d create-data folder`'
        )
    if config.train_cfg.get('held_out_report'):
        raise UserError(
            'held_out_report: measures the frames that nobody labelled, which needs their labels; leave it out with a '
            'FileAnnotator'
        )
    annotator.check(data.metainfo['classes'])


@dataclass(frozen=True)
class Batch:
    """The frames of one round that people label.

    Attributes:
        config: The experiment's config.
        annotator: How people work.
        work_dir: The experiment's folder.
        state: What was labelled before.
        number: Number of the round; 0 for the initial frames.
    """

    config: Config
    annotator: FileAnnotator
    work_dir: Path
    state: LabelState
    number: int

    @property
    def folder(self) -> Path:
        """Where the frames are handed out and taken back."""
        return self.work_dir / (f'round_{self.number}' if self.number else 'initial')

    @property
    def files(self) -> dict[str, Path]:
        """What there is once the labels are back: label state, annotation file and query."""
        labels = self.work_dir / 'labels'
        return {
            'labels': labels / f'round_{self.number}.json',
            'annotations': labels / f'annotations_{self.number}.pkl',
            'query': self.folder / 'query.json',
        }

    @property
    def ann_file(self) -> Path:
        """The annotation file of the pool."""
        return Path(self.config.pool_dataset.data_root, self.config.pool_dataset.ann_file)

    @property
    def scans(self) -> Path:
        """The folder of the pool's scans."""
        return Path(self.config.pool_dataset.data_root, self.config.pool_dataset.get('data_prefix', {}).get('pts', ''))


def ask_people(
    batch: Batch,
    made_of: Mapping[str, Any],
    ask: Callable[[], Query],
    models: tuple[Path | None, Path | None],
) -> dict[str, Any]:
    """Hand the frames of a query out, or take the labels back if they were handed out before.

    Args:
        batch: Which round asks whom.
        made_of: JSON content: what the query is made of.
        ask: Makes the query; called once, on rank 0.
        models: Predictions of the query model and of the first one, for pre-labels.

    Returns:
        Facts for the journal; among its ``files`` label state, annotation file and query.

    Raises:
        WaitingError: If labels are still to come; on every process.
        UserError: If the query would be made of something else now.
    """
    paths = {role: str(path.relative_to(batch.work_dir)) for role, path in batch.files.items()}
    facts: dict[str, Any] | None = {'files': {}, **paths}
    if is_main_process():
        facts = _ask_or_take(batch, made_of, ask, models)
    waits = [facts is None]
    broadcast_object_list(waits)
    if waits[0] or facts is None:
        raise WaitingError(f'{batch.folder}: waiting for labels')
    return facts


def _ask_or_take(
    batch: Batch, made_of: Mapping[str, Any], ask: Callable[[], Query], models: tuple[Path | None, Path | None]
) -> dict[str, Any] | None:
    """Return facts for the journal, None while labels are to come."""
    asked, facts = _is_asked(batch.folder, made_of), None
    if asked and (batch.folder / HANDED_OUT).exists():
        facts = _take_back(batch)
    else:
        if not asked:
            write_json(batch.folder / ASKED, ask().to_json() | {MADE_OF: made_of})
        _hand_out(batch, models)
    if facts is None:
        _say_what_to_do(batch)
    return facts


def _is_asked(folder: Path, made_of: Mapping[str, Any]) -> bool:
    """Return whether the frames were chosen before.

    Raises:
        UserError: If they would be chosen by something else now.
    """
    path = folder / ASKED
    if not path.exists():
        return False
    old = read_json(path, required=(MADE_OF,))[MADE_OF]
    for key, before, now in differences(old, made_of):
        out = [path, folder / HANDED_OUT, *answers(folder)]
        raise UserError(
            f'{path}: the frames were handed out with {key} = {before!r}, now it is {now!r}; resume with the config that they '
            f'were chosen with, or delete {" and ".join(map(str, out))} to ask for other frames'
        )
    return True


def _hand_out(batch: Batch, models: tuple[Path | None, Path | None]) -> None:
    folder, annotator = batch.folder, batch.annotator
    query = Query.read(folder / ASKED)
    if not query.frames:
        raise UserError(f'{folder / ASKED}: the query chose no frame; raise query.budget, or end the experiment here')
    facts = {
        frame.frame_id: {
            'rank': rank,
            'utility': frame.utility,
            'similarity': frame.similarity,
            'predicted_boxes': dict(frame.predicted_boxes),
        }
        for rank, frame in enumerate(query.frames)
    }
    pool = frames_of_infos(batch.ann_file, annotator.scans or batch.scans, annotator.images)  # as people see them
    frames = [replace(f, facts=facts[f.frame_id]) for f in choose(pool, list(facts), batch.ann_file)]
    predictions, reference = (read_predictions(path) if path else None for path in models)
    export, notes = annotator.hand_out(
        frames, folder, batch.state, batch.number, folder / ASKED, predictions, reference
    )
    counts = export.prelabels_of_class()
    print_table(f'{len(frames)} frames to label, {annotator.format}', ('class', 'pre-labels'), counts.items())
    for note in notes:
        tell(f'note: {note}')


def _say_what_to_do(batch: Batch) -> None:
    folder, annotator = batch.folder, batch.annotator
    place = folder / HANDED_OUT
    export = Export.read(place)
    share = '' if annotator.wait_for == 1 else f'; {annotator.wait_for:.0%} of them are enough'
    tell(f'{folder.name}: {len(export.frames)} frames wait for their labels in {place} ({export.tool}{share})')
    tell(
        f'  1. label them there, or put what the tool gives back into {folder / RETURNED} (a folder, or {RETURNED}.zip); '
        f'frames that are right as they are go into {folder / CHECKED}, one id a line'
    )
    returned = annotator.returned(folder)
    given = '' if returned is None else f' --from {shlex.quote(str(returned))}'
    tell(f'  2. see how far you are: {as_called("ssal3d labels")} status {shlex.quote(str(place))}{given}')
    tell(f'  3. go on: {_this_command()}')


def _this_command() -> str:
    words = [word for word in sys.argv[1:] if not word.startswith(('--local_rank', '--local-rank'))]
    if words[:1] == ['train']:
        words = words[1:]
    text = shlex.join([*words, *([] if '--resume' in words else ['--resume'])])
    launcher = ' (with the same launcher)' if get_world_size() > 1 else ''
    return f'{as_called("ssal3d train")} {text}{launcher}'


def _take_back(batch: Batch) -> dict[str, Any] | None:
    """Return facts for the journal; None if too few frames are labelled."""
    folder, annotator, files = batch.folder, batch.annotator, batch.files
    found, export = annotator.take_back(folder), Export.read(folder / HANDED_OUT)
    show_labels(found, export)
    labelled, asked = len(found.frames), len(export.frames)
    if not labelled or labelled < enough(annotator.wait_for, asked):
        tell(f'{folder.name}: {labelled} of {asked} frames are labelled')
        return None
    store(found, batch.state, batch.number, files['labels'].parent, overwrite=True)
    _write_annotations(batch, found)
    query = answered(Query.read(folder / ASKED), found)
    query.write(files['query'])
    tell(f'{folder.name}: {labelled} of {asked} frames are labelled; the others stay in the pool, unlabelled')
    return {
        'files': files,
        'frames': labelled,
        'spent': sum(query.spent_per_class.values()),
        'spent_per_class': dict(query.spent_per_class),
        'stopped': query.stopped,
        'asked': asked,
        'edits': dict(found.cost),
    }


def enough(share: float, asked: int) -> int:
    """Return how many frames a share of those that were asked for is, e.g. 14 for 0.56 of 25."""
    return ceil(round(share * asked, 9))  # without the rounding errors of floats


def answered(query: Query, labels: Labels) -> Query:
    """Return a query as it is after people answered: its labelled frames, with the boxes that were drawn.

    Args:
        query: As it was handed out, charged by predicted boxes.
        labels: What came back.
    """
    classes = list(query.spent_per_class)
    boxes = dict(labels.counts(classes))
    frames = tuple(
        replace(frame, annotated_boxes=boxes[frame.frame_id]) for frame in query.frames if frame.frame_id in boxes
    )
    counts = np.array([[boxes[frame.frame_id][name] for name in classes] for frame in frames], dtype=np.int64)
    note = (
        f'{len(query.frames)} frames were handed out for {query.spent:g} {query.settings.pricing.plural} as predicted; '
        f'{len(frames)} came back labelled'
    )
    return replace(
        query,
        frames=frames,
        cost='annotated',
        spent=float(query.settings.pricing.prices(counts, classes).sum()),
        spent_per_class=dict(zip(classes, counts.sum(axis=0).tolist())),
        warnings=(*query.warnings, note),
    )


def _write_annotations(batch: Batch, found: Labels) -> None:
    pool = frames_of_infos(batch.ann_file, batch.scans)
    drawn = {frame.frame_id: replace(pool[frame.frame_id], cuboids=frame.cuboids) for frame in found.frames}
    in_camera = issubclass(DATASETS.get(batch.config.pool_dataset.type), KittiDataset)
    infos = with_drawn_boxes(read_infos(batch.ann_file), set(batch.state.frame_ids), drawn, in_camera)
    write_infos(batch.files['annotations'], infos)
