"""NAL in 3D: confident boxes become labels once, mirrored views must agree."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.semi.nal.detector import NAL3D as NAL3D
    from ssal3d.semi.nal.detector import LoadAutoLabels as LoadAutoLabels
    from ssal3d.semi.nal.stage import AutoLabelStage as AutoLabelStage

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'detector': ['LoadAutoLabels', 'NAL3D'],
        'stage': ['AutoLabelStage'],
    },
)
