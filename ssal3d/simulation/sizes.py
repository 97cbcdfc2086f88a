"""How large objects are: the size distributions of KITTI's classes."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SizeTable:
    """Sizes of a class in metres.

    Attributes:
        mean: Length, width, height.
        deviation: Standard deviations of length, width, height.
        correlation: Of length and width, length and height, width and height.
        skew: Whether heights are skewed: many low ones and a tail of high ones, as a log-normal distribution.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    correlation: tuple[float, float, float]
    skew: bool = False


# Measured over the labels of KITTI's 7481 training frames (Geiger et al., CVPR 2012); numbers of boxes on the right.
# The tails of Van and Truck are cut where single odd vehicles stretch them.
SIZES = {
    'Car': SizeTable((3.88, 1.63, 1.53), (0.43, 0.10, 0.14), (0.35, 0.17, 0.31), skew=True),  # 28742
    'Van': SizeTable((5.08, 1.90, 2.21), (0.70, 0.17, 0.30), (0.65, 0.82, 0.67)),  # 2914
    'Truck': SizeTable((10.1, 2.59, 3.25), (2.00, 0.20, 0.40), (0.41, 0.21, 0.38)),  # 1094
    'Pedestrian': SizeTable((0.84, 0.66, 1.76), (0.23, 0.14, 0.11), (0.20, 0.27, 0.13)),  # 4487
    'Person_sitting': SizeTable((0.80, 0.59, 1.27), (0.20, 0.08, 0.11), (-0.33, 0.18, 0.33)),  # 222
    'Cyclist': SizeTable((1.76, 0.60, 1.74), (0.18, 0.12, 0.09), (0.32, 0.37, 0.13)),  # 1627
}
_CUT = 2.2  # standard deviations
_SKEW = 0.5  # of the logarithm; gives KITTI's percentiles 1.36, 1.43, 1.50, 1.59, 1.78 m of car heights within 1 cm
_SKEWED_DEVIATION = float(np.sqrt((np.exp(_SKEW**2) - 1) * np.exp(_SKEW**2)))


def draw_size(name: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw (length, width, height) of an object in metres.

    Args:
        name: Class with an entry in `SIZES`.
        rng: Source of chance; three normal numbers are drawn.
    """
    table = SIZES[name]
    lw, lh, wh = table.correlation
    root = np.linalg.cholesky(np.array([[1, lw, lh], [lw, 1, wh], [lh, wh, 1]]))
    drawn = np.clip(root @ rng.standard_normal(3), -_CUT, _CUT)
    if table.skew:
        drawn[2] = (np.exp(_SKEW * drawn[2]) - np.exp(_SKEW**2 / 2)) / _SKEWED_DEVIATION
    length, width, height = np.array(table.mean) + drawn * np.array(table.deviation)
    return float(length), float(width), float(height)
