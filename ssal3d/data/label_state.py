"""Which frames are labelled, since which round, and with how many boxes of each class."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, read_json, write_json


def pool_digest(frame_ids: Iterable[str]) -> str:
    """Return the SHA-256 of the sorted frame ids joined by newlines: the identity of a pool."""
    return hashlib.sha256('\n'.join(sorted(frame_ids)).encode()).hexdigest()


class PoolIdentity(TypedDict):
    """What tells one pool from others, in label states and queries."""

    name: str
    size: int
    sha256: str


class _Frame(TypedDict):
    frame_id: str
    round: int
    boxes: Mapping[str, int]


class _File(TypedDict):
    """What a file holds."""

    classes: Sequence[str]
    pool: PoolIdentity
    frames: Sequence[_Frame]


@dataclass(frozen=True)
class LabelledFrame:
    """A bought frame.

    Attributes:
        frame_id: Its id in the pool.
        round: 0 for the initial frames, then the number of the query that bought it.
        boxes: Annotated boxes by class name; all zero for a labelled frame without objects.
    """

    frame_id: str
    round: int
    boxes: Mapping[str, int]


@dataclass(frozen=True)
class LabelState:
    """An immutable label state; buying frames gives a new one.

    Attributes:
        classes: Class names that are counted.
        pool_name: Name of the pool.
        pool_size: Number of frames in the pool, labelled ones included.
        pool_sha256: `pool_digest` of the pool's frame ids.
        frames: Labelled frames in the order of purchase.
    """

    classes: tuple[str, ...]
    pool_name: str
    pool_size: int
    pool_sha256: str
    frames: tuple[LabelledFrame, ...] = ()

    @classmethod
    def empty(cls, classes: Sequence[str], pool_name: str, pool: Sequence[str]) -> 'LabelState':
        """Return the state in which nothing of ``pool`` (frame ids) is labelled."""
        return cls(tuple(classes), pool_name, len(pool), pool_digest(pool))

    @classmethod
    def read(cls, path: str | Path) -> 'LabelState':
        """Read a label state.

        Raises:
            UserError: If the file is missing or malformed, a class is unknown, a count is negative, a frame appears
                twice or more are labelled than the pool has; the message names the frame.
        """
        content = read_json(path, required=('classes', 'pool', 'frames'), holds=_File)
        classes, pool = tuple(content['classes']), content['pool']
        missing = [key for key in ('name', 'size', 'sha256') if key not in pool]
        if missing:
            raise UserError(f'{path}: pool lacks {missing[0]!r}; expected name, size and sha256')
        frames = tuple(_parse_frame(entry, classes, path) for entry in content['frames'])
        seen: set[str] = set()
        for frame in frames:
            if frame.frame_id in seen:
                raise UserError(f'{path}: frame {frame.frame_id} is listed twice; remove one of the entries')
            seen.add(frame.frame_id)
        if pool['size'] < len(frames):
            raise UserError(f'{path}: {len(frames)} frames are labelled, but the pool has the size {pool["size"]}')
        return cls(classes, pool['name'], pool['size'], pool['sha256'], frames)

    def write(self, path: str | Path) -> None:
        """Write the state atomically as JSON."""
        pool = {'name': self.pool_name, 'size': self.pool_size, 'sha256': self.pool_sha256}
        frames = [{'frame_id': f.frame_id, 'round': f.round, 'boxes': dict(f.boxes)} for f in self.frames]
        write_json(path, {'schema': SCHEMA, 'classes': list(self.classes), 'pool': pool, 'frames': frames})

    @property
    def frame_ids(self) -> tuple[str, ...]:
        """Labelled frame ids in the order of purchase."""
        return tuple(frame.frame_id for frame in self.frames)

    @property
    def counts(self) -> dict[str, int]:
        """Annotated boxes by class over all labelled frames."""
        return {name: sum(frame.boxes.get(name, 0) for frame in self.frames) for name in self.classes}

    def buy(self, round_number: int, purchases: Sequence[tuple[str, Mapping[str, int]]]) -> 'LabelState':
        """Return the state after buying frames.

        Args:
            round_number: The query's round.
            purchases: Frame ids with their revealed boxes by class.

        Raises:
            UserError: If a frame is labelled already.
        """
        labelled = set(self.frame_ids)
        for frame_id, _ in purchases:
            if frame_id in labelled:
                raise UserError(f'frame {frame_id} is labelled already; a query must hold unlabelled frames only')
            labelled.add(frame_id)
        bought = tuple(
            LabelledFrame(frame_id, round_number, {name: int(boxes.get(name, 0)) for name in self.classes})
            for frame_id, boxes in purchases
        )
        return replace(self, frames=self.frames + bought)

    def check_pool(self, frame_ids: Sequence[str]) -> None:
        """Check that the state belongs to a pool.

        Raises:
            UserError: If the pool has other frames than the state was made for.
        """
        if pool_digest(frame_ids) != self.pool_sha256:
            raise UserError(
                f"the label state belongs to the pool '{self.pool_name}' of {self.pool_size} frames, found another pool "
                f'of {len(frame_ids)} frames; use the data that the labels were made for'
            )


def _parse_frame(entry: Mapping[str, Any], classes: tuple[str, ...], path: str | Path) -> LabelledFrame:
    if not {'frame_id', 'round', 'boxes'} <= set(entry):
        raise UserError(f'{path}: found the frame entry {entry!r}, expected frame_id, round and boxes')
    if not entry['frame_id'] or entry['round'] < 0:
        raise UserError(
            f'{path}: found frame {entry["frame_id"]!r} of round {entry["round"]}, expected an id and a round from 0 on'
        )
    for name, count in entry['boxes'].items():
        if name not in classes:
            raise UserError(f"{path}: frame {entry['frame_id']} counts class '{name}', expected {', '.join(classes)}")
        if count < 0:
            raise UserError(f"{path}: frame {entry['frame_id']} has {count} boxes of '{name}', expected 0 or more")
    return LabelledFrame(entry['frame_id'], entry['round'], dict(entry['boxes']))
