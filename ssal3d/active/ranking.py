"""Samplers that give every frame a number and buy the highest first."""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.errors import UserError
from ssal3d.predictions import PoolPredictions


class RankingSampler(ActiveSampler):
    """Buys frames by a utility that no purchase changes; ties by frame id, frames without boxes (-inf) last."""

    @abstractmethod
    def utilities(self, pool: PoolPredictions, context: QueryContext) -> NDArray[np.floating]:
        """Return the ``(F,)`` utilities; -inf for frames about which nothing can be said."""

    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield frames, highest utility first.

        Raises:
            UserError: If a utility is not a number; names the frame.
        """
        utilities = np.asarray(self.utilities(pool, context), dtype=np.float64)
        for frame in descending(utilities, pool).tolist():
            yield Candidate(frame, float(utilities[frame]))


def descending(utilities: NDArray[np.floating], pool: PoolPredictions) -> NDArray[np.int64]:
    """Return the positions of the frames, highest utility first, ties by frame id.

    Raises:
        UserError: If a utility is NaN; names the frame.
    """
    unknown = np.flatnonzero(np.isnan(utilities))
    if len(unknown):
        raise UserError(
            f'{pool.source}: the utility of frame {pool.frame_ids[unknown[0]]} is not a number; its predictions hold '
            'NaN or infinite values, predict it again'
        )
    return np.lexsort((pool.frame_ids, -np.asarray(utilities)))
