"""Carries a query to the people who label, and their boxes back: file formats, pre-labels, provenance, checks."""

from ssal3d.annotation.format import AnnotationFormat, Batch, Problem, Reading, Tolerance, build_format, format_names
from ssal3d.annotation.model import Camera, Cuboid, LabelFrame

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
]
