"""Which boxes become pseudo labels, and what the log tells about them."""

from collections.abc import Sequence

import torch
from torch import Tensor

PRECISION = 'pseudo/{}/precision_on_labelled'  # name in the log, by class


def keep_pseudo_boxes(
    scores: Tensor, rpn_scores: Tensor, labels: Tensor, t_iou: Tensor | Sequence[float], t_sem: float
) -> Tensor:
    """Return which boxes are trusted by both of their scores.

    Args:
        scores: ``(N,)`` IoU-quality scores s, in [0, 1].
        rpn_scores: ``(N,)`` RPN scores r of the proposals they came from, in [0, 1].
        labels: ``(N,)`` classes.
        t_iou: ``(C,)`` thresholds for s; a tensor on the scores' device avoids a copy.
        t_sem: Threshold for r, the same for all classes.

    Returns:
        ``(N,)`` bool, true where both scores are above (not at) their thresholds in the precision of the scores.

    >>> s, r = torch.tensor([0.55, 0.55, 0.26, 0.25]), torch.tensor([0.50, 0.35, 0.41, 0.90])
    >>> keep_pseudo_boxes(s, r, torch.tensor([0, 0, 1, 1]), (0.5, 0.25), 0.4).tolist()
    [True, False, True, False]
    """
    thresholds = torch.as_tensor(t_iou, dtype=scores.dtype, device=scores.device)
    return (scores > thresholds[labels]) & (rpn_scores > t_sem)


def precision_statistics(right: Tensor, total: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
    """Return ``pseudo/<class>/precision_on_labelled`` for the log, of the classes with any box.

    Args:
        right: ``(C,)`` numbers of right boxes.
        total: ``(C,)`` numbers of boxes.
        classes: C class names.

    >>> precision_statistics(torch.tensor([0, 3]), torch.tensor([0, 4]), ('Cyclist', 'Car'))
    {'pseudo/Car/precision_on_labelled': tensor(0.7500)}
    """
    rows = zip(classes, right, total, strict=True)
    return {PRECISION.format(name): good / count for name, good, count in rows if count}


def class_statistics(scores: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
    """Return how many boxes each class has and how good they look, for the log.

    Args:
        scores: ``(N,)`` scores of the boxes of one or more frames.
        labels: ``(N,)`` their classes.
        classes: C class names.

    Returns:
        Two scalars per class: ``pseudo/<class>/count`` and ``pseudo/<class>/score``, the mean, 0 without boxes (a NaN
        would stay in the smoothed log). Stays on the device.
    """
    scores = scores.detach().float()
    member = (labels[:, None] == torch.arange(len(classes), device=labels.device)).to(scores.dtype)
    count = member.sum(0)
    mean = (member * scores[:, None]).sum(0) / count.clamp(min=1)
    result = {}
    for index, name in enumerate(classes):
        result[f'pseudo/{name}/count'], result[f'pseudo/{name}/score'] = count[index], mean[index]
    return result
