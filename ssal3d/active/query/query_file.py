"""A query: the frames that a person should label next, and why; written as ``query.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypedDict

from ssal3d.active.query.settings import KEYS, QuerySettings
from ssal3d.data.label_state import PoolIdentity
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, read_json, write_json

REQUIRED = ('round', 'sampler', 'seed', 'budget', 'spent', 'spent_per_class', 'cost', 'stopped', 'frames', 'warnings')


class _Sampler(TypedDict):
    type: str


class _Frame(TypedDict):
    frame_id: str
    utility: float | None
    similarity: float | None
    predicted_boxes: Mapping[str, int]
    annotated_boxes: Mapping[str, int] | None
    relax_level: int


class _File(TypedDict):
    """What a file holds beside the settings."""

    round: int
    sampler: _Sampler
    seed: int
    spent: float
    spent_per_class: Mapping[str, int]
    pool: PoolIdentity
    frames: Sequence[_Frame]
    warnings: Sequence[str]
    counted_above: Mapping[str, float]
    diagnostics: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class SelectedFrame:
    """A frame of a query.

    Attributes:
        frame_id: Its id in the pool.
        utility: What the sampler ranked by, when the frame was taken; None if it does not rank.
        similarity: How much of it the query held already, in [0, 1]; None if the sampler does not ask.
        predicted_boxes: Boxes by class that the models predict: reliable ones above the query's ``counted_above``.
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
        settings: Budget, unit and the other settings of the query.
        spent: What the bought frames cost, in the budget's unit.
        spent_per_class: Boxes by class in the bought frames.
        cost: Whether boxes are ``'annotated'`` or ``'predicted'`` ones.
        stopped: ``'budget'`` or ``'pool_exhausted'``.
        pool: Name, size and SHA-256 of the pool, from the label state.
        frames: In the order of purchase.
        warnings: What a reader of the numbers should know.
        counted_above: Score above which a predicted box counts, by class; empty without predictions.
        diagnostics: How the sampler came to its choice, by name; each sampler has its own.
        inputs: What the query was made from: by role, path, SHA-256 and what the files say about their detector.
    """

    round: int
    sampler: Mapping[str, Any]
    seed: int
    settings: QuerySettings
    spent: float
    spent_per_class: Mapping[str, int]
    cost: str
    stopped: str
    pool: Mapping[str, Any]
    frames: tuple[SelectedFrame, ...]
    warnings: tuple[str, ...] = ()
    counted_above: Mapping[str, float] = field(default_factory=dict)
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
    def shortfall(self) -> float:
        """What of the budget could not be spent because the pool ran out."""
        return max(0, round(self.settings.budget - self.spent, 9)) if self.stopped == 'pool_exhausted' else 0

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``query.json``."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        frames = [{'rank': rank, **asdict(frame)} for rank, frame in enumerate(content.pop('frames'))]
        head = {name: content.pop(name) for name in ('round', 'sampler', 'seed')}
        settings, warnings = content.pop('settings').to_json(), list(content.pop('warnings'))
        extra = {'shortfall': self.shortfall}
        return {'schema': SCHEMA, **head, **settings, **content, **extra, 'frames': frames, 'warnings': warnings}

    def write(self, path: str | Path) -> None:
        """Write ``query.json`` atomically."""
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: str | Path) -> 'Query':
        """Read and validate a ``query.json``.

        Raises:
            UserError: If the file is missing or malformed or lists a frame twice; the message names the frame.
        """
        content = read_json(path, required=REQUIRED, holds=_File)
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
        try:
            settings = QuerySettings(**{name: content[name] for name in KEYS if name in content})
        except UserError as error:
            raise UserError(f'{path}: {error}') from None
        names = {item.name for item in fields(cls)} & set(content)
        values = {'pool': {}, **{name: content[name] for name in names}}
        values |= {'settings': settings, 'frames': frames, 'warnings': tuple(content['warnings'])}
        if content['spent'] < 0:
            raise UserError(f'{path}: found spent {content["spent"]}, expected 0 or more')
        return cls(**values)


def _read_frame(entry: Mapping[str, Any], path: str | Path) -> SelectedFrame:
    if 'frame_id' not in entry or 'predicted_boxes' not in entry:
        raise UserError(f'{path}: found the frame entry {entry!r}, expected frame_id, predicted_boxes, ...')
    defaults: dict[str, Any] = {'relax_level': 0}
    values = {item.name: entry.get(item.name, defaults.get(item.name)) for item in fields(SelectedFrame)}
    frame = SelectedFrame(**values)
    for key, counts in (('predicted_boxes', frame.predicted_boxes), ('annotated_boxes', frame.annotated_boxes or {})):
        for name, count in counts.items():
            if count < 0:
                raise UserError(f"{path}: frame {frame.frame_id} has {count!r} '{name}' in {key}, expected 0 or more")
    return frame
