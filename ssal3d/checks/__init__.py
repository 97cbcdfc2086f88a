"""Contradictions in a config, found before anything is trained."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.checks.experiment import check_experiment as check_experiment
    from ssal3d.checks.experiment import refuse_contradictions as refuse_contradictions
    from ssal3d.checks.finding import Checked as Checked
    from ssal3d.checks.finding import Finding as Finding

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'experiment': ['check_experiment', 'refuse_contradictions'],
        'finding': ['Checked', 'Finding'],
    },
)
