"""Whether settings by class name, of data, stages and sampler, name the experiment's classes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ssal3d.checks.finding import Checked, Finding, merged
from ssal3d.checks.subject import PIPELINES, Subject
from ssal3d.checks.tree import at, join, mappings
from ssal3d.class_names import ALIASES, nearest_class

# Options that are one value per class; a missing class is an error when they are used.
COMPLETE = (
    't_iou',
    't_sem',
    't_score',
    'tau',
    'tau_low',
    'k_first',
    'k_next',
    'min_precision',
    'class_weights',
    's_add',
    's_obj',
    'w_full',
)
# Options in which a class may be missing: nothing is pasted of it, or the usual threshold holds.
PARTIAL = ('groups', 'false_positives', 'iou_thresholds', 'iou')
LISTS = ('no_mid',)
EVALUATORS = ('val_evaluator', 'test_evaluator')


def check_class_settings(subject: Subject) -> Checked:
    """Compare every dictionary by class, and every list of classes, with the class names."""
    name, classes = 'settings by class', subject.classes
    if not classes:
        return Checked(name, 'the config names no classes')
    found: list[Finding] = []
    count = 0
    for path, part in _parts(subject):
        for key, value in part.items():
            if key in (*COMPLETE, *PARTIAL) and isinstance(value, Mapping):
                count += 1
                found += _mapping(join(path, key), value, classes, key in COMPLETE, path.startswith('active_sampler'))
            elif key in LISTS and isinstance(value, list | tuple):
                count += 1
                found += [_unknown(join(path, key), entry, classes) for entry in value if entry not in classes]
    for key in EVALUATORS:
        for path, part in mappings(subject.config.get(key), key):
            names = part.get('classes')
            if isinstance(names, list | tuple) and 'type' in part:
                count += 1
                found += [_unknown(join(path, 'classes'), entry, classes) for entry in names if entry not in classes]
    return Checked(name, f'{count} of {", ".join(classes)}', merged(found))


def check_classes(subject: Subject) -> Checked:
    """Compare the classes of all data sets with those of the pool, and all ways of loading points."""
    classes, data = subject.classes, subject.data_sets()
    wrong = []
    for path, found in data:
        names = at(found, 'metainfo.classes')
        if isinstance(names, list | tuple) and list(names) != classes:
            expected = f'{", ".join(classes)} as in {data[0][0]}'
            wrong.append(Finding(f'{path}.metainfo.classes', ', '.join(map(str, names)), expected))
    wrong += [Finding(f'{data[0][0]}.metainfo.classes', name, 'each class once') for name in _twice(classes)]
    return Checked('classes', f'{len(data)} data sets', merged([*wrong, *_columns(subject)]))


def _twice(names: Sequence[str]) -> Iterable[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _columns(subject: Subject) -> Iterator[Finding]:
    """Compare the values of a point that pipelines load with those that the detector reads."""
    loads = [
        (join(path, 'use_dim'), len(dim) if isinstance(dim, list | tuple) else dim)
        for name, pipeline in subject.pipelines()
        if not any(step.get('type') == 'LoadPointsFromMultiSweeps' for step in pipeline)  # it chooses anew
        for path, step in mappings(pipeline, name)
        if step.get('type') == 'LoadPointsFromFile' and (dim := step.get('use_dim', [0, 1, 2]))
    ]
    reads = _values_of_a_point(subject)
    for key, values in loads:
        if reads is not None and values != reads[1]:
            yield Finding(key, f'{values} values of a point', f'{reads[1]} as {reads[0]}')


def _values_of_a_point(subject: Subject) -> tuple[str, int] | None:
    for name in ('voxel_encoder', 'pts_voxel_encoder'):
        encoder = subject.model.get(name)
        if isinstance(encoder, Mapping):
            key = 'num_features' if str(encoder.get('type')) == 'HardSimpleVFE' else 'in_channels'
            values = encoder.get(key, 4)
            return (f'{subject.model_key}.{name}.{key}', values) if isinstance(values, int) else None
    return None


def _parts(subject: Subject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every dictionary that may hold settings by class: of what the experiment uses."""
    for name in (*PIPELINES, 'train_dataloader', 'active_sampler', 'query', *EVALUATORS, 'model', 'custom_hooks'):
        yield from mappings(subject.config.get(name), name)
    for name, stage in subject.used_stages.items():
        yield from mappings(stage, f'stages.{name}')
    yield from mappings(subject.config.get('train_cfg'), 'train_cfg')


def _mapping(
    key: str, value: Mapping[str, Any], classes: list[str], complete: bool, aliases: bool
) -> Iterator[Finding]:
    legal = {*classes, *(ALIASES[name] for name in classes if name in ALIASES)} if aliases else set(classes)
    unknown = [name for name in value if name not in legal]
    yield from (_unknown(key, name, classes) for name in unknown)
    missing = [name for name in classes if name not in value and not (aliases and ALIASES.get(name) in value)]
    if missing and not unknown and complete:
        yield Finding(key, f'no value for {", ".join(missing)}', f'one for each of {", ".join(classes)}')
    elif missing and not unknown and key.endswith('groups'):
        yield Finding(key, f'nothing for {", ".join(missing)}: none is pasted', 'a number, or 0', 'warning')


def _unknown(key: str, name: object, classes: list[str]) -> Finding:
    nearest = nearest_class(str(name), classes)
    return Finding(key, f"class '{name}'", ', '.join(classes) + (f"; did you mean '{nearest}'?" if nearest else ''))
