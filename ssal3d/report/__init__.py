"""Pages and pictures of experiments."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.report.experiment import read_experiment as read_experiment
    from ssal3d.report.page import write_report as write_report

__getattr__, __dir__, __all__ = lazy_exports(__name__, {'experiment': ['read_experiment'], 'page': ['write_report']})
