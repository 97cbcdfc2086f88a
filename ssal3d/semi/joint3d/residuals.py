"""Agreement of two views: matched boxes of teacher and student (Joint3D-style)."""

import torch
from mmcv.ops import box_iou_rotated
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

_PLANE = [0, 1, 3, 4, 6]
_SMALLEST = 1e-3  # m; a size below it has no meaningful logarithm


@torch.no_grad()
def match_boxes(
    teacher: Tensor, student: Tensor, teacher_labels: Tensor, student_labels: Tensor, min_iou: float = 0.1
) -> Tensor:
    """Pair boxes of the same class one to one, greedily by falling BEV IoU.

    Args:
        teacher: ``(T, 7)`` boxes.
        student: ``(S, 7)`` boxes in the same frame of reference.
        teacher_labels: ``(T,)`` classes.
        student_labels: ``(S,)`` classes.
        min_iou: Smallest BEV IoU of a pair.

    Returns:
        ``(P, 2)`` int64 positions (teacher, student), ascending. At equal IoU the earlier teacher box goes first, then
        the earlier student box. O(T S log(T S)) on the device of the boxes, one synchronisation per round and mostly
        two or three rounds.
    """
    shape = (len(teacher), len(student))
    if 0 in shape:
        return torch.empty((0, 2), dtype=torch.int64, device=teacher.device)
    ious = box_iou_rotated(teacher[:, _PLANE].float().contiguous(), student[:, _PLANE].float().contiguous())
    open_pairs = (ious >= min_iou) & (teacher_labels[:, None] == student_labels)
    # Pairs that are the best of both their boxes are those that a greedy walk takes; ranks make the best one unique.
    order = torch.where(open_pairs, ious, -1.0).flatten().sort(descending=True, stable=True)[1]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), 0, -1, device=order.device)
    ranks = ranks.reshape(shape)
    taken = torch.zeros_like(open_pairs)
    while open_pairs.any():
        left = torch.where(open_pairs, ranks, 0)
        best = open_pairs & (left == left.amax(1, keepdim=True)) & (left == left.amax(0, keepdim=True))
        taken |= best
        open_pairs &= ~(best.any(1, keepdim=True) | best.any(0, keepdim=True))
    return taken.nonzero()


def box_residuals(teacher: Tensor, student: Tensor) -> Tensor:
    """Return how the student's boxes differ from the teacher's.

    Args:
        teacher: ``(P, 7)`` boxes with their gravity centre.
        student: ``(P, 7)`` boxes of the same kind.

    Returns:
        ``(P, 7)``: the centre's difference over the ground diagonal of the teacher's box (all three axes), the
        logarithms of the sizes' ratios, the sine of the yaw's difference (0 for opposite headings).
    """
    diagonal = teacher[:, 3:5].norm(dim=1, keepdim=True).clamp(min=_SMALLEST)
    centre = (student[:, :3] - teacher[:, :3]) / diagonal
    size = student[:, 3:6].clamp(min=_SMALLEST).log() - teacher[:, 3:6].clamp(min=_SMALLEST).log()
    return torch.cat((centre, size, torch.sin(student[:, 6:7] - teacher[:, 6:7])), 1)


def residual_consistency(teacher: Tensor, student: Tensor, pairs: Tensor, beta: float = 1 / 9) -> Tensor:
    """Return the smooth-L1 loss of the residuals, summed over a pair's seven residuals, averaged over the pairs.

    Args:
        teacher: ``(T, 7)`` boxes with their gravity centre; no gradient goes into them.
        student: ``(S, 7)`` boxes of the same kind.
        pairs: ``(P, 2)`` positions (teacher, student) of `match_boxes`.
        beta: Residual at which the loss turns from quadratic to linear.

    Returns:
        Scalar; 0 with a graph to the student without pairs.
    """
    residuals = box_residuals(teacher.detach()[pairs[:, 0]], student[pairs[:, 1]])
    loss = smooth_l1_loss(residuals, torch.zeros_like(residuals), beta=beta, reduction='sum')
    return loss / max(len(pairs), 1)


def symmetric_bernoulli_kl(p: Tensor, q: Tensor) -> Tensor:
    """Return ``(KL(p || q) + KL(q || p)) / 2`` of Bernoulli distributions in nat.

    Args:
        p: ``(N,)`` probabilities; clamped to [1e-6, 1 - 1e-6].
        q: ``(N,)`` probabilities.

    >>> round(symmetric_bernoulli_kl(torch.tensor([0.8]), torch.tensor([0.6])).item(), 4)
    0.0981
    """
    p, q = (value.clamp(1e-6, 1 - 1e-6) for value in (p, q))
    return (p - q) * (torch.logit(p) - torch.logit(q)) / 2
