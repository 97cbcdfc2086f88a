"""The steps of an experiment in which labels are bought."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.dist import is_main_process

from ssal3d.active.query.inputs import describe_inputs, read_labelled, read_pool, read_reference
from ssal3d.active.query.selection import Query, pool_of_ids, select
from ssal3d.active.query.settings import QuerySettings, query_settings
from ssal3d.active.sampler import ActiveSampler
from ssal3d.data.frames import read_dataset_infos
from ssal3d.data.infos import frame_ids
from ssal3d.data.label_state import LabelState
from ssal3d.data.labelled import state_of
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import file_digest
from ssal3d.loop.annotators import Annotator, build_annotator
from ssal3d.loop.digests import neutral
from ssal3d.loop.file_annotator import FileAnnotator, is_patient
from ssal3d.loop.handing_out import Batch, ask_people, check_people
from ssal3d.loop.story import tell_query
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS

# Keys of an entry in `initial` and in `rounds`.
INITIAL_KEYS = ('sampler', 'query', 'labels')
ROUND_KEYS = ('pretrain', 'sampler', 'query')


@dataclass(frozen=True)
class QueriedModel:
    """Predictions of one of the round's models.

    Attributes:
        predictions: Of the unlabelled pool.
        labelled: Of the labelled frames, if the sampler looks at them.
    """

    predictions: Path
    labelled: Path | None = None


@dataclass(frozen=True)
class _Question:
    """What a query is made of.

    Attributes:
        config: The experiment's config.
        entry: The query's entry in ``initial`` or ``rounds``.
        work_dir: The experiment's folder.
        state: What is labelled before it.
        number: Number of the round; 0 for the initial frames.
        tables: Predictions by role.
        paths: Where labels and predictions lie, by role.
    """

    config: Config
    entry: Mapping[str, Any]
    work_dir: Path
    state: LabelState
    number: int
    tables: Mapping[str, PoolPredictions | None]
    paths: Mapping[str, Path | None]


def build_sampler(config: Config, entry: Mapping[str, Any]) -> ActiveSampler:
    """Return the sampler of a query: the entry's own, else the config's ``active_sampler``."""
    sampler = entry.get('sampler') or config.get('active_sampler')
    if sampler is None:
        raise UserError('train_cfg: a round has no sampler; set its sampler, or active_sampler for all rounds')
    return ACTIVE_SAMPLERS.build(dict(sampler))


def settings_of(config: Config, entry: Mapping[str, Any], number: int) -> QuerySettings:
    """Return the settings of a query: the config's ``query``, changed by the entry's.

    The initial frames are bought before there are predictions, so that the rule for DontCare regions, which looks at
    predicted boxes, is off there unless the entry itself asks for it.

    Args:
        config: The experiment's config.
        entry: The query's entry in ``initial`` or ``rounds``.
        number: Number of the round; 0 for the initial frames.
    """
    where = f'train_cfg.rounds[{number - 1}]' if number else 'train_cfg.initial'
    settings = query_settings(config, entry, where)
    if number == 0 and 'dontcare' not in (entry.get('query') or {}):
        settings = replace(settings, dontcare='none')
    settings.check()
    return settings


def check_entries(config: Config, initial: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> None:
    """Check the settings of all queries before anything is trained.

    Raises:
        UserError: If a key or value is unknown, or the initial frames are to be bought by a sampler that needs
            predictions, of which there are none yet.
    """
    for number, entry in enumerate((initial, *rounds)):
        where, keys = (f'train_cfg.rounds[{number - 1}]', ROUND_KEYS) if number else ('train_cfg.initial', INITIAL_KEYS)
        if not entry.get('labels'):
            settings = settings_of(config, entry, number)
            sampler = build_sampler(config, entry)
            if number == 0 and (sampler.uses_predictions or settings.projection_fields):
                raise UserError(
                    f'{where}: {type(sampler).__name__} and dontcare={settings.dontcare!r} read predictions, but no model '
                    'is trained before the initial frames are bought; take RandomSampler without the DontCare rule'
                )
        for name in entry:
            if name not in keys:
                raise unknown_name(f'key of {where}', name, list(keys))


def query_reads(config: Config, entry: Mapping[str, Any], number: int, annotator: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a query depends on beside labels and predictions; see `ssal3d.loop.digests`.

    Args:
        config: The experiment's config.
        entry: The query's entry in ``initial`` or ``rounds``.
        number: Number of the round; 0 for the initial frames.
        annotator: The annotator's config.
    """
    pool = neutral(dict(config.pool_dataset, pipeline=[]), {})
    if entry.get('labels'):
        LabelState.read(entry['labels'])  # a file that is not there, or no label state, is one line
        return {'given': file_digest(entry['labels']), 'pool': pool}
    return {
        'sampler': neutral(build_sampler(config, entry).config, {}),
        'query': neutral(settings_of(config, entry, number).to_json(), {}),
        'seed': seed_of(config, number),
        # How people work changes no query; what they drew is kept in files.
        'annotator': {'type': annotator['type']} if is_patient(annotator) else neutral(annotator, {}),
        'pool': pool,
    }


def seed_of(config: Config, number: int) -> int:
    """Return the seed of a query: another one for every round, so that a later draw does not repeat the first."""
    return int(config.randomness.seed) + number


def buy_initial_frames(
    config: Config, entry: Mapping[str, Any], annotator: Mapping[str, Any], work_dir: Path
) -> dict[str, Any]:
    """Buy the initial frames, for which there are no predictions yet.

    Args:
        config: The experiment's config.
        entry: ``sampler`` and ``query``.
        annotator: The annotator's config.
        work_dir: The experiment's folder.

    Returns:
        Facts for the journal, the label state among its ``files``.
    """
    view = DATASETS.build(dict(type='UnlabelledView', dataset=dict(config.pool_dataset, pipeline=[])))
    classes = view.metainfo['classes']
    state = LabelState.empty(classes, Path(config.pool_dataset.ann_file).stem, view.frame_ids)
    tables = {'predictions': pool_of_ids(view.frame_ids, classes)}
    return _buy(_Question(config, entry, work_dir, state, 0, tables, {}), annotator)


def take_labels(
    config: Config, path: str | Path, annotator: Mapping[str, Any] | None, work_dir: Path
) -> dict[str, Any]:
    """Begin with what is labelled already instead of buying frames.

    Args:
        config: The experiment's config.
        path: A label state of the pool, e.g. the one that `ssal3d create-data` writes of a partly labelled pool.
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
    if annotator is not None and not is_patient(annotator):
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
    model: QueriedModel,
    reference: QueriedModel | None,
) -> dict[str, Any]:
    """Query the pool with the predictions of the round's models and buy what the sampler asks for.

    Args:
        config: The experiment's config.
        number: Number of the round, from 1.
        entry: The round's config.
        annotator: The annotator's config.
        work_dir: The experiment's folder.
        labels: Label state before the query.
        model: The round's last model.
        reference: The round's first model, if that is another one.

    Returns:
        Facts for the journal, the new label state and the query among its ``files``.
    """
    sampler, settings = build_sampler(config, entry), settings_of(config, entry, number)
    other = reference if sampler.uses_reference else None
    tables = {
        'predictions': read_pool(model.predictions, sampler, settings),
        'labelled_predictions': read_labelled(model.labelled, sampler) if model.labelled else None,
        'reference_predictions': read_reference(other.predictions, sampler) if other else None,
        'labelled_reference_predictions': read_labelled(other.labelled, sampler) if other and other.labelled else None,
    }
    paths = {
        'labels': labels,
        'predictions': model.predictions,
        'labelled_predictions': model.labelled,
        'reference_predictions': other.predictions if other else None,
        'labelled_reference_predictions': other.labelled if other else None,
    }
    return _buy(_Question(config, entry, work_dir, LabelState.read(labels), number, tables, paths), annotator)


def _buy(question: _Question, annotator: Mapping[str, Any]) -> dict[str, Any]:
    """Run one query on rank 0 and write its results; the other ranks only learn where they are."""
    if is_patient(annotator):
        return _ask(question, annotator)
    config, work_dir, state, number = question.config, question.work_dir, question.state, question.number
    folder = work_dir / (f'round_{number}' if number else 'initial')
    files = {'labels': work_dir / 'labels' / f'round_{number}.json', 'query': folder / 'query.json'}
    if not is_main_process():
        return {'files': {}, **{role: str(path.relative_to(work_dir)) for role, path in files.items()}}
    oracle = _annotator(config, annotator, state, work_dir)
    query = _select(question, oracle)
    query.write(files['query'])
    state.buy(number, query.purchases).write(files['labels'])
    return {
        'files': files,
        'frames': len(query.frames),
        'spent': sum(query.spent_per_class.values()),
        'spent_per_class': dict(query.spent_per_class),
        'stopped': query.stopped,
    }


def _ask(question: _Question, annotator: Mapping[str, Any]) -> dict[str, Any]:
    """Let people answer a query, whose budget is counted as predicted because nobody knows the boxes yet."""

    def ask() -> Query:
        query = _select(question)
        tell_query(query)
        return query

    config, number = question.config, question.number
    made_of = {
        'sampler': build_sampler(config, question.entry).config,
        'query': settings_of(config, question.entry, number).to_json(),
        'seed': seed_of(config, number),
        'inputs': {role: facts['sha256'] for role, facts in describe_inputs(question.paths, question.tables).items()},
    }
    people = build_annotator(annotator)
    assert isinstance(people, FileAnnotator)
    models = (question.paths.get('predictions'), question.paths.get('reference_predictions'))
    made_of = json.loads(json.dumps(made_of))
    batch = Batch(config, people, question.work_dir, question.state, number)
    return ask_people(batch, made_of, ask, models)


def _select(question: _Question, oracle: Annotator | None = None) -> Query:
    """Choose frames; without somebody who answers at once, for a price that is predicted."""
    config, number, tables = question.config, question.number, question.tables
    settings, pool = settings_of(config, question.entry, number), tables['predictions']
    assert pool is not None
    query = select(
        build_sampler(config, question.entry),
        pool,
        question.state,
        settings,
        seed=seed_of(config, number),
        reference=tables.get('reference_predictions'),
        labelled=tables.get('labelled_predictions'),
        labelled_reference=tables.get('labelled_reference_predictions'),
        dontcare_regions=oracle.dontcare_regions() if oracle and settings.dontcare != 'none' else None,
        annotate=oracle.annotate if oracle else None,
        round_number=number,
    )
    return replace(query, inputs=describe_inputs(question.paths, tables, question.work_dir))


def check_annotator(config: Config, annotator: Mapping[str, Any]) -> None:
    """Check an annotator's config before anything is trained.

    Raises:
        UserError: If a setting is wrong, or people cannot label this data.
    """
    if is_patient(annotator):
        people = build_annotator(annotator)
        assert isinstance(people, FileAnnotator)
        check_people(config, people)


def _annotator(config: Config, annotator: Mapping[str, Any], state: LabelState, work_dir: Path) -> Annotator:
    data = config.pool_dataset
    oracle = build_annotator(
        annotator,
        ann_file=Path(data.data_root) / data.ann_file,
        classes=state.classes,
        log=work_dir / 'annotations.jsonl',
    )
    assert isinstance(oracle, Annotator)
    return oracle
