"""The tables of the paper on this machine: rows, their experiments, several seeds, and what the numbers can say."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.reproduce.rows import Row as Row
    from ssal3d.reproduce.rows import read_rows as read_rows
    from ssal3d.reproduce.statistics import compare as compare
    from ssal3d.reproduce.statistics import interval as interval
    from ssal3d.reproduce.statistics import mixed_model as mixed_model
    from ssal3d.reproduce.statistics import seeds_needed as seeds_needed

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {'rows': ['Row', 'read_rows'], 'statistics': ['compare', 'interval', 'mixed_model', 'seeds_needed']},
)
