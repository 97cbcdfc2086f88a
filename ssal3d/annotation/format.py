"""What a file format of annotation tools is: it writes frames for the annotators and reads what comes back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import radians
from pathlib import Path
from typing import Any, ClassVar

from ssal3d.annotation.model import LabelFrame
from ssal3d.errors import UserError, one_line
from ssal3d.fileio import is_file_name
from ssal3d.registry import ANNOTATION_FORMATS


@dataclass(frozen=True)
class Tolerance:
    """How far a box may be from the exported one and still count as not edited.

    Attributes:
        metres: For each coordinate of the centre and each size.
        radians: For the yaw.
    """

    metres: float = 1e-3
    radians: float = radians(0.1)


@dataclass(frozen=True)
class Problem:
    """Something that keeps a frame from being imported.

    Attributes:
        frame_id: The frame; empty if the file does not even tell the frame.
        text: One line with file, line, what was found and what to do.
        is_absence: Whether the frame just has no boxes in the tool; such a frame may be checked as it was handed out.
    """

    frame_id: str
    text: str
    is_absence: bool = False


@dataclass(frozen=True)
class Reading:
    """What a folder of labels holds.

    Attributes:
        frames: The frames that could be read.
        problems: Why others could not.
    """

    frames: tuple[LabelFrame, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Batch:
    """What a format is told about an export beyond its frames.

    Attributes:
        classes: Class names as the tool shall show them.
        name: Short name of the batch, e.g. ``round_1``.
        created: Date and time of the export, ISO 8601 in UTC.
        facts: The provenance that goes to ``ssal3d_export.json``, for formats that have a place of their own for it.
    """

    classes: tuple[str, ...]
    name: str = 'round_1'
    created: str = '2026-01-01T00:00:00.000Z'
    facts: Mapping[str, Any] = field(default_factory=dict)


class AnnotationFormat(ABC):
    """A file format. Options of a format are the arguments of its constructor.

    Subclasses register in `ssal3d.registry.ANNOTATION_FORMATS`, implement `export`, and either `label_files` and
    `parse_file` (one bad file then spoils only its own frames) or `read`.
    """

    title: ClassVar[str] = ''  # the tools that open it, for `labels export --help`
    can_read: ClassVar[bool] = True
    tolerance: ClassVar[Tolerance] = Tolerance()
    # Whether a cuboid has a front in the tool. Where it has none, a person may draw the length across the heading.
    has_front: ClassVar[bool] = True
    exported: Path | None = None  # on the way back: the folder that was exported, wherever the labels come from

    @abstractmethod
    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write frames with their scans and pre-labels.

        Args:
            frames: In the order of the query; class names are the tool's.
            folder: An existing empty folder.
            batch: What the frames have in common: classes, models, settings of the tool.

        Returns:
            What the annotators should know, one line each: frames left out, things that the format cannot hold.
        """

    def spelled(self, class_name: str) -> str:
        """Return how the format spells a class name; it differs where the format cannot hold every name."""
        return class_name

    def label_files(self, folder: Path) -> list[Path]:
        """Return the files of a folder that hold boxes."""
        raise NotImplementedError(f'{type(self).__name__} implements neither read nor label_files')

    def parse_file(self, path: Path) -> list[LabelFrame]:
        """Read the frames of one such file.

        Raises:
            UserError: Names file and line.
        """
        raise NotImplementedError(f'{type(self).__name__} implements neither read nor parse_file')

    def frame_of_file(self, path: Path) -> str:
        """Return the id of the frame that a file belongs to, for messages about files that cannot be read."""
        return path.stem

    def read(self, folder: Path) -> Reading:
        """Read the labels in a folder; what has mistakes becomes a problem.

        Raises:
            UserError: If the folder holds nothing of this format.
        """
        readings = [self.read_file(path) for path in self.label_files(folder)]
        return Reading(
            tuple(frame for reading in readings for frame in reading.frames),
            tuple(problem for reading in readings for problem in reading.problems),
        )

    def read_file(self, path: Path) -> Reading:
        """Read one such file; a mistake keeps all of its frames out."""
        try:
            frames = self.parse_file(path)
            for frame in frames:
                check_name(frame.frame_id, path)
        except UserError as error:
            return Reading(problems=(Problem(self.frame_of_file(path), one_line(error)),))
        return Reading(tuple(frames))


def check_name(frame_id: str, path: Path) -> None:
    """Check that the id of a frame that a file names can be the name of files.

    Raises:
        UserError: If it cannot.
    """
    if not is_file_name(frame_id):
        raise UserError(f'{path}: found the frame id {frame_id!r}, expected a file name')


def format_names(*, readable: bool = False) -> list[str]:
    """Return the names of all registered formats, or of those that can be read."""
    from ssal3d.annotation import formats  # noqa: F401 - registers

    registered = ANNOTATION_FORMATS.module_dict
    return sorted(name for name, kind in registered.items() if kind.can_read or not readable)


def build_format(name: str, options: Mapping[str, Any] | None = None) -> AnnotationFormat:
    """Build a format by its name.

    Raises:
        UserError: If the name or an option is unknown; names the nearest one.
    """
    return ANNOTATION_FORMATS.build({**(options or {}), 'type': name})
