"""What every sampler is: an order in which to buy frames, one at a time, and what it is given for that."""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.predictions import PoolPredictions
from ssal3d.registry import options_of

FRAMES = 2**15  # whose boxes are looked at together: bounds memory


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


@dataclass(frozen=True)
class Detections:
    """Boxes of a pool of F frames, K in total.

    Attributes:
        predictions: The boxes; after an ensemble these are not the boxes that carry ``box_features``.
        reliable: ``(K,)`` whether a box probably is a real object; such boxes make up the predicted cost of a frame.
    """

    predictions: PoolPredictions
    reliable: NDArray[np.bool_]

    @classmethod
    def of(cls, pool: PoolPredictions) -> 'Detections':
        """Return the predictions as they are, all of them reliable."""
        return cls(pool, np.ones(len(pool.scores), dtype=bool))

    def count(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the number of boxes in ``mask`` (a ``(K,)`` selection) as ``(F, C)`` by frame and class."""
        classes, offsets = len(self.predictions.classes), self.predictions.offsets
        counts = np.empty((len(self.predictions), classes), dtype=np.int64)
        for low in range(0, len(counts), FRAMES):  # bounds memory
            part = counts[low : low + FRAMES]
            boxes = slice(int(offsets[low]), int(offsets[low + len(part)]))
            frame = np.repeat(np.arange(len(part)), np.diff(offsets[low : low + len(part) + 1]))
            cell = frame[mask[boxes]] * classes + self.predictions.labels[boxes][mask[boxes]]
            part[...] = np.bincount(cell, minlength=part.size).reshape(part.shape)
        return counts

    def take(self, frames: NDArray[np.integer]) -> 'Detections':
        """Return the detections of some frames, given by ascending positions."""
        kept = np.zeros(len(self.predictions), dtype=bool)
        kept[frames] = True
        return Detections(self.predictions.take(frames), self.reliable[kept[self.predictions.frame_of_box]])


@dataclass
class QueryContext:
    """What a sampler may know besides the pool's predictions; no ground truth of a frame that is not bought.

    Attributes:
        classes: Class names; every per-class array follows this order.
        budget: Boxes to buy; how many the budget will probably buy where it is counted in another unit.
        seed: Seed of the query.
        detections: What `ActiveSampler.detections` returned, for the frames that may be bought.
        labelled_counts: ``(C,)`` annotated boxes of the labelled frames.
        frames_estimate: Frames that the budget will probably buy, from the boxes per labelled frame.
        reference: Predictions of the reference model for the pool's frames, in the same order.
        labelled: Predictions for the labelled frames; None while nothing is labelled.
        charged: ``'annotated'`` or ``'predicted'``: what the revealed boxes are.
        price: Gives the ``(F,)`` costs of frames from their ``(F, C)`` boxes, in the unit of the budget.
        warn: Adds a warning to the query.
        known: Detections in labelled frames, judged like those of the pool, if there are predictions of such frames.
        known_counts: ``(L, C)`` annotated boxes of the L frames of ``known``.
        revealed: ``(C,)`` boxes of the frames bought so far, by position in the pool.
        diagnostics: What a reader of the query should know about how the frames were chosen, by name; ready for JSON,
            or functions that are called when the query is done.
    """

    classes: tuple[str, ...]
    budget: int
    seed: int
    detections: Detections
    labelled_counts: NDArray[np.int64]
    frames_estimate: int
    charged: str
    price: Callable[[NDArray[np.number]], NDArray[np.float64]]
    reference: PoolPredictions | None = None
    labelled: PoolPredictions | None = None
    warn: Callable[[str], None] = lambda warning: None
    known: Detections | None = None
    known_counts: NDArray[np.int64] | None = None
    revealed: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)

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

    Attributes:
        uses_predictions: Whether it looks at predictions at all, be it at boxes, scores and labels only; one that does
            not can choose among bare frame ids.
        required_fields: Columns of the prediction contract it needs beyond boxes, scores and labels.
        reference_fields: Columns it needs of the reference model's predictions.
        labelled_fields: Columns it needs of the predictions for the labelled frames.
        optional_fields: Columns that it reads where they are: of ``labelled_fields`` those that it can do without,
            others of the pool.
        stored_fields: Those of the pool's columns of which it reads the rows of some frames only; they stay on disk.
        uses_reference: Whether it looks at a reference model's predictions.
        needs_reference: Whether it cannot work without them.
        uses_labelled: Whether it looks at predictions for the labelled frames where they are at hand.
        needs_labelled: Whether it cannot work without them once a frame is labelled.
    """

    uses_predictions: bool = True
    required_fields: tuple[str, ...] = ()
    reference_fields: tuple[str, ...] = ()
    labelled_fields: tuple[str, ...] = ()
    optional_fields: tuple[str, ...] = ()
    stored_fields: tuple[str, ...] = ()
    uses_reference: bool = False
    needs_reference: bool = False
    uses_labelled: bool = False
    needs_labelled: bool = False

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

    def reads_reference(self, stage: str) -> bool:
        """Return whether it looks at a reference model's predictions if a stage trained the query model.

        Args:
            stage: Name of the stage's class, e.g. ``'CPSPStage'``.
        """
        return self.uses_reference

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
