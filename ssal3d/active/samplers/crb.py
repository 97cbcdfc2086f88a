"""CRB: frames that are concise, representative and balanced, found in three stages.

Source: Luo et al. 2023, arXiv 2301.09249; see docs/deviations.md#the-other-samplers.
"""

import math
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ssal3d.active.functional.checks import check_gradient_layer, check_gradients
from ssal3d.active.functional.density_balance import DensityBalance, point_densities
from ssal3d.active.functional.label_entropy import MODES, label_entropy
from ssal3d.active.functional.seeding import seeding_order
from ssal3d.active.ranking import descending
from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.errors import UserError
from ssal3d.options import check_range, one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS

GRADIENT_LAYER = 'shared_fc'
PROTOTYPES = ('kmeans++', 'kmeans', 'gmm', 'birch')


@ACTIVE_SAMPLERS.register_module()
class CRBSampler(ActiveSampler):
    """Buys frames with many classes, different gradients and evenly spread point densities.

    With n frames to buy: (1) keep the k1 n frames whose predicted labels have the highest entropy, (2) of these the
    k2 n prototypes of the gradient embeddings, (3) take prototypes one by one so that the point densities of all
    selected boxes approach a uniform distribution in every class. The first prototype is the first pick.

    As the budget counts boxes, n is an estimate. When the prototypes are used up, the next k2 n ones of the same k1 n
    frames follow, then the next k1 n frames by label entropy, and at last frames without boxes; the third stage goes on
    with what is selected already.

    Args:
        k1: Frames kept by the first stage, in multiples of n.
        k2: Prototypes, in multiples of n; at most ``k1``.
        bandwidth: Of the kernel density estimates, in points per m^3.
        alpha: The uniform distribution ends at the quantiles ``1 - alpha`` and ``alpha`` of all predictions.
        label_entropy: See `ssal3d.active.functional.label_entropy.label_entropy`.
        prototype: ``'kmeans++'``: picks of its seeding; ``'kmeans'``, ``'gmm'``, ``'birch'``: frames next to the
            cluster centres, by scikit-learn.
        passes: Monte-Carlo passes whose mean is the target of the gradient; used when predicting the pool.
    """

    required_fields = ('gradient', 'num_points')
    stored_fields = ('gradient',)

    def __init__(
        self,
        k1: float = 5,
        k2: float = 3,
        bandwidth: float = 5,
        alpha: float = 0.95,
        label_entropy: str = 'crb_code',
        prototype: str = 'kmeans++',
        passes: int = 5,
    ) -> None:
        self.k1 = check_range('k1', k1, low=1)
        self.k2 = check_range('k2', k2, low=1, high=self.k1)
        self.bandwidth = check_range('bandwidth', bandwidth, low=1e-3)
        self.alpha = check_range('alpha', alpha, low=0.5, high=1)
        self.label_entropy = one_of('label_entropy', label_entropy, MODES)
        self.prototype = one_of('prototype', prototype, PROTOTYPES)
        self.passes = int(check_range('passes', passes, low=1))

    @property
    def extraction(self) -> dict[str, Any]:
        """Gradients of the second shared layer of the RoI branch towards the mean of the Monte-Carlo passes."""
        return {'gradient': GRADIENT_LAYER, 'mc_passes': self.passes}

    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield frames in the order of the third stage."""
        balance = self._balance(pool)
        first = True
        for kept in self._concise(pool, context):
            for prototypes in self._representative(pool, kept, context):
                # equal candidates by frame id; the first prototype is not chosen but given
                start = int(np.searchsorted(np.sort(prototypes), prototypes[0])) if first else None
                for frame, utility in balance.greedy(np.sort(prototypes), start):
                    yield Candidate(frame, utility)
                first = False
        for frame in np.flatnonzero(np.diff(pool.offsets) == 0).tolist():
            yield Candidate(frame, 0.0)

    def _concise(self, pool: PoolPredictions, context: QueryContext) -> Iterator[NDArray[np.int64]]:
        """Stage 1: yield ever less diverse frames, in blocks, ascending in each."""
        counts = context.detections.count(context.detections.reliable)
        by_entropy = descending(label_entropy(counts, self.label_entropy), pool)
        by_entropy = by_entropy[np.diff(pool.offsets)[by_entropy] > 0]
        for kept in _blocks(by_entropy, _size(self.k1, context)):
            yield np.sort(kept)

    def _representative(
        self, pool: PoolPredictions, kept: NDArray[np.int64], context: QueryContext
    ) -> Iterator[NDArray[np.int64]]:
        """Stage 2: yield prototypes of some frames, in blocks, until all of them were yielded."""
        gradients = pool['gradient'][kept]  # of a part of the pool only: they are long
        check_gradients(gradients, kept, pool)
        size = _size(self.k2, context)
        if self.prototype == 'kmeans++':
            order = seeding_order(gradients, min(size, len(kept)), context.seed)
            while picks := list(islice(order, size)):
                yield kept[picks]
            return
        while len(kept):
            rows = cluster_prototypes(gradients, size, self.prototype, context.seed)
            yield kept[rows]
            kept, gradients = np.delete(kept, rows), np.delete(gradients, rows, axis=0)

    def _balance(self, pool: PoolPredictions) -> DensityBalance:
        """Stage 3, with the priors from all predictions."""
        check_gradient_layer(pool, GRADIENT_LAYER, 'CRBSampler in the config')
        densities = point_densities(pool.boxes, pool['num_points'])
        wrong = np.flatnonzero(~np.isfinite(densities))
        if len(wrong):
            frame = pool.frame_ids[pool.frame_of_box[wrong[0]]]
            raise UserError(
                f'{pool.source}: a box of frame {frame} has {densities[wrong[0]]} points per m^3, expected a finite '
                'number; predict this frame again'
            )
        return DensityBalance(densities, pool.labels, pool.offsets, self.bandwidth, self.alpha)


def cluster_prototypes(features: NDArray[np.floating], clusters: int, method: str, seed: int = 0) -> NDArray[np.int64]:
    """Return the rows that are closest to the centres of clusters, each once, so possibly fewer than clusters.

    Args:
        features: ``(N, D)`` rows.
        clusters: Number of clusters; all rows if there are not more.
        method: ``'kmeans'``, ``'gmm'`` (diagonal covariances) or ``'birch'``.
        seed: Seed of the clustering.
    """
    if len(features) <= clusters:
        return np.arange(len(features))
    import sklearn.cluster
    import sklearn.metrics
    import sklearn.mixture
    from sklearn.exceptions import ConvergenceWarning

    with threadpool_limits(1), warnings.catch_warnings():  # threads would sum up in any order
        warnings.simplefilter('ignore', ConvergenceWarning)  # equal rows make fewer clusters, which is fine
        if method == 'kmeans':
            model = sklearn.cluster.KMeans(clusters, n_init=1, random_state=seed).fit(features)
            centres = model.cluster_centers_
        elif method == 'gmm':
            model = sklearn.mixture.GaussianMixture(clusters, covariance_type='diag', random_state=seed).fit(features)
            centres = model.means_
        else:
            labels = sklearn.cluster.Birch(n_clusters=clusters).fit_predict(features)
            centres = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
        closest = sklearn.metrics.pairwise_distances_argmin(centres.astype(features.dtype), features)
    return np.array(list(dict.fromkeys(closest.tolist())), dtype=np.int64)


def _size(multiple: float, context: QueryContext) -> int:
    return math.ceil(multiple * max(context.frames_estimate, 1))


def _blocks(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
