"""The optimiser schedule of all S-SSAL runs, in mmengine's terms."""

from typing import Any


def onecycle(
    epochs: int,
    max_lr: float = 0.01,
    end_lr: float = 1e-7,
    rise_share: float = 0.4,
    momentum: tuple[float, float] = (0.95, 0.85),
) -> list[dict[str, Any]]:
    """Return the one-cycle schedule as mmengine ``param_scheduler`` configs, stepped every iteration.

    The learning rate rises by a half cosine from the optimiser's own ``lr`` to ``max_lr`` in the first ``rise_share``
    of all iterations and falls by a half cosine to ``end_lr``; beta1 moves against it. Source: spec/semi_supervised.md 0.3. (The stock cyclic schedule ends at beta1 = 1.)

    Args:
        epochs: Length of the run.
        max_lr: Peak learning rate.
        end_lr: Last learning rate.
        rise_share: Share of the run in which the learning rate rises.
        momentum: beta1 at the ends and at the peak.
    """
    peak = max(rise_share * epochs, min(1, epochs / 2))  # the rise needs an iteration, even with one per epoch
    iterations = dict(by_epoch=True, convert_to_iter_based=True)
    rise, fall = dict(begin=0, end=peak, **iterations), dict(begin=peak, end=epochs, **iterations)
    return [
        dict(type='CosineAnnealingLR', eta_min=max_lr, T_max=peak, **rise),
        dict(type='CosineAnnealingLR', eta_min=end_lr, T_max=epochs - peak, **fall),
        dict(type='CosineAnnealingMomentum', eta_min=momentum[1], T_max=peak, **rise),
        dict(type='CosineAnnealingMomentum', eta_min=momentum[0], T_max=epochs - peak, **fall),
    ]
