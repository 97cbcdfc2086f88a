"""What the formats share: JSON files, images, the files inside a tool's archive, files of several frames."""

import json
import shutil
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ssal3d.annotation.format import AnnotationFormat, Problem, Reading, check_name
from ssal3d.annotation.model import Camera, Cuboid, LabelFrame
from ssal3d.annotation.provenance import NAME
from ssal3d.errors import UserError, one_line
from ssal3d.fileio import is_file_name

PALETTE = ('#00C8FF', '#FF7800', '#7CFC00', '#FF3C6E', '#FFD700', '#B46EFF', '#00E6A0', '#FFFFFF')


class SharedFileFormat(AnnotationFormat):
    """A format whose files may hold several frames: a mistake in one of them keeps no other out.

    Subclasses implement `label_files`, and `parse_frames` in place of `parse_file`.
    """

    @abstractmethod
    def parse_frames(self, path: Path) -> Iterable[tuple[str, Iterable[Cuboid]]]:
        """Return the frames of a file by id, with boxes that are read one by one as they are asked for.

        What is wrong with a frame must be raised by its boxes; what is raised before concerns the whole file.

        Raises:
            UserError: Names file and line.
        """

    def read_file(self, path: Path) -> Reading:
        """Read one file; a mistake keeps its frame out."""
        try:
            found = list(self.parse_frames(path))
        except UserError as error:
            return Reading(problems=(Problem(self.frame_of_file(path), one_line(error)),))
        frames: list[LabelFrame] = []
        problems: list[Problem] = []
        for name, cuboids in found:
            try:
                frame = LabelFrame(name, tuple(cuboids), origin=path)
                check_name(name, path)
            except UserError as error:
                problems.append(self._problem(path, name, one_line(error)))
            else:
                frames.append(frame)
        return Reading(tuple(frames), tuple(problems))

    def _problem(self, path: Path, name: str, text: str) -> Problem:
        if not is_file_name(name):
            return Problem(self.frame_of_file(path), text)
        is_told = name == path.stem or f'frame {name}' in text
        return Problem(name, text if is_told else f'{text} (frame {name})')


def dump(path: Path, content: Any, *, indent: int | None = 1) -> None:
    """Write JSON into a folder that nobody else sees yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=indent, allow_nan=False) + '\n', encoding='utf-8')


def with_image(frame: LabelFrame) -> list[Camera]:
    """Return the cameras of a frame that have an image file."""
    return [camera for camera in frame.cameras if camera.image is not None]


def copy(source: Path | None, target: Path) -> None:
    """Copy a file into a folder that may not exist yet.

    Raises:
        UserError: If the source is missing.
    """
    assert source is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        raise UserError(f'{source}: no such file; restore it or leave its frame out') from None


def storable(attributes: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return attributes as they are, if JSON can hold them: Python also reads NaN and Infinity, which it cannot.

    Raises:
        UserError: If it cannot.
    """
    try:
        json.dumps(attributes, allow_nan=False)
    except ValueError:
        raise UserError(
            f'{place}: found {dict(attributes)!r}, expected finite numbers in attributes; correct or remove them'
        ) from None
    return dict(attributes)


def label_files(folder: Path, tool: str, *patterns: str) -> list[Path]:
    """Return the files that match the first pattern that any file matches, sorted.

    Args:
        folder: Where to look; archives of tools often hold one folder around everything.
        tool: For the message.
        patterns: Globs, the most particular first, e.g. ``'**/ann/*.json', '*.json'``.

    Raises:
        UserError: If nothing matches.
    """
    for pattern in patterns:
        paths = sorted(path for path in folder.glob(pattern) if path.is_file() and path.name != NAME)
        if paths:
            return paths
    raise UserError(f'{folder}: found no {patterns[0]}, expected labels of {tool}; give the folder that holds them')
