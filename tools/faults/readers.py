"""The readers that are fed, by name."""

from collections.abc import Callable, Iterator, Sequence

from tools.faults import annotation_files, foreign_files, own_files, training_files, waymo_files
from tools.faults.fuzzing import Reader

BUILDERS: tuple[Callable[[], Reader], ...] = (
    *own_files.READERS,
    *training_files.READERS,
    *foreign_files.READERS,
    *annotation_files.READERS,
    *waymo_files.READERS,
)


def reader_names() -> list[str]:
    """Return the names for the command line."""
    return [builder.__name__.removesuffix('_reader').replace('_', '-') for builder in BUILDERS]


def readers(names: Sequence[str]) -> Iterator[Reader]:
    """Build readers one after the other; each makes its examples."""
    for name, builder in zip(reader_names(), BUILDERS, strict=True):
        if name in names:
            yield builder()
