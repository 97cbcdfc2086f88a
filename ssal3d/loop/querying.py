"""The steps of an experiment in which labels are bought."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.dist import is_main_process

from ssal3d.active.query.report import class_table, describe
from ssal3d.active.query.selection import Query, pool_of_ids, select
from ssal3d.active.sampler import ActiveSampler
from ssal3d.data.frames import read_dataset_infos
from ssal3d.data.infos import frame_ids
from ssal3d.data.label_state import LabelState
from ssal3d.data.labelled import state_of
from ssal3d.errors import UserError
from ssal3d.log import tell
from ssal3d.loop.annotators import Annotator, build_annotator
from ssal3d.loop.digests import file_digest, neutral
from ssal3d.predictions import PoolPredictions, read_predictions
from ssal3d.registry import ACTIVE_SAMPLERS
from ssal3d.terminal import print_table


def build_sampler(config: Config, entry: Mapping[str, Any]) -> ActiveSampler:
    """Return the sampler of a query: the entry's own, else the config's ``active_sampler``."""
    sampler = entry.get('sampler') or config.get('active_sampler')
    if sampler is None:
        raise UserError('train_cfg: a round has no sampler; set its sampler, or active_sampler for all rounds')
    return ACTIVE_SAMPLERS.build(dict(sampler))


def query_reads(config: Config, entry: Mapping[str, Any], annotator: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a query depends on beside labels and predictions; see `ssal3d.loop.digests`.

    Args:
        config: The experiment's config.
        entry: The query's entry in ``initial`` or ``rounds``.
        annotator: The annotator's config.
    """
    pool = neutral(dict(config.pool_dataset, pipeline=[]), {})
    if entry.get('labels'):
        LabelState.read(entry['labels'])  # a file that is not there, or no label state, is one line
        return {'given': file_digest(entry['labels']), 'pool': pool}
    query = {key: entry.get(key, config.get(key)) for key in ('budget', 'stop_rule', 'empty_cost')}
    return {
        'sampler': neutral(build_sampler(config, entry).config, {}),
        'query': neutral(query, {}),
        'seed': config.randomness.seed,
        'annotator': neutral(annotator, {}),
        'pool': pool,
    }


def buy_initial_frames(
    config: Config, entry: Mapping[str, Any], annotator: Mapping[str, Any], work_dir: Path
) -> dict[str, Any]:
    """Buy the initial frames, for which there are no predictions yet.

    Args:
        config: The experiment's config.
        entry: ``sampler`` and ``budget``.
        annotator: The annotator's config.
        work_dir: The experiment's folder.

    Returns:
        Facts for the journal, the label state among its ``files``.
    """
    view = DATASETS.build(dict(type='UnlabelledView', dataset=dict(config.pool_dataset, pipeline=[])))
    classes = view.metainfo['classes']
    state = LabelState.empty(classes, Path(config.pool_dataset.ann_file).stem, view.frame_ids)
    return _buy(config, entry, annotator, work_dir, state, 0, pool_of_ids(view.frame_ids, classes))


def take_labels(
    config: Config, path: str | Path, annotator: Mapping[str, Any] | None, work_dir: Path
) -> dict[str, Any]:
    """Begin with what is labelled already instead of buying frames.

    Args:
        config: The experiment's config.
        path: A label state of the pool, e.g. the one that `tools/create_data.py` writes of a partly labelled pool.
        annotator: The annotator's config if frames will be bought later.
        work_dir: The experiment's folder.

    Returns:
        Facts for the journal, the label state among its ``files``.

    Raises:
        UserError: If the state belongs to another pool, is empty, disagrees with the annotation file, or the annotator
            cannot label the other frames.
    """
    data = config.pool_dataset
    given = LabelState.read(path)
    if not given.frames:
        raise UserError(f'{path}: no labelled frame in it; label some, or buy them with a sampler and a budget')
    view = DATASETS.build(dict(type='LabelledView', dataset=dict(data, pipeline=[]), labels=str(path)))
    infos = read_dataset_infos(view.dataset)
    view.full_init()
    classes = view.metainfo['classes']
    state = state_of(infos, classes, Path(data.ann_file).stem, given.frame_ids)
    if annotator is not None:
        rest = sorted(set(frame_ids(infos)) - set(given.frame_ids))
        _annotator(config, annotator, state, work_dir).check(rest)
    labels = work_dir / 'labels' / 'round_0.json'
    if is_main_process():
        state.write(labels)
    return {
        'files': {'labels': labels} if is_main_process() else {},
        **({} if is_main_process() else {'labels': str(labels.relative_to(work_dir))}),
        'frames': len(state.frames),
        'spent': sum(state.counts.values()),
        'spent_per_class': state.counts,
        'stopped': 'given',
    }


def buy_frames(
    config: Config,
    number: int,
    entry: Mapping[str, Any],
    annotator: Mapping[str, Any],
    work_dir: Path,
    labels: Path,
    predictions: Path,
    reference: Path | None,
    labelled: Path | None,
) -> dict[str, Any]:
    """Query the pool with the predictions of the round's models and buy what the sampler asks for.

    Args:
        config: The experiment's config.
        number: Number of the round, from 1.
        entry: The round's config.
        annotator: The annotator's config.
        work_dir: The experiment's folder.
        labels: Label state before the query.
        predictions: Predictions of the round's last model.
        reference: Predictions of the round's first model, if that is another one.
        labelled: Predictions of the round's last model for the labelled frames, if the sampler wants them.

    Returns:
        Facts for the journal, the new label state and the query among its ``files``.
    """
    sampler = build_sampler(config, entry)
    pool = read_predictions(predictions, sampler.fields_to_read())
    other = read_predictions(reference, sampler.reference_fields) if reference and sampler.uses_reference else None
    known = read_predictions(labelled, sampler.labelled_fields, sampler.optional_fields) if labelled else None
    return _buy(config, entry, annotator, work_dir, LabelState.read(labels), number, pool, other, known)


def _buy(
    config: Config,
    entry: Mapping[str, Any],
    annotator: Mapping[str, Any],
    work_dir: Path,
    state: LabelState,
    number: int,
    pool: PoolPredictions,
    reference: PoolPredictions | None = None,
    labelled: PoolPredictions | None = None,
) -> dict[str, Any]:
    """Run one query on rank 0 and write its results; the other ranks only learn where they are."""
    folder = work_dir / (f'round_{number}' if number else 'initial')
    files = {'labels': work_dir / 'labels' / f'round_{number}.json', 'query': folder / 'query.json'}
    if not is_main_process():
        return {'files': {}, **{role: str(path.relative_to(work_dir)) for role, path in files.items()}}
    oracle = _annotator(config, annotator, state, work_dir)
    sampler = build_sampler(config, entry)
    query: Query = select(
        sampler,
        pool,
        state,
        budget=entry.get('budget', config.get('budget')),
        seed=config.randomness.seed,
        reference=reference,
        labelled=labelled,
        dontcare=oracle.dontcare_regions() if sampler.dontcare != 'none' else None,
        annotate=oracle.annotate,
        stop_rule=entry.get('stop_rule', config.get('stop_rule', 'include_crossing')),
        empty_cost=entry.get('empty_cost', config.get('empty_cost', 0)),
        round_number=number,
    )
    query.write(files['query'])
    _tell(query)
    state.buy(number, query.purchases).write(files['labels'])
    return {
        'files': files,
        'frames': len(query.frames),
        'spent': query.spent,
        'spent_per_class': dict(query.spent_per_class),
        'stopped': query.stopped,
    }


def _tell(query: Query) -> None:
    """Say on the terminal and in the log what was chosen and why."""
    for line in describe(query):
        tell(line.removeprefix('warning: '), logging.WARNING if line.startswith('warning: ') else logging.INFO)
    print_table(*class_table(query))


def _annotator(config: Config, annotator: Mapping[str, Any], state: LabelState, work_dir: Path) -> Annotator:
    data = config.pool_dataset
    return build_annotator(
        annotator,
        ann_file=Path(data.data_root) / data.ann_file,
        classes=state.classes,
        log=work_dir / 'annotations.jsonl',
    )
