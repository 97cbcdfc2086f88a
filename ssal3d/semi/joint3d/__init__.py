"""Joint3D-style consistency: student and teacher must agree on where boxes are."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.semi.joint3d.detector import ConsistencySSL3D as ConsistencySSL3D

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'detector': ['ConsistencySSL3D'],
    },
)
