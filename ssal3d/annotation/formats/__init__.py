"""The file formats, one module each; importing this package registers them."""

from ssal3d.annotation.formats.kitti import KittiFormat
from ssal3d.annotation.formats.plain import CsvFormat, JsonFormat
from ssal3d.annotation.formats.supervisely import SuperviselyFormat
from ssal3d.annotation.formats.sustechpoints import SustechPointsFormat

__all__ = ['CsvFormat', 'JsonFormat', 'KittiFormat', 'SuperviselyFormat', 'SustechPointsFormat']
