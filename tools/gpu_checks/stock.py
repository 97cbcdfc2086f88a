"""Our PV-RCNN as MMDetection3D's own: for comparisons, here and in the tests."""

from typing import Any

STOCK = {
    'ActivePointVoxelRCNN': 'PointVoxelRCNN',
    'ActivePartA2RPNHead': 'PartA2RPNHead',
    'ActivePVRCNNRoiHead': 'PVRCNNRoiHead',
    'ActivePVRCNNBBoxHead': 'PVRCNNBBoxHead',
}
OWN = ('class_quality', 'dense_cpu_dtype')  # options that the stock classes lack


def to_stock(config: Any) -> Any:
    """Return a config with the classes of ours replaced by those that they extend."""
    if isinstance(config, dict):
        return {k: STOCK.get(v, v) if k == 'type' else to_stock(v) for k, v in config.items() if k not in OWN}
    return [to_stock(value) for value in config] if isinstance(config, list) else config
