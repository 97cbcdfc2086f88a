"""A query: the frames that a person should label next, and why; written as ``query.json`` (contract 3)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, read_json, write_json


@dataclass(frozen=True)
class SelectedFrame:
    """A frame of a query.

    Attributes:
        frame_id: Its id in the pool.
        utility: What the sampler ranked by, when the frame was taken; None if it does not rank.
        similarity: How much of it the query held already, in [0, 1]; None if the sampler does not ask.
        predicted_boxes: Boxes by class that the models predict (the reliable set).
        annotated_boxes: Boxes by class that were revealed after the purchase; None without annotations.
        relax_level: How often limits had been relaxed when it was taken.
    """

    frame_id: str
    utility: float | None
    similarity: float | None
    predicted_boxes: Mapping[str, int]
    annotated_boxes: Mapping[str, int] | None
    relax_level: int


@dataclass(frozen=True)
class Query:
    """A finished query.

    Attributes:
        round: Number of the query; 0 for the initial frames.
        sampler: The sampler with all of its options.
        seed: Seed of the query.
        budget: Boxes to buy.
        stop_rule: What happens to the frame that crosses the budget, see `ssal3d.active.query.budget.walk`.
        empty_cost: Cost of a frame without boxes.
        spent: Boxes (and costs of empty frames) paid for.
        spent_per_class: Boxes by class in the bought frames.
        cost: Whether boxes are ``'annotated'`` or ``'predicted'`` ones.
        stopped: ``'budget'`` or ``'pool_exhausted'``.
        pool: Name, size and SHA-256 of the pool, from the label state.
        frames: In the order of purchase.
        warnings: What a reader of the numbers should know.
    """

    round: int
    sampler: Mapping[str, Any]
    seed: int
    budget: int
    stop_rule: str
    empty_cost: int
    spent: int
    spent_per_class: Mapping[str, int]
    cost: str
    stopped: str
    pool: Mapping[str, Any]
    frames: tuple[SelectedFrame, ...]
    warnings: tuple[str, ...] = ()

    @property
    def frame_ids(self) -> tuple[str, ...]:
        """Frame ids in the order of purchase."""
        return tuple(frame.frame_id for frame in self.frames)

    @property
    def purchases(self) -> list[tuple[str, Mapping[str, int]]]:
        """Frame ids with their annotated boxes, as `LabelState.buy` takes them.

        Raises:
            UserError: If a frame has no annotated boxes yet.
        """
        for frame in self.frames:
            if frame.annotated_boxes is None:
                raise UserError(f'query: frame {frame.frame_id} has no annotated boxes; import its labels first')
        return [(frame.frame_id, frame.annotated_boxes or {}) for frame in self.frames]

    @property
    def shortfall(self) -> int:
        """Boxes of the budget that could not be spent because the pool ran out."""
        return max(0, self.budget - self.spent) if self.stopped == 'pool_exhausted' else 0

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``query.json``."""
        content = asdict(self)
        frames = [{'rank': rank, **frame} for rank, frame in enumerate(content.pop('frames'))]
        warnings = list(content.pop('warnings'))
        extra = {'unit': 'boxes', 'shortfall': self.shortfall}
        return {'schema': SCHEMA, **content, **extra, 'frames': frames, 'warnings': warnings}

    def write(self, path: str | Path) -> None:
        """Write ``query.json`` atomically."""
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: str | Path) -> 'Query':
        """Read and validate a ``query.json``.

        Raises:
            UserError: If the file is missing or malformed or lists a frame twice; the message names the frame.
        """
        required = tuple(item.name for item in fields(cls) if item.name not in ('stop_rule', 'empty_cost', 'pool'))
        content = read_json(path, required=required)
        if content['stopped'] not in ('budget', 'pool_exhausted') or content['cost'] not in ('annotated', 'predicted'):
            raise UserError(
                f'{path}: found stopped={content["stopped"]!r}, cost={content["cost"]!r}; expected budget or '
                'pool_exhausted, annotated or predicted'
            )
        frames = tuple(_read_frame(entry, path) for entry in content['frames'])
        seen: set[str] = set()
        for frame in frames:
            if frame.frame_id in seen:
                raise UserError(f'{path}: frame {frame.frame_id} is listed twice; remove one of the entries')
            seen.add(frame.frame_id)
        defaults = {'stop_rule': 'include_crossing', 'empty_cost': 0, 'pool': {}}
        values = {item.name: content.get(item.name, defaults.get(item.name)) for item in fields(cls)}
        return cls(**{**values, 'frames': frames, 'warnings': tuple(content['warnings'])})


def _read_frame(entry: object, path: str | Path) -> SelectedFrame:
    if not isinstance(entry, Mapping) or 'frame_id' not in entry or 'predicted_boxes' not in entry:
        raise UserError(f'{path}: found the frame entry {entry!r}, expected frame_id, predicted_boxes, ...')
    for key in ('predicted_boxes', 'annotated_boxes'):
        for name, count in (entry.get(key) or {}).items():
            if not isinstance(count, int) or count < 0:
                raise UserError(
                    f"{path}: frame {entry['frame_id']} has {count!r} '{name}' in {key}, expected 0 or more"
                )
    defaults: dict[str, Any] = {'relax_level': 0}
    return SelectedFrame(**{item.name: entry.get(item.name, defaults.get(item.name)) for item in fields(SelectedFrame)})
