"""Numbers and chains of the stages: what would end a training that has run for hours."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssal3d.active.query.settings import query_settings
from ssal3d.checks.finding import Checked, Finding
from ssal3d.checks.subject import LOOP, Subject
from ssal3d.checks.tree import join, mappings
from ssal3d.errors import UserError, one_line, unknown_name

AT_LEAST_ONE = ('epochs', 'repeat', 'interval', 'batch_size', 'checkpoint_interval', 'frames_per_part')
NOT_NEGATIVE = ('num_workers', 'min_points')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'pool_dataloader')


def check_numbers(subject: Subject) -> Checked:
    """Look at what counts something: epochs, frames of a batch, processes of a loader."""
    found, count = [], 0
    parts = [*subject.used_stages.items()]
    places = [(f'stages.{name}', stage) for name, stage in parts]
    places += [(name, loader) for name in LOADERS if isinstance(loader := subject.config.get(name), Mapping)]
    places += [('train_cfg', subject.config.get('train_cfg') or {})]
    for start, content in places:
        for path, part in mappings(content, start):
            for key in (*AT_LEAST_ONE, *NOT_NEGATIVE):
                value = part.get(key)
                if value is None or isinstance(value, Mapping):
                    continue
                count += 1
                lowest = int(key in AT_LEAST_ONE)
                if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                    found.append(Finding(join(path, key), repr(value), f'a whole number of at least {lowest}'))
    return Checked('numbers', f'{count} of stages and loaders', tuple(found))


def check_stages(subject: Subject) -> Checked:
    """Build every stage of the plan, and let stages and samplers say what the detector lacks."""
    if not subject.is_experiment:
        return Checked('stages', 'one run')
    nameless = list(_without_type(subject.config.get('stages') or {}))
    try:
        nameless += _build(subject)
    except UserError as error:
        nameless.append(Finding('train_cfg', one_line(error), 'stages that can be trained'))
    return Checked('stages', ', '.join(subject.used_stages) or 'none', tuple(nameless))


def _without_type(stages: Mapping[str, Any]) -> Iterator[Finding]:
    """Find settings of stages that do not exist: their name is mistyped."""
    stage_names = [name for name, stage in stages.items() if isinstance(stage, Mapping) and 'type' in stage]
    for name in stages:
        if name not in stage_names:
            yield Finding(f'stages.{name}', 'settings of no stage', str(unknown_name('stage', name, stage_names)))


def _build(subject: Subject) -> Iterator[Finding]:
    from mmengine.config import Config

    from ssal3d.loop.abilities import check_abilities
    from ssal3d.loop.chains import order_stages
    from ssal3d.registry import STAGES
    from ssal3d.stages.supervised import StageInputs

    config = Config(dict(subject.config))
    settings = subject.config['train_cfg']
    rounds = settings.get('rounds') or ()
    stages: dict[str, Any] = {}
    for key, chains in [
        *((f'rounds.{n}.pretrain', [r.get('pretrain') or ()]) for n, r in enumerate(rounds)),
        ('final', settings.get('final') or ()),
    ]:
        for place in order_stages(chains):
            name, where = place.name, Path('check')
            if name not in (subject.config.get('stages') or {}):
                stage_names = ', '.join(subject.config.get('stages') or {})
                yield Finding(f'train_cfg.{key}', f"stage '{name}'", stage_names)
                continue
            start = where / 'weights.pth' if place.previous else None
            predictions = where / 'predictions' if place.previous else None
            try:
                stages[name] = stage = STAGES.build(dict(subject.config['stages'][name]))
                stage.build_config(config, StageInputs(where / name, where / 'round_0.json', start, predictions))
            except (UserError, TypeError, KeyError) as error:  # a misspelt option of what a stage hands on
                yield Finding(f'stages.{name}', one_line(error), 'settings that the stage takes')
    if all(name in stages for name in subject.used_stages):
        try:
            check_abilities(config, rounds, stages)
        except UserError as error:
            yield Finding('train_cfg', one_line(error), f'stages and samplers for {subject.model.get("type")}')


def check_start(subject: Subject) -> Checked:
    """Look at how the experiment begins and what its queries buy."""
    if not subject.is_experiment:
        return Checked('purchases', f'one run, no {LOOP}')
    settings = subject.config['train_cfg']
    initial, found = settings.get('initial') or {}, []
    entries = [('train_cfg.initial', initial)] if not initial.get('labels') else []
    entries += [(f'train_cfg.rounds.{n}', entry) for n, entry in enumerate(settings.get('rounds') or ())]
    if not (settings.get('final') or settings.get('rounds')):
        found.append(Finding('train_cfg.final', 'no stage', "at least one, e.g. ['supervised']"))
    for path, entry in entries:
        sampler = entry.get('sampler', {})
        if not isinstance(sampler, Mapping):
            found.append(Finding(f'{path}.sampler', repr(sampler), "a sampler, e.g. dict(type='RandomSampler')"))
            continue
        try:
            query_settings(subject.config, entry, path)
        except UserError as error:
            found.append(Finding(f'{path}.query', one_line(error), 'settings of a query'))
    return Checked('purchases', f'{len(entries)} queries', tuple(found))
