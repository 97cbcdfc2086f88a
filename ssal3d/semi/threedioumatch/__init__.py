"""3DIoUMatch: boxes of the teacher that pass two score thresholds are labels."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.semi.threedioumatch.detector import IoUMatch3D as IoUMatch3D

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'detector': ['IoUMatch3D'],
    },
)
