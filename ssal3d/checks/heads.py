"""Heads, anchors and assigners that are as many as there are classes, in their order."""

from collections.abc import Iterator, Mapping
from typing import Any

from ssal3d.checks.finding import Checked, Finding
from ssal3d.checks.subject import Subject
from ssal3d.checks.tree import join, mappings


def check_heads(subject: Subject) -> Checked:
    """Compare everything in the detector that there is once per class with the class names."""
    name, classes = 'heads', subject.classes
    if not classes:
        return Checked(name, 'the config names no classes')
    wrong = []
    for path, part in mappings(subject.model, subject.model_key):
        wrong += [*_numbers(path, part, classes), *_tasks(path, part, classes), *_anchors(path, part, classes)]
    return Checked(name, f'{len(classes)} classes: {", ".join(classes)}', tuple(wrong))


def _numbers(path: str, part: Mapping[str, Any], classes: list[str]) -> Iterator[Finding]:
    expected = f'{len(classes)} ({", ".join(classes)})'
    segments = 'decode_head' in path  # a class of its own for points without label
    if (
        not segments
        and 'type' in part
        and isinstance(part.get('num_classes'), int)
        and part['num_classes'] != len(classes)
    ):
        yield Finding(join(path, 'num_classes'), str(part['num_classes']), expected)
    assigners = part.get('assigner')
    if isinstance(assigners, list | tuple) and len(assigners) != len(classes):
        yield Finding(join(path, 'assigner'), f'{len(assigners)} assigners', f'{expected}, one per class')


def _tasks(path: str, part: Mapping[str, Any], classes: list[str]) -> Iterator[Finding]:
    tasks = part.get('tasks')
    if not isinstance(tasks, list | tuple) or not all(isinstance(task, Mapping) for task in tasks):
        return
    names = [name for task in tasks for name in task.get('class_names', ())]
    if names and names != classes:
        yield Finding(join(path, 'tasks'), ', '.join(names), f'{", ".join(classes)}: the classes in their order')
    for index, task in enumerate(tasks):
        count = task.get('num_class', task.get('num_classes'))
        if count is not None and 'class_names' in task and count != len(task['class_names']):
            yield Finding(
                join(path, f'tasks.{index}.num_class'), str(count), f'{len(task["class_names"])} as its names'
            )


def _anchors(path: str, part: Mapping[str, Any], classes: list[str]) -> Iterator[Finding]:
    generator = part.get('anchor_generator')
    if not isinstance(generator, Mapping) or not str(generator.get('type', '')).endswith('RangeGenerator'):
        return
    ranges, sizes = generator.get('ranges') or (), generator.get('sizes') or ()
    if len(ranges) not in (1, len(sizes)):
        found = f'{len(ranges)} ranges of {len(sizes)} sizes of anchors'
        yield Finding(join(path, 'anchor_generator.ranges'), found, f'{len(sizes)}, or one for all')
    by_class = part.get('assign_per_class') or part.get('assigner_per_size')
    if by_class and len(sizes) != len(classes):
        expected = f'{len(classes)}, one per class: {", ".join(classes)}'
        yield Finding(join(path, 'anchor_generator.sizes'), f'{len(sizes)} sizes of anchors', expected)
