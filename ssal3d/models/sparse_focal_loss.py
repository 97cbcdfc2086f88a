"""The focal loss of anchors, of which few are positive or ignored: in a handful of passes, with its gradient."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def sparse_focal_loss(
    logits: Tensor,
    positives: Tensor,
    labels: Tensor,
    ignored: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the sum of the sigmoid focal loss (arXiv 1708.02002, Eq. 5) over anchors and classes.

    Args:
        logits: ``(N, C)`` float32 logits.
        positives: ``(P,)`` rows of anchors with an object.
        labels: ``(P,)`` its class.
        ignored: ``(I,)`` rows that count nothing; the others have no object of any class.
        alpha: Weight of positive entries; negative ones have ``1 - alpha``.
        gamma: Exponent of the modulating factor.
        weights: ``(P,)`` weight of each of ``positives``, all of its classes; None: 1.
    """
    return _SparseFocalLoss.apply(logits, positives, labels, ignored, alpha, gamma, weights)


class _SparseFocalLoss(torch.autograd.Function):
    """Treats all entries as negative, then corrects the few others."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        positives: Tensor,
        labels: Tensor,
        ignored: Tensor,
        alpha: float,
        gamma: float,
        weights: Tensor | None,
    ) -> Tensor:
        loss, gradient = _loss_of_negatives(logits, gamma)
        loss[ignored], gradient[ignored] = 0, 0
        loss, gradient = loss.mul_(1 - alpha), gradient.mul_(1 - alpha)
        positive_loss, positive_gradient = _loss_of_negatives(-logits[positives, labels], gamma)
        loss[positives, labels], gradient[positives, labels] = alpha * positive_loss, -alpha * positive_gradient
        if weights is not None:
            for values in (loss, gradient):
                values[positives] *= weights[:, None]
        ctx.save_for_backward(gradient)
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient.mul(upstream[0]), None, None, None, None, None, None


def _loss_of_negatives(logits: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return ``p^gamma softplus(x)`` with ``p = sigmoid(x)``, and its derivative by x."""
    p = logits.sigmoid()
    power = p * p if gamma == 2 else p**gamma
    loss = functional.softplus(logits).mul_(power)
    gradient = torch.addcmul(power.mul_(p), loss, 1 - p, value=gamma)
    return loss, gradient
