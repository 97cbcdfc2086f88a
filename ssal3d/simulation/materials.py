"""What surfaces return: brightness, loss and transparency of each material for a 905 nm LiDAR."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Material(IntEnum):
    """Index of a material in the columns of `OPTICS`."""

    ASPHALT = 0
    PAVING = 1
    GRASS = 2
    FACADE = 3
    CONCRETE = 4
    GLASS = 5
    PAINT_LIGHT = 6
    PAINT_MIDDLE = 7
    PAINT_DARK = 8
    RUBBER = 9
    METAL = 10
    CLOTH_LIGHT = 11
    CLOTH_DARK = 12
    SKIN = 13
    LEAF = 14
    BARK = 15
    WOOD = 16
    REFLECTOR = 17
    INTERIOR = 18


@dataclass(frozen=True)
class Optics:
    """Columns ``(M,)`` by material.

    Attributes:
        brightness: Intensity of a perpendicular hit at short range, in [0, 1].
        spread: Standard deviation of the intensity from hit to hit, relative.
        grazing: Exponent of the cosine of the angle of incidence: 1 is a matt (Lambertian) surface, smaller is rougher.
        reach: Range in metres at which half of the perpendicular hits return.
        transparency: Share of the rays that go through.
        loss: Share of the remaining rays that never return, whatever the range (mirrors, gaps).
    """

    brightness: Array
    spread: Array
    grazing: Array
    reach: Array
    transparency: Array
    loss: Array


# Reach starts from the HDL-64E's data sheet (50 m for a tenth of reflectivity, 120 m for cars and foliage). Brightness,
# reach and loss were then tuned until ranges and intensities came near those of real KITTI scans (docs/simulation.md).
_TABLE = {
    #                       brightness spread grazing reach transparency loss
    Material.ASPHALT: (0.28, 0.30, 0.10, 70.0, 0.0, 0.005),  # rough: hardly darker at grazing angles
    Material.PAVING: (0.33, 0.25, 0.10, 75.0, 0.0, 0.005),  # slabs and kerbs
    Material.GRASS: (0.38, 0.25, 0.05, 80.0, 0.0, 0.01),  # bright in the near infrared
    Material.FACADE: (0.40, 0.30, 0.35, 120.0, 0.0, 0.01),  # plaster and brick
    Material.CONCRETE: (0.38, 0.25, 0.35, 110.0, 0.0, 0.01),  # walls
    Material.GLASS: (0.05, 0.80, 1.00, 40.0, 0.55, 0.75),  # most rays pass or are mirrored away
    Material.PAINT_LIGHT: (0.42, 0.45, 0.80, 120.0, 0.0, 0.02),  # white and silver cars
    Material.PAINT_MIDDLE: (0.22, 0.60, 0.90, 100.0, 0.0, 0.04),  # red, blue, grey cars
    Material.PAINT_DARK: (0.05, 0.90, 1.00, 75.0, 0.0, 0.12),  # black cars: dark spots and holes
    Material.RUBBER: (0.07, 0.60, 0.60, 60.0, 0.0, 0.08),  # tyres, underbody
    Material.METAL: (0.30, 0.50, 0.60, 100.0, 0.0, 0.04),  # poles, rims, frames
    Material.CLOTH_LIGHT: (0.38, 0.30, 0.40, 110.0, 0.0, 0.02),  # many dyes are bright in the near infrared
    Material.CLOTH_DARK: (0.14, 0.50, 0.40, 80.0, 0.0, 0.04),  # denim, leather
    Material.SKIN: (0.36, 0.20, 0.40, 110.0, 0.0, 0.02),  # and hair
    Material.LEAF: (0.37, 0.45, 0.20, 100.0, 0.0, 0.03),  # gaps between leaves are in the geometry
    Material.BARK: (0.34, 0.30, 0.40, 100.0, 0.0, 0.02),  # trunks
    Material.WOOD: (0.30, 0.30, 0.40, 100.0, 0.0, 0.03),  # fences, bins, benches
    Material.REFLECTOR: (0.95, 0.05, 0.10, 200.0, 0.0, 0.0),  # number plates, signs
    Material.INTERIOR: (0.06, 0.60, 0.50, 60.0, 0.0, 0.20),  # seats behind car windows
}

OPTICS = Optics(*np.array([_TABLE[material] for material in Material]).T)
