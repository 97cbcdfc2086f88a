"""What a person sees: progress with an ETA, and tables."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

T = TypeVar('T')
_NUMBER = re.compile(r'[\d.-]*( ± [\d.]+)?')  # or nothing
LONG_WORD = 20  # characters; longer ones, such as paths, are broken in a table that is too wide
PAUSE = 10  # seconds between two lines of progress in a log file

# A pipe or a CI log has no width; tables must not be cut there.
console = Console(width=None if sys.stdout.isatty() else 140)


def track(
    items: Iterable[T],
    description: str,
    total: int | None = None,
    quiet: bool = False,
    progress: Callable[[], int] | None = None,
) -> Iterator[T]:
    """Iterate with a progress bar (terminal) or lines at tenths, ten seconds apart (log file).

    Args:
        items: What to iterate over.
        description: Shown left of the bar.
        total: Number of items; taken from ``items`` if it has a length.
        quiet: Show nothing, e.g. on ranks other than 0.
        progress: Tells how far things are; by default it is the number of items. For work that processes share.
    """
    total = len(items) if total is None and isinstance(items, Sized) else total
    if quiet:
        yield from items
    elif console.is_terminal:
        columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn('ETA'), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(description, total=total)
            for done, item in enumerate(items, 1):
                yield item
                bar.update(task, completed=progress() if progress else done)
    else:
        yield from _track_in_log(items, description, total, progress)


def _track_in_log(
    items: Iterable[T], description: str, total: int | None, progress: Callable[[], int] | None
) -> Iterator[T]:
    import time

    start, shown = time.monotonic(), 0
    last = start
    for number, item in enumerate(items, 1):
        yield item
        done = progress() if progress else number
        if total and done * 10 // total > shown:
            shown = done * 10 // total
            now = time.monotonic()
            seconds = now - start
            if now - last < PAUSE and done < total:
                continue
            last = now
            console.print(
                f'{description}: {done}/{total}, {seconds:.0f} s, ETA {seconds / done * (total - done):.0f} s',
                highlight=False,
            )


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers are right-aligned and never cut, text is wrapped where it does not fit."""
    cells = [[_cell(value) for value in row] for row in rows]
    table = Table()
    narrowest = 1
    for column, name in enumerate(header):
        texts = [row[column] for row in cells]
        numeric = bool(cells) and all(map(_NUMBER.fullmatch, texts))
        words = [*name.split(), *(texts if numeric else ' '.join(texts).split())]
        width = max(map(len, words), default=0)
        if not numeric:
            width = min(width, LONG_WORD)
        table.add_column(name, justify='right' if numeric else 'left', min_width=width, overflow='fold')
        narrowest += width + 3
    for row in cells:
        table.add_row(*row)
    console.print(Text(title, style='bold'), soft_wrap=True)  # as a title of the table it would be wrapped to its width
    console.print(table, width=max(console.width, narrowest), crop=False)


def duration(seconds: float) -> str:
    """Return a duration for people.

    >>> duration(42), duration(150), duration(7300)
    ('42 s', '2.5 min', '2.0 h')
    """
    for size, name in ((3600, 'h'), (60, 'min')):
        if seconds >= size:
            return f'{seconds / size:.1f} {name}'
    return f'{seconds:.0f} s'


def _cell(value: object) -> str:
    if value is None:
        return ''
    return f'{value:.2f}' if isinstance(value, float) else str(value)
