"""Rows of the paper's tables: what each trains and chooses with, and the numbers that the paper prints.

Source: S-SSAL, Wang et al. 2025.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from ssal3d.errors import UserError

PAPER = Path(__file__).with_name('paper.csv')
# The benchmark of this project: the questions that the paper's largest effects ask, without its slowest methods.
BENCHMARK = 'benchmark'
SCORES = 'scores'  # does CAL choose better with calibrated scores? Not in the paper
FIG_6, FIG_7 = 'fig6', 'fig7'
KITTI_TABLES = ('1', '3', '4', '5', '7')
WAYMO_TABLES = ('2', '6', '8', FIG_6, FIG_7)
TABLES = (*sorted((*KITTI_TABLES, '2', '6', '8')), FIG_6, FIG_7, BENCHMARK, SCORES)
WITHOUT_PARTS = ('3', '5')  # rows that lack parts of CPSP or CAL, at last the one with all
NO_FINAL = 'none'  # the rows about pre-trained models train no final one
TITLES = {
    '1': 'active and semi-supervised learning on KITTI',
    '3': 'parts of CPSP: iterations, deletion, false positives',
    '4': 'centres of the k-means clusters in CPSP',
    '5': 'parts of CAL: class balance, uncertainty, diversity',
    '7': 'pre-training before the query',
    '2': 'active and semi-supervised learning on Waymo',
    '6': 'one round of queries and three on Waymo, for the same boxes',
    '8': 'calibration of pre-trained models on the unlabelled pool',
    FIG_6: 'five rounds of queries, a final model after each',
    FIG_7: 'precision and number of detections by confidence, on the unlabelled pool',
    SCORES: 'CAL with scores that are calibrated on the labelled frames',
    BENCHMARK: 'pre-training, query and final model, crossed',
}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        table: One of `TABLES`.
        number: Its place in the table, from 1.
        pretrain: What trains the model that the query sees: ``'Normal'``, ``'CPSP'``, ...; ``'Full'`` for all labels.
        sampler: Who chooses: ``'Random'``, ``'CAL'``, ...
        final: How the final model is trained: ``'supervised'``, ``'CPSP'``, ``'HSSDA'``; ``'none'`` if it is not.
        variant: What is changed within the methods, e.g. ``'centres=5'``, or in the rounds, e.g. ``'rounds=3
            boxes=5000+3x5000'``.
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
        if 'rounds' in self._words:
            changed = f'{self.rounds} rounds' + (f' x{self.budget_factor}' if self.budget_factor > 1 else '')
        return '-'.join(filter(None, (self.pretrain, self.sampler, self.final, changed.replace(' ', '-'))))

    @property
    def label(self) -> str:
        """The row for people."""
        if self.pretrain == 'Full':
            return 'all labels'
        if self.final == NO_FINAL:
            return self.pretrain
        if self.table == FIG_6:
            return f'{self.pretrain} + {self.sampler}'
        if 'rounds' in self._words:
            return f'{self.rounds} round{"s" * (self.rounds > 1)}, {self._words["boxes"]} boxes'
        return ' + '.join(filter(None, (self.pretrain, self.sampler, self.final))) + (
            f' ({self.variant})' if self.variant else ''
        )

    @property
    def rounds(self) -> int:
        """Number of queries."""
        return int(self._words.get('rounds', 1))

    @property
    def budget_factor(self) -> int:
        """Boxes of each query, as a multiple of the usual ones (Table 6: 15,000 instead of 5,000)."""
        first, _, queries = self._words.get('boxes', '').partition('+')
        return round(int(queries.rpartition('x')[2]) / int(first)) if queries else 1

    @property
    def _words(self) -> dict[str, str]:
        return dict(word.split('=') for word in self.variant.split())

    @property
    def changes_the_query(self) -> bool:
        """Whether the variant is one of the query alone, so that the models before it are those of the other rows."""
        return self.table in ('5', '6', SCORES)


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
            final = entry['final']
            if key[0] == '8':
                sampler, final = 'CAL', NO_FINAL  # models of this query's experiments
            row = rows.setdefault(key, Row(*key, entry['pretrain'], sampler, final, entry['variant']))
            row.paper[entry['metric']] = float(entry['value'])
    return tuple(rows.values())


def read_rows(table: str, numbers: Iterable[int] = ()) -> list[Row]:
    """Return the rows of a table.

    Args:
        table: ``'1'``, ``'table1'``, ``'fig6'``, ``'benchmark'``, ...
        numbers: Only these rows; all by default.

    Raises:
        UserError: If there is no such table or row.
    """
    name = table.lower().removeprefix('table')
    if name not in TABLES:
        raise UserError(f'found table {table!r}, expected one of {", ".join(TABLES)}')
    rows = _OWN[name]() if name in _OWN else [row for row in _printed() if row.table == name]
    requested = list(numbers)
    existing = {row.number for row in rows}
    if unknown := [number for number in requested if number not in existing]:
        raise UserError(f'table {name}: found no row {unknown[0]}, expected 1 to {len(rows)}')
    return [row for row in rows if not requested or row.number in requested]


def _benchmark() -> list[Row]:
    """Return the crossed design; the paper's numbers where it has the cell."""
    printed = {(row.pretrain, row.sampler, row.final): row.paper for row in _printed() if row.table in KITTI_TABLES}
    cells = [
        (pretrain, sampler, final)
        for pretrain in ('Normal', 'CPSP')
        for sampler in ('Random', 'Entropy', 'CAL')
        for final in ('supervised', 'CPSP')
    ]
    cells += [('Normal', 'Random', 'longer'), ('CPSP', 'CAL', 'longer')]  # controls; the second was added later
    return [Row(BENCHMARK, number, *cell, paper=printed.get(cell, {})) for number, cell in enumerate(cells, start=1)]


def _fig_6() -> list[Row]:
    """Return the methods of Fig. 6, which prints no numbers."""
    methods = ('Joint3D', 'NAL', '3DIoUMatch', 'Normal', 'CPSP')
    rounds = 'rounds=5 boxes=5000+5x5000'
    return [Row(FIG_6, number, method, 'CAL', 'CPSP', rounds) for number, method in enumerate(methods, start=1)]


def _fig_7() -> list[Row]:
    """Return the models of Table 8: Fig. 7 shows their precision and number of detections, without numbers."""
    return [replace(row, table=FIG_7) for row in _printed() if row.table == '8']


def _scores() -> list[Row]:
    variants = ('', 'scores=temperature', 'scores=isotonic')
    return [Row(SCORES, number, 'CPSP', 'CAL', 'CPSP', variant) for number, variant in enumerate(variants, start=1)]


_OWN = {BENCHMARK: _benchmark, FIG_6: _fig_6, FIG_7: _fig_7, SCORES: _scores}  # not in the file of printed numbers
