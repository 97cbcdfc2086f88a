"""Random selection: the baseline, and the start of every experiment."""

from collections.abc import Iterator

from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS


@ACTIVE_SAMPLERS.register_module()
class RandomSampler(ActiveSampler):
    """Buys frames in a random order.

    One `random.Random(seed).shuffle` of the pool's order, as the released code does; needs nothing but frame ids.
    """

    uses_predictions = False

    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield the shuffled frames."""
        frames = list(range(len(pool)))
        context.rng.shuffle(frames)
        yield from map(Candidate, frames)
