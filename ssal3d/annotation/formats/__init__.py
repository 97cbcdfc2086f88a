"""The file formats, one module each; importing this package registers them."""

from ssal3d.annotation.formats.fiftyone import FiftyOneFormat
from ssal3d.annotation.formats.kitti import KittiFormat
from ssal3d.annotation.formats.mcap import McapFormat
from ssal3d.annotation.formats.nuscenes import NuScenesFormat
from ssal3d.annotation.formats.openlabel import OpenLabelFormat
from ssal3d.annotation.formats.plain import CsvFormat, JsonFormat
from ssal3d.annotation.formats.supervisely import SuperviselyFormat
from ssal3d.annotation.formats.sustechpoints import SustechPointsFormat
from ssal3d.annotation.formats.tao import TaoFormat
from ssal3d.annotation.formats.xtreme1 import Xtreme1Format

__all__ = [
    'CsvFormat',
    'FiftyOneFormat',
    'JsonFormat',
    'KittiFormat',
    'McapFormat',
    'NuScenesFormat',
    'OpenLabelFormat',
    'SuperviselyFormat',
    'SustechPointsFormat',
    'TaoFormat',
    'Xtreme1Format',
]
