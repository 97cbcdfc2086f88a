"""Carries a query to the people who label, and their boxes back: file formats, pre-labels, provenance, checks."""

from typing import TYPE_CHECKING

from ssal3d.annotation.format import AnnotationFormat, Batch, Problem, Reading, Tolerance, build_format, format_names
from ssal3d.annotation.model import Camera, Cuboid, LabelFrame
from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.annotation.exporting import export_query as export_query
    from ssal3d.annotation.importing import ImportSettings as ImportSettings
    from ssal3d.annotation.importing import Labels as Labels
    from ssal3d.annotation.importing import read_labels as read_labels
    from ssal3d.annotation.provenance import Export as Export
    from ssal3d.annotation.sources import frames_of_folder as frames_of_folder
    from ssal3d.annotation.sources import frames_of_infos as frames_of_infos
    from ssal3d.annotation.store import read_boxes as read_boxes

__getattr__, __dir__, _lazy = lazy_exports(
    __name__,
    {
        'exporting': ['export_query'],
        'importing': ['ImportSettings', 'Labels', 'read_labels'],
        'provenance': ['Export'],
        'sources': ['frames_of_folder', 'frames_of_infos'],
        'store': ['read_boxes'],
    },
)
__all__ = [
    'AnnotationFormat',
    'Batch',
    'Camera',
    'Cuboid',
    'LabelFrame',
    'Problem',
    'Reading',
    'Tolerance',
    'build_format',
    'format_names',
    *_lazy,
]
