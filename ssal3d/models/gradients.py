"""Gradient embeddings of frames, without ground truth and without touching the model.

Used by BADGE (Ash et al. 2020, arXiv 1906.03671) and CRB (Luo et al. 2023, arXiv 2301.09249).

The gradient of a linear layer's weight is a sum of outer products, ``sum_r delta_r x_r^T`` with the layer's inputs
``x_r`` and the loss's derivatives ``delta_r`` by its outputs. So only the few layers behind it are differentiated.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor
from torch.nn import functional


def output_derivatives(layer: ConvModule, inputs: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the derivative of a loss by the outputs of a layer's convolution.

    Args:
        layer: Convolution, normalisation (eval mode: RoIs do not mix) and activation.
        inputs: ``(R, I, 1, 1)`` inputs of the layer.
        loss: Takes what the layer returns, ``(R, O, 1, 1)``.

    Returns:
        ``(R, O)`` derivatives.
    """
    with torch.enable_grad():
        outputs = layer.conv(inputs).detach().requires_grad_()
        value = loss(layer.activate(layer.norm(outputs)))
        return torch.autograd.grad(value, outputs)[0].flatten(1)


def outer_product_sums(
    derivatives: Tensor, inputs: Tensor, groups: Sequence[Tensor], projection: int | None = None, seed: int = 0
) -> Tensor:
    """Return ``sum_r delta_r x_r^T`` of each group of rows, flattened.

    Args:
        derivatives: ``(R, O)`` derivatives delta.
        inputs: ``(R, I)`` inputs x.
        groups: Row masks or indices, one per frame.
        projection: Project both sides to P dimensions with fixed Gaussian matrices; in expectation inner products of
            embeddings stay what they are. A side that is not longer than P is kept.
        seed: Seed of the matrices.

    Returns:
        ``(len(groups), O * I)``, or ``(len(groups), P * P)``.

    >>> outer_product_sums(torch.tensor([[-0.2]]), torch.tensor([[1.0, 2.0]]), [torch.tensor([0])]).tolist()
    [[-0.20000000298023224, -0.4000000059604645]]
    """
    if projection:
        derivatives = derivatives @ gaussian_projection(derivatives.shape[1], projection, seed).to(derivatives)
        inputs = inputs @ gaussian_projection(inputs.shape[1], projection, seed + 1).to(inputs)
    return torch.stack([(derivatives[rows].T @ inputs[rows]).flatten() for rows in groups])


def project_gradient(gradient: Tensor, projection: int | None = None, seed: int = 0) -> Tensor:
    """Return an ``(O, I)`` gradient with both sides projected as `outer_product_sums` projects them."""
    if not projection:
        return gradient
    left = gaussian_projection(gradient.shape[0], projection, seed).to(gradient)
    return left.T @ gradient @ gaussian_projection(gradient.shape[1], projection, seed + 1).to(gradient)


def gaussian_projection(width: int, size: int, seed: int) -> Tensor:
    """Return a ``(width, size)`` Gaussian matrix scaled by ``1 / sqrt(size)``, or the identity if that is smaller."""
    if width <= size:
        return torch.eye(width)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(width, size, generator=generator) / size**0.5


def roi_score_derivatives(head: Any, shared: Tensor) -> tuple[Tensor, Tensor]:
    """Return derivatives and inputs of the last hidden layer of the score branch (BADGE).

    The hypothetical label of a RoI is what its score says: an object if above 0.5. The loss is the sum of binary cross
    entropies, so a certain RoI contributes almost nothing.

    Args:
        head: PV-RCNN box head in eval mode.
        shared: ``(R, D)`` shared RoI features.

    Returns:
        ``(R, O)`` derivatives and ``(R, I)`` inputs.
    """
    *before, last_hidden, output = head.cls_layer
    inputs = shared[:, :, None, None]
    for layer in before:
        inputs = layer(inputs)

    def loss(hidden: Tensor) -> Tensor:
        logits = output(hidden).flatten()
        return functional.binary_cross_entropy_with_logits(logits, (logits.detach() > 0).to(logits), reduction='sum')

    return output_derivatives(last_hidden, inputs, loss), inputs.flatten(1)


def shared_layer_derivatives(
    head: Any, pooled: Tensor, scores: Tensor, residuals: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return derivatives and inputs of the last shared layer of the RoI branch (CRB).

    The loss compares the deterministic pass with the means of Monte-Carlo passes: binary cross entropy of scores plus
    smooth L1 of residuals, each a mean over a frame's RoIs.

    Args:
        head: PV-RCNN box head in eval mode.
        pooled: ``(R, G, G, G, C)`` pooled RoI features.
        scores: ``(R,)`` mean probabilities of the passes.
        residuals: ``(R, 7)`` mean residuals.
        weights: ``(R,)`` one over the number of RoIs of the frame.

    Returns:
        ``(R, O)`` derivatives and ``(R, I)`` inputs.
    """
    *before, last = head.shared_fc_layer
    inputs = pooled.permute(0, 4, 1, 2, 3).reshape(len(pooled), -1, 1, 1)
    for layer in before:
        inputs = layer(inputs)

    def loss(shared: Tensor) -> Tensor:
        logits, found = head.cls_layer(shared).flatten(1).amax(1), head.reg_layer(shared).flatten(1)
        doubt = functional.binary_cross_entropy_with_logits(logits, scores, reduction='none')
        distance = functional.smooth_l1_loss(found, residuals, reduction='none').mean(1)
        return ((doubt + distance) * weights).sum()

    return output_derivatives(last, inputs, loss), inputs.flatten(1)


def anchor_score_derivatives(head: Any, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return derivatives and inputs of the RPN's classification layer for all cells of a feature map (BADGE code).

    The hypothetical label of an anchor is its most probable class if that has a probability above 0.5, else
    background; the loss is the RPN's own. The released code takes class 0 for background and never uses it.

    Args:
        head: RPN head in eval mode.
        features: ``(B, I, H, W)`` feature map.

    Returns:
        ``(B * H * W, A * C)`` derivatives and ``(B * H * W, I)`` inputs.
    """
    inputs = features.permute(0, 2, 3, 1).flatten(0, 2)
    with torch.enable_grad():
        maps = head.conv_cls(features).permute(0, 2, 3, 1).detach().requires_grad_()
        logits = maps.reshape(-1, head.num_classes)
        highest, labels = logits.detach().max(1)
        labels = torch.where(highest > 0, labels, torch.full_like(labels, head.num_classes))
        weights = torch.ones_like(labels, dtype=logits.dtype)
        loss = head.loss_cls(logits, labels, weights, avg_factor=1.0)
        derivatives = torch.autograd.grad(loss, maps)[0]
    return derivatives.flatten(0, 2), inputs
