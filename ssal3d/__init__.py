"""Semi-supervised active learning for LiDAR 3D object detection on MMDetection3D.

Importing the package is cheap: nothing of torch or MMDetection3D is loaded. Configs name the rooms they need in
``custom_imports = dict(imports=['ssal3d.register'])``.
"""

from ssal3d import mmcv_stand_in
from ssal3d.version import __version__

__all__ = ['__version__']

mmcv_stand_in.install()  # before anything imports mmcv's operators
