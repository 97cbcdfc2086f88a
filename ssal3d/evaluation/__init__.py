"""How good detections are: average precision and calibration, as pure functions and thin metric shells."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.evaluation.box_precision import count_right as count_right
    from ssal3d.evaluation.calibration_report import CalibrationSettings as CalibrationSettings
    from ssal3d.evaluation.calibration_report import evaluate_calibration as evaluate_calibration
    from ssal3d.evaluation.kitti_ap import evaluate_kitti as evaluate_kitti
    from ssal3d.evaluation.kitti_metric import KittiAPMetric as KittiAPMetric
    from ssal3d.evaluation.waymo_ap import evaluate_waymo as evaluate_waymo
    from ssal3d.evaluation.waymo_metric import WaymoAPMetric as WaymoAPMetric

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'box_precision': ['count_right'],
        'calibration_report': ['CalibrationSettings', 'evaluate_calibration'],
        'kitti_ap': ['evaluate_kitti'],
        'kitti_metric': ['KittiAPMetric'],
        'waymo_ap': ['evaluate_waymo'],
        'waymo_metric': ['WaymoAPMetric'],
    },
)
