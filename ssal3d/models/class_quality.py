"""How well each class is learnt: a moving average that the box head keeps in training, for PPAL (arXiv 2211.11612)."""

import torch
from mmcv.ops import box_iou_rotated
from mmengine.dist import all_reduce
from torch import Tensor, nn

EPS = 1e-5  # of the released code's mean


def box_quality(scores: Tensor, ious: Tensor, xi: float = 0.6) -> Tensor:
    """Return ``score^xi IoU^(1 - xi)``, in [0, 1].

    Args:
        scores: ``(P,)`` predicted confidences of the assigned class, in [0, 1].
        ious: ``(P,)`` IoU of the decoded box with its target, in [0, 1].
        xi: Weight of the confidence, in [0, 1].

    >>> box_quality(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([1.0, 0.5, 0.7])).tolist()
    [1.0, 0.5, 0.0]
    """
    return scores.float().clamp(0, 1) ** xi * ious.float().clamp(0, 1) ** (1 - xi)


def aligned_iou_3d(boxes: Tensor, targets: Tensor) -> Tensor:
    """Return the rotated 3D IoU of each box with the target in the same row.

    Args:
        boxes: ``(P, 7)`` boxes with their gravity centre, yaw counter-clockwise.
        targets: ``(P, 7)`` boxes of the same kind.

    Returns:
        ``(P,)`` float32 IoU in [0, 1]; 0 where a box has no volume or is not finite, as early in training.
    """
    boxes, targets = boxes.detach()[:, :7].float(), targets.detach()[:, :7].float()
    if not len(boxes):
        return boxes.new_zeros(0)
    plane, height = [0, 1, 3, 4, 6], 5
    bev_iou = box_iou_rotated(boxes[:, plane], targets[:, plane], aligned=True)
    areas = boxes[:, 3] * boxes[:, 4], targets[:, 3] * targets[:, 4]
    bev_overlap = bev_iou * (areas[0] + areas[1]) / (1 + bev_iou)
    half, target_half = boxes[:, height] / 2, targets[:, height] / 2
    top = torch.minimum(boxes[:, 2] + half, targets[:, 2] + target_half)
    bottom = torch.maximum(boxes[:, 2] - half, targets[:, 2] - target_half)
    overlap = bev_overlap * (top - bottom).clamp(min=0)
    union = areas[0] * boxes[:, height] + areas[1] * targets[:, height] - overlap
    return torch.nan_to_num(overlap / union, nan=0.0, posinf=0.0, neginf=0.0).clamp(0, 1)


class ClassQuality(nn.Module):
    """Moving average of the quality of each class's positive boxes.

    A class that was absent for a while has a lower momentum, so that its next boxes count for more; they restore it.
    The released code also pulls an absent class towards quality 0, so rare classes look harder than they are.

    Args:
        classes: Number of classes C.
        xi: Weight of the confidence in the quality of a box, see `box_quality`.
        momentum: Share of the old average that a step keeps, and factor for the momentum of an absent class.
        parity: Decay absent classes, as the released code does; by default their quality stays.

    Attributes:
        quality: ``(C,)`` buffer, 0 at the beginning.
        momentum: ``(C,)`` buffer, the momentum of each class's next step.
    """

    quality: Tensor
    momentum: Tensor

    def __init__(self, classes: int, xi: float = 0.6, momentum: float = 0.99, parity: bool = False) -> None:
        super().__init__()
        if not (0 <= xi <= 1 and 0 <= momentum <= 1):
            raise ValueError(f'class quality: found xi {xi} and momentum {momentum}, expected numbers in [0, 1]')
        self.xi, self.base_momentum, self.parity = xi, momentum, parity
        self.register_buffer('quality', torch.zeros(classes))
        self.register_buffer('momentum', torch.full((classes,), float(momentum)))

    @torch.no_grad()
    def update(self, scores: Tensor, ious: Tensor, labels: Tensor) -> None:
        """Take the positive boxes of one training step into account.

        All ranks must call it, also those without positive boxes: the mean is over the batches of all of them.

        Args:
            scores: ``(P,)`` predicted confidences.
            ious: ``(P,)`` IoU with the targets.
            labels: ``(P,)`` classes; boxes with labels outside ``[0, C)`` or values that are not finite do not count.
        """
        quality = box_quality(scores.detach(), ious.detach(), self.xi).to(self.quality)
        of_class = labels[:, None] == torch.arange(len(self.quality), device=labels.device)
        of_class = of_class.to(quality.device) & quality.isfinite()[:, None]
        totals = torch.stack((torch.where(of_class, quality[:, None], 0).sum(0), of_class.to(quality).sum(0)))
        all_reduce(totals)  # does nothing in a single process
        total, count = totals
        mean = total / (count + EPS) if self.parity else total / count.clamp(min=1)
        present = mean > 0 if self.parity else count > 0
        following = self.momentum * self.quality + (1 - self.momentum) * mean
        self.quality.copy_(following if self.parity else torch.where(present, following, self.quality))
        self.momentum.copy_(torch.where(present, self.base_momentum, self.momentum * self.base_momentum))
