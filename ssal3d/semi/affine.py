"""The global augmentation of a point cloud as a transformation that moves boxes and points between views."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssal3d.errors import UserError

_FLOWS = {'HF', 'VF', 'R', 'S', 'T'}  # steps that mmdet3d's RandomFlip3D and GlobalRotScaleTrans record


@dataclass(frozen=True)
class Affine3D:
    """Mirror, then turn about z, then scale: the order of the released code of S-SSAL.

    The yaw is never wrapped, so that moving boxes there and back, or in two steps, gives the yaw to rounding and not
    only its heading. `inverse` and `compose` keep whole turns in the angle for this.

    Attributes:
        flip_x: Mirror that keeps x (y -> -y, yaw -> -yaw), mmdet3d's 'horizontal'.
        flip_y: Mirror that keeps y (x -> -x, yaw -> pi - yaw), mmdet3d's 'vertical', after the first one.
        angle: Rotation, counter-clockwise, radians, any number of turns.
        scale: Factor > 0 for coordinates and sizes.

    Raises:
        UserError: If angle or scale is not finite or the scale not positive.

    >>> move = Affine3D(flip_x=True, angle=math.pi / 2, scale=1.1)
    >>> [round(value, 4) for value in move.boxes(torch.tensor([[10, 5, -1, 4, 2, 1.5, 0.3]]))[0].tolist()]
    [5.5, 11.0, -1.1, 4.4, 2.2, 1.65, 1.2708]
    """

    flip_x: bool = False
    flip_y: bool = False
    angle: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.angle) and math.isfinite(self.scale) and self.scale > 0):
            raise UserError(
                f'transform: found angle {self.angle} and scale {self.scale}, expected a finite angle and a scale > 0'
            )

    def points(self, points: Tensor) -> Tensor:
        """Return moved ``(N, >=3)`` points; further columns stay. The input is not changed."""
        xyz = self._moved(points[:, 0], points[:, 1], points[:, 2])
        return torch.cat((torch.stack(xyz, 1), points[:, 3:]), 1)

    def boxes(self, boxes: Tensor) -> Tensor:
        """Return moved ``(N, 7)`` boxes (m, rad), the input is not changed.

        Gravity- and bottom-centred boxes move alike, because every step fixes the ground plane z = 0 or scales all
        of z and the height.
        """
        x, y, z, *sizes, yaw = boxes.unbind(1)
        moved = self._moved(x, y, z)
        return torch.stack((*moved, *(size * self.scale for size in sizes), self._sign * yaw + self._offset), 1)

    def inverse(self) -> 'Affine3D':
        """Return the transform that undoes this one.

        A mirror turns rotations round: F R(-a) = R(a) F for one mirror, R(-a) F for none or both. So the inverse has
        the same mirrors.
        """
        angle = -self._sign * self._offset - self._mirror_yaw
        return Affine3D(self.flip_x, self.flip_y, angle, 1 / self.scale)

    def compose(self, following: 'Affine3D') -> 'Affine3D':
        """Return this transform with another one after it.

        Args:
            following: Applied to the result of this one.
        """
        flip_x, flip_y = self.flip_x != following.flip_x, self.flip_y != following.flip_y
        angle = following._sign * self._offset + following._offset - math.pi * flip_y
        return Affine3D(flip_x, flip_y, angle, self.scale * following.scale)

    @classmethod
    def from_meta(cls, metainfo: Mapping[str, Any]) -> 'Affine3D':
        """Return what a frame's training pipeline did to it, from the records of mmdet3d.

        RandomFlip3D and GlobalRotScaleTrans are followed in the order in which ``transformation_3d_flow`` has them; a
        frame without these records was not moved.

        Args:
            metainfo: Meta data of a data sample, with those of ``pcd_horizontal_flip``, ``pcd_vertical_flip``,
                ``pcd_rotation_angle``, ``pcd_scale_factor``, ``pcd_trans`` and ``transformation_3d_flow`` that exist.

        Raises:
            UserError: If the frame was moved by a translation or the same step ran twice; neither can be undone.
        """
        flow = metainfo.get('transformation_3d_flow')
        if flow is not None and (len(set(flow)) < len(flow) or not _FLOWS.issuperset(flow)):
            raise UserError(
                f'transformation_3d_flow: found {list(flow)}, expected each of HF, VF, R, S, T at most once; use one '
                'RandomFlip3D and one GlobalRotScaleTrans in the student pipeline'
            )
        if any(float(shift) != 0 for shift in metainfo.get('pcd_trans', ())):
            raise UserError(
                f'pcd_trans: found {list(metainfo["pcd_trans"])}, expected no translation; set translation_std=[0, 0, 0] '
                'in GlobalRotScaleTrans'
            )
        steps = {
            'HF': cls(flip_x=bool(metainfo.get('pcd_horizontal_flip', False))),
            'VF': cls(flip_y=bool(metainfo.get('pcd_vertical_flip', False))),
            'R': cls(angle=float(metainfo.get('pcd_rotation_angle', 0.0))),
            'S': cls(scale=float(metainfo.get('pcd_scale_factor', 1.0))),
            'T': cls(),
        }
        result = cls()
        for step in steps if flow is None else flow:
            result = result.compose(steps[step])
        return result

    @classmethod
    def random(
        cls,
        generator: torch.Generator | None = None,
        *,
        flip_x: float = 0.5,
        flip_y: float = 0.0,
        rotation: tuple[float, float] = (-math.pi / 4, math.pi / 4),
        scale: tuple[float, float] = (0.95, 1.05),
    ) -> 'Affine3D':
        """Draw a transform; every call takes four numbers from the generator, whatever the settings.

        Args:
            generator: CPU generator; torch's global one if None.
            flip_x: Probability of the mirror that keeps x, in [0, 1].
            flip_y: Probability of the mirror that keeps y, in [0, 1].
            rotation: Range of the angle, radians.
            scale: Range of the factor.
        """
        draws: list[float] = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        angle, factor = (low + (high - low) * draw for (low, high), draw in zip((rotation, scale), draws[2:]))
        return cls(draws[0] < flip_x, draws[1] < flip_y, angle, factor)

    @property
    def _sign(self) -> int:
        """Factor of the yaw: -1 for one mirror."""
        return -1 if self.flip_x != self.flip_y else 1

    @property
    def _mirror_yaw(self) -> float:
        return math.pi * self.flip_y

    @property
    def _offset(self) -> float:
        """What is added to the (signed) yaw."""
        return self._mirror_yaw + self.angle

    def _moved(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        along_x, along_y = 1 - 2 * self.flip_y, 1 - 2 * self.flip_x
        # Numbers instead of a matrix: no copy to the device.
        return (
            x * (cos * along_x) - y * (sin * along_y),
            x * (sin * along_x) + y * (cos * along_y),
            z * self.scale,
        )
