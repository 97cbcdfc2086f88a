"""What every sampler is: an order in which to buy frames, produced one frame at a time (spec 12.1)."""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.detections import Detections
from ssal3d.active.query.dontcare import PROJECTION_FIELDS, RULES
from ssal3d.options import one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import options_of


class Candidate(NamedTuple):
    """The frame to buy next, and why.

    Attributes:
        frame: Its position in the pool.
        utility: What the sampler ranks by; the higher, the earlier.
        similarity: How much of the frame the query holds already, in [0, 1].
        relax_level: How often limits were relaxed to find it.
    """

    frame: int
    utility: float | None = None
    similarity: float | None = None
    relax_level: int = 0


@dataclass
class QueryContext:
    """What a sampler may know besides the pool's predictions; no ground truth of a frame that is not bought.

    Attributes:
        classes: Class names; every per-class array follows this order.
        budget: Boxes to buy.
        seed: Seed of the query.
        detections: What `ActiveSampler.detections` returned, for the frames that may be bought.
        labelled_counts: ``(C,)`` annotated boxes of the labelled frames.
        frames_estimate: Frames that the budget will buy, from the boxes per labelled frame (n_f of spec 1.5).
        reference: Predictions of the reference model for the pool's frames, in the same order.
        labelled: Predictions for the labelled frames.
        charged: ``'annotated'`` or ``'predicted'``: what the revealed boxes are.
        warn: Adds a warning to the query.
        revealed: ``(C,)`` boxes of the frames bought so far, by position in the pool.
    """

    classes: tuple[str, ...]
    budget: int
    seed: int
    detections: Detections
    labelled_counts: NDArray[np.int64]
    frames_estimate: int
    reference: PoolPredictions | None
    labelled: PoolPredictions | None
    charged: str
    warn: Callable[[str], None]
    revealed: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    @cached_property
    def rng(self) -> random.Random:
        """The query's generator: Python's, local, seeded with ``seed``."""
        return random.Random(self.seed)  # noqa: S311 (no cryptography)

    def notify(self, frame: int, boxes: NDArray[np.int64]) -> None:
        """Record what a bought frame holds; called after each purchase, before the sampler is asked for the next."""
        self.revealed[frame] = boxes


class ActiveSampler(ABC):
    """Base of all samplers: subclasses register in ``ACTIVE_SAMPLERS`` and implement `order`.

    A sampler keeps each of its options as an attribute of the same name and touches no data sets, models or files.

    Args:
        dontcare: Which frames with DontCare regions to leave out, see `ssal3d.active.query.dontcare`.

    Attributes:
        required_fields: Columns of the prediction contract it needs beyond boxes, scores and labels.
        reference_fields: Columns it needs of the reference model's predictions.
        labelled_fields: Columns it needs of the predictions for the labelled frames.
        optional_fields: Those of them that it can do without.
        uses_reference: Whether it looks at a reference model's predictions.
        needs_reference: Whether it cannot work without them.
        needs_labelled: Whether it needs predictions for the labelled frames.
    """

    required_fields: tuple[str, ...] = ()
    reference_fields: tuple[str, ...] = ()
    labelled_fields: tuple[str, ...] = ()
    optional_fields: tuple[str, ...] = ()
    uses_reference: bool = False
    needs_reference: bool = False
    needs_labelled: bool = False

    def __init__(self, dontcare: str = 'none') -> None:
        self.dontcare = one_of('dontcare', dontcare, RULES)

    @abstractmethod
    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield frames in the order of purchase, each at most once.

        A generator: whatever was bought is in ``context.revealed`` when it is asked for the next frame.

        Args:
            pool: Predictions of the frames that may be bought, ascending by frame id.
            context: Everything else.
        """

    def detections(self, pool: PoolPredictions, reference: PoolPredictions | None) -> Detections:
        """Return the boxes that this sampler believes in; they make up the predicted cost of a frame."""
        return Detections.of(pool)

    def fields_to_read(self, with_dontcare: bool = True) -> tuple[str, ...]:
        """Return the columns to extract or read, those of the DontCare rule included where it is on."""
        projects = with_dontcare and self.dontcare == 'paper'
        return (*self.required_fields, *(PROJECTION_FIELDS if projects else ()))

    @property
    def extraction(self) -> dict[str, Any]:
        """How a detector must compute those columns, e.g. ``mc_passes``; see `ssal3d.models.extraction.Extraction`."""
        return {}

    @property
    def config(self) -> dict[str, Any]:
        """The sampler with all of its options, defaults included, ready for JSON."""
        options = {name: _plain(getattr(self, name)) for name in options_of(type(self))}
        return {'type': type(self).__name__, **options}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
