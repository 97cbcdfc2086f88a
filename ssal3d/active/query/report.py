"""A query in words: what it buys, and what a reader should know about it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ssal3d.active.query.query_file import Query


class QueryTable(NamedTuple):
    """A table of a query.

    Attributes:
        title: What it shows.
        header: Names of the columns.
        rows: One for each class, and one for all.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str | int, ...]]


def summary_line(query: Query) -> str:
    """Return what a query bought, in one line.

    Args:
        query: A finished query.
    """
    relaxed = sum(frame.relax_level > 0 for frame in query.frames)
    share = f'; {relaxed} of them passed only relaxed limits' if relaxed else ''
    return (
        f'{query.sampler["type"]} chose {len(query.frames)} of {query.pool.get("size", "?")} frames: '
        f'{spending(query)}{share}'
    )


def spending(query: Query) -> str:
    """Return what a query spent of its budget, and in which unit.

    Args:
        query: A finished query.
    """
    unit, boxes = query.settings.unit, sum(query.spent_per_class.values())
    spent, budget = f'{query.spent:g}', f'{query.settings.budget:g}'
    if unit == 'boxes':
        return f'{spent} of {budget} {query.cost} boxes'
    if unit == 'frames':
        return f'{spent} of {budget} frames, {boxes} {query.cost} boxes'
    price = f' ({_price(unit)})' if isinstance(unit, Mapping) else ''
    return f'{spent} of {budget} units of cost{price}, {boxes} {query.cost} boxes'


def _price(unit: Mapping[str, Any]) -> str:
    return ', '.join(f'{name} {value}' for name, value in unit.items())


def class_facts(query: Query) -> Iterator[str]:
    """Yield, for samplers with limits by class, which class filled its counter and which one does not count, and why.

    Args:
        query: A finished query.
    """
    for name, facts in query.diagnostics.get('classes', {}).items():
        if facts['limit'] is None:
            continue
        share = 'how many are real is not known: too few predictions of labelled frames'
        if facts['precision'] is not None:
            above = f' above {facts["s_obj"]:.2f}' if 's_obj' in facts else ''  # queries of earlier versions lack it
            share = f'{facts["precision"]:.0%} of {facts["labelled_boxes"]} predicted boxes{above} are there on labelled frames'
        if not facts['counts']:
            yield f'{name}: predicted boxes do not fill the class counter, only {share}'
        elif facts['full']:
            yield f'{name}: limit of {facts["limit"]:.4g} reached with {facts["counted"]} counted boxes; {share}'


def class_table(query: Query) -> QueryTable:
    """Return predicted and annotated boxes of the chosen frames by class.

    Args:
        query: A finished query.
    """
    annotated = query.cost == 'annotated'
    rows: list[tuple[str | int, ...]] = []
    for name in query.spent_per_class:
        counts = [sum(frame.predicted_boxes.get(name, 0) for frame in query.frames)]
        if annotated:
            counts.append(query.spent_per_class[name])
        rows.append((name, *counts))
    rows.append(('all', *(sum(int(row[column]) for row in rows) for column in range(1, 3 if annotated else 2))))
    header = ('class', 'predicted', *(('annotated',) if annotated else ()))
    return QueryTable('boxes in the chosen frames', header, rows)


def describe(query: Query, warnings: int = 8) -> Iterator[str]:
    """Yield the lines that tell the story of a query; its table comes from `class_table`.

    Args:
        query: A finished query.
        warnings: Show at most so many warnings; all of them stand in ``query.json``.
    """
    yield summary_line(query)
    yield from class_facts(query)
    for warning in query.warnings[:warnings]:
        yield f'warning: {warning}'
    if len(query.warnings) > warnings:
        yield f'{len(query.warnings) - warnings} more warnings stand in query.json'
