"""Rows of the paper's tables: what each trains and chooses with, and the numbers that the paper prints.

Source: S-SSAL, Wang et al. 2025.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ssal3d.errors import UserError

PAPER = Path(__file__).with_name('paper.csv')
# The benchmark of this project: the questions that the paper's largest effects ask, without its slowest methods.
BENCHMARK = 'benchmark'
KITTI_TABLES = ('1', '3', '4', '5', '7')
TITLES = {
    '1': 'active and semi-supervised learning on KITTI',
    '3': 'parts of CPSP: iterations, deletion, false positives',
    '4': 'centres of the k-means clusters in CPSP',
    '5': 'parts of CAL: class balance, uncertainty, diversity',
    '7': 'pre-training before the query',
    BENCHMARK: 'pre-training, query and final model, crossed',
}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        table: ``'1'``, ... or ``'benchmark'``.
        number: Its place in the table, from 1.
        pretrain: What trains the model that the query sees: ``'Normal'``, ``'CPSP'``, ...; ``'Full'`` for all labels.
        sampler: Who chooses: ``'Random'``, ``'CAL'``, ...
        final: How the final model is trained: ``'supervised'``, ``'CPSP'``, ``'HSSDA'``.
        variant: What is changed within the methods, e.g. ``'centres=5'``.
        paper: AP in % that the paper prints, by metric, e.g. ``'Car_mod_mAP'``.
    """

    table: str
    number: int
    pretrain: str
    sampler: str
    final: str
    variant: str = ''
    paper: dict[str, float] = field(default_factory=dict, compare=False, hash=False)

    @property
    def experiment(self) -> str:
        """Name of the experiment, the same for rows of several tables that are one."""
        if self.pretrain == 'Full':
            return 'Full'
        changed = self.variant if self.variant not in (*DEFAULT_VARIANTS, NOTHING_OF_CAL) else ''
        return '-'.join(filter(None, (self.pretrain, self.sampler, self.final, changed.replace(' ', '-'))))

    @property
    def label(self) -> str:
        """The row for people."""
        if self.pretrain == 'Full':
            return 'all labels'
        return ' + '.join(filter(None, (self.pretrain, self.sampler, self.final))) + (
            f' ({self.variant})' if self.variant else ''
        )


# Variants that are the method itself, and the one that is the random query.
DEFAULT_VARIANTS = ('ITER=1 DEL=1 FP=1', 'centres=20', 'CBS=1 E2_Unc=1 B_Div=1')
NOTHING_OF_CAL = 'CBS=0 E2_Unc=0 B_Div=0'


@cache
def _printed() -> tuple[Row, ...]:
    rows: dict[tuple[str, int], Row] = {}
    with PAPER.open(newline='') as file:
        for entry in csv.DictReader(file):
            key = entry['table'], int(entry['row'])
            sampler = 'Random' if entry['variant'] == NOTHING_OF_CAL else entry['sampler']
            row = rows.setdefault(key, Row(*key, entry['pretrain'], sampler, entry['final'], entry['variant']))
            row.paper[entry['metric']] = float(entry['value'])
    return tuple(rows.values())


def read_rows(table: str, numbers: Iterable[int] = ()) -> list[Row]:
    """Return the rows of a table.

    Args:
        table: ``'1'``, ``'table1'``, ... or ``'benchmark'``.
        numbers: Only these rows; all by default.

    Raises:
        UserError: If there is no such table or row, or the table is one of Waymo.
    """
    name = table.lower().removeprefix('table')
    tables = (*KITTI_TABLES, BENCHMARK)
    if name in ('2', '6', '8'):
        raise UserError(f'table {name} is measured on Waymo, which is not there yet; available: {", ".join(tables)}')
    if name not in tables:
        raise UserError(f'found table {table!r}, expected one of {", ".join(tables)}')
    rows = _benchmark() if name == BENCHMARK else [row for row in _printed() if row.table == name]
    wanted = list(numbers)
    known = {row.number for row in rows}
    if unknown := [number for number in wanted if number not in known]:
        raise UserError(f'table {name}: found no row {unknown[0]}, expected 1 to {len(rows)}')
    return [row for row in rows if not wanted or row.number in wanted]


def _benchmark() -> list[Row]:
    """Return the crossed design; the paper's numbers where it has the cell."""
    printed = {(row.pretrain, row.sampler, row.final): row.paper for row in _printed() if row.table in KITTI_TABLES}
    cells = [
        (pretrain, sampler, final)
        for pretrain in ('Normal', 'CPSP')
        for sampler in ('Random', 'Entropy', 'CAL')
        for final in ('supervised', 'CPSP')
    ]
    cells += [('Normal', 'Random', 'longer')]
    return [Row(BENCHMARK, number, *cell, paper=printed.get(cell, {})) for number, cell in enumerate(cells, start=1)]
