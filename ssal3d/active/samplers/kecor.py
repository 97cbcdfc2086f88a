"""KECOR: frames that raise the kernel coding rate most, and whose predicted labels are diverse.

Source: Luo et al. 2023, arXiv 2307.07942; see docs/deviations.md#the-other-samplers.
"""

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.checks import check_frame_rows, check_width
from ssal3d.active.functional.k_centre import nearest_to_mean
from ssal3d.active.functional.label_entropy import MODES, label_entropy
from ssal3d.active.functional.tangent_kernel import KERNELS, TangentKernel, posterior_features, train_proxy
from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.errors import UserError
from ssal3d.options import check_range, one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS

NEGLIGIBLE = 1e-12  # share of the highest first score below which nothing but rounding is left
TIE = 1e-5  # relative difference of scores that may be rounding, as features come from float32 products
TARGETS = ('roi_residuals_target', 'roi_scores_target')


@ACTIVE_SAMPLERS.register_module()
class KECORSampler(ActiveSampler):
    """Buys frames that the labelled and the bought ones explain least, by the tangent kernel of a proxy network.

    (1) The proxy learns to map the RoI features of labelled frames to their RoIs' targets. (2) Frames are described by
    the gradients of its outputs, sketched. (3) What the labelled frames explain of them is removed. (4) Greedy
    determinant maximisation orders the rest; the entropy of a frame's predicted labels adds to its variance.

    Frames without boxes take part: their RoIs have features. Without targets the proxy keeps its random weights.
    Without labelled frames step 3 is left out and the first frame is the one nearest to the pool's mean. The query
    warns of both. Two options of the released code are missing: the Laplace kernel, which has no explicit features and
    would need a matrix over all pairs of frames, and the selection 'bait'.

    Args:
        latent: Width of the proxy's first hidden layer and dimensions of the sketch.
        entropy_weight: Weight lambda of the label entropy.
        sigma: Standard deviation of the noise in the determinant.
        train_sigma: Standard deviation of the noise of labelled frames.
        proxy_steps: Training steps of the proxy.
        proxy_lr: Its learning rate.
        kernel: ``'ntk'``: gradients of all layers; ``'last_layer'``: of the last one; ``'linear'``: RoI features.
        label_entropy: See `ssal3d.active.functional.label_entropy.label_entropy`.
    """

    required_fields = ('roi_features',)
    labelled_fields = ('roi_features', 'roi_scores_target', 'roi_residuals_target')
    optional_fields = ('roi_scores_target', 'roi_residuals_target')
    needs_labelled = True

    def __init__(
        self,
        latent: int = 512,
        entropy_weight: float = 0.1,
        sigma: float = 0.1,
        train_sigma: float = 0.1,
        proxy_steps: int = 10,
        proxy_lr: float = 2e-2,
        kernel: str = 'ntk',
        label_entropy: str = 'crb_code',
    ) -> None:
        self.latent = int(check_range('latent', latent, low=1))
        self.entropy_weight = check_range('entropy_weight', entropy_weight)
        self.sigma = check_range('sigma', sigma)
        self.train_sigma = check_range('train_sigma', train_sigma, low=1e-3)
        self.proxy_steps = int(check_range('proxy_steps', proxy_steps))
        self.proxy_lr = check_range('proxy_lr', proxy_lr)
        self.kernel = one_of('kernel', kernel, KERNELS)
        self.label_entropy = one_of('label_entropy', label_entropy, MODES)

    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield frames in the order of the determinant maximisation."""
        counts = context.detections.count(context.detections.reliable)
        bonus = self.entropy_weight * label_entropy(counts, self.label_entropy)
        features = self._features(pool, context)
        nothing_known = context.labelled is None or not len(context.labelled)
        first = nearest_to_mean(features)[0] if nothing_known and len(features) else None
        for frame, score in max_det_order(features, bonus, self.sigma, context.rng, first):
            yield Candidate(frame, score)

    def _features(self, pool: PoolPredictions, context: QueryContext) -> NDArray[np.float64]:
        """Return the features of the pool's frames after steps 1 to 3."""
        x = pool['roi_features']
        known = x[:0]
        if context.labelled is not None:
            known = context.labelled['roi_features']
            check_width(known, x, 'found {} roi_features per frame', context.labelled, pool)
            check_frame_rows(known, 'roi_features', context.labelled)
        targets = self._targets(context) if len(known) and self.kernel != 'linear' else None
        if not len(known):
            context.warn("there are no labelled frames: KECOR trained no proxy and begins at the pool's centre")
        if not len(pool):
            return np.zeros((0, self.latent))
        outputs = 1 if targets is None else targets.shape[1]
        kernel = TangentKernel(x.shape[1], self.latent, outputs, context.seed, self.kernel)
        if targets is not None:
            train_proxy(kernel.proxy, known, targets, self.proxy_steps, self.proxy_lr)
        seen = kernel.features(known)
        if not np.isfinite(seen).all():
            raise UserError(
                f'proxy_lr: found {self.proxy_lr:g}, with which the training of the proxy diverged; lower it'
            )
        features = kernel.features(x)
        check_frame_rows(features, 'roi_features', pool)  # instead of the longer x: not finite where x is not
        return posterior_features(features, seen, self.train_sigma)

    def _targets(self, context: QueryContext) -> NDArray[np.float32] | None:
        """Return the ``(L, 8R)`` training targets of the labelled frames, None where there are none."""
        labelled = context.labelled
        assert labelled is not None
        missing = [name for name in TARGETS if name not in labelled.fields]
        if missing:
            context.warn(
                f'{labelled.source} has no {" and ".join(missing)}: KECOR trained no proxy and uses features alone; '
                'predict the labelled frames with annotations to get targets'
            )
            return None
        targets = np.concatenate([labelled[name].reshape(len(labelled), -1) for name in TARGETS], axis=1)
        check_frame_rows(targets, ' or '.join(TARGETS), labelled)
        return targets


def max_det_order(
    features: NDArray[np.float64],
    bonus: NDArray[np.float64],
    sigma: float,
    rng: random.Random,
    first: int | None = None,
) -> Iterator[tuple[int, float | None]]:
    """Yield rows, and the scores that they were picked for, so that each pick raises a determinant most.

    The determinant is that of the picked rows and columns of ``features @ features.T + diag(sigma^2 + bonus)``; up to
    constants, its logarithm is the kernel coding rate. A score is the factor that a row contributes: what its inner
    product with itself is once the picked rows are known; of equal scores the first row is picked. O(N M + M^2) per
    pick, however many were picked before: instead of the Cholesky factor's columns, the M x M covariance of the weights
    is kept.

    Args:
        features: ``(N, M)`` rows.
        bonus: ``(N,)`` what is added to the inner product of a row with itself.
        sigma: Standard deviation of the noise.
        rng: Orders the rows that are left when no score is positive; they have None for a score.
        first: Row to begin with, whatever its score; None: the one with the highest score.
    """
    features = np.ascontiguousarray(features, dtype=np.float64)
    scores = np.einsum('nm,nm->n', features, features) + sigma**2 + bonus
    covariance = np.eye(features.shape[1])
    least = NEGLIGIBLE * float(scores.max(initial=0))
    open_rows = np.ones(len(features), dtype=bool)
    for _ in range(len(features)):
        highest = float(scores.max())
        if highest <= least:
            break
        pick, first = int((scores >= (1 - TIE) * highest).argmax()) if first is None else first, None
        score = float(scores[pick])
        yield pick, score
        open_rows[pick] = False
        direction = covariance @ features[pick] / np.sqrt(score)
        covariance -= np.outer(direction, direction)
        scores -= np.square(features @ direction)
        scores[pick] = -np.inf
    left = np.flatnonzero(open_rows).tolist()
    rng.shuffle(left)
    for pick in left:
        yield pick, None
