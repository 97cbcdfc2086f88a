"""Pieces of work that the processes of a job take one after the other, so that slow ones take fewer."""

import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from mmengine.dist import get_world_size

from ssal3d.distributed import job_store

LEAST_WAIT = 60.0  # seconds before an idle process takes over what another one holds
POLL = 0.5  # seconds between two looks at what the others have finished
_jobs = count()


class SharedWork:
    """Pieces that the processes take whenever they are ready for more; all of them make it, with the same pieces.

    The store of the process group counts what is taken. A counter there is atomic on any network, needs no lock that
    a killed process leaves behind, and no file system that can lock; it ends with the job. What a killed process had
    taken is missing on disk, where the next run finds out.

    A process that finds nothing left takes over what another one has held for too long. So a piece may be done twice:
    its result must not depend on who does it, and must appear whole.

    Args:
        pieces: What to do, e.g. numbers of parts; each once.
    """

    def __init__(self, pieces: Sequence[int]) -> None:
        self.pieces = list(pieces)
        self._store: Any = job_store(f'ssal3d/pieces/{next(_jobs)}') if get_world_size() > 1 else None
        self._finished: set[int] = set()
        self._slowest, self._last = 0.0, time.monotonic()

    def __iter__(self) -> Iterator[int]:
        """Take pieces that nobody has taken."""
        if self._store is None:
            yield from self.pieces
            return
        while (place := self._store.add('taken', 1) - 1) < len(self.pieces):
            yield self.pieces[place]

    def finish(self, piece: int) -> None:
        """Tell that a piece is done.

        Args:
            piece: The piece.
        """
        now = time.monotonic()
        self._slowest, self._last = max(self._slowest, now - self._last), now
        self._finished.add(piece)
        if self._store is not None and self._store.add(f'done/{piece}', 1) == 1:
            self._store.add('done', 1)

    def finished(self) -> int:
        """Return the number of pieces that are done, by any process."""
        return len(self._finished) if self._store is None else self._store.add('done', 0)

    def overdue(self) -> Iterator[int]:
        """Wait until all pieces are done, and yield those that another process does not finish.

        A process waits three times as long as its own slowest piece took, before it takes over one that it was not
        first to give up; then it waits again.
        """
        limit = max(LEAST_WAIT, 3 * self._slowest)
        start, turn = time.monotonic(), 0
        while self.finished() < len(self.pieces):
            if time.monotonic() - start < limit:
                time.sleep(min(POLL, limit / 4))
                continue
            turn += 1
            piece = self._take_over(turn)
            if piece is not None:
                yield piece
            start = time.monotonic()

    def _take_over(self, turn: int) -> int | None:
        """Return a piece that is not done and that nobody else takes over in this turn."""
        for piece in self.pieces:
            if not self._store.check([f'done/{piece}']) and self._store.add(f'again/{turn}/{piece}', 1) == 1:
                return piece
        return None
