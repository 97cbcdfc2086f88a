"""Small steps that the formats share: JSON files, images, the files inside a tool's archive."""

import json
import shutil
from pathlib import Path
from typing import Any

from ssal3d.annotation.model import Camera, LabelFrame
from ssal3d.annotation.provenance import NAME
from ssal3d.errors import UserError

PALETTE = ('#00C8FF', '#FF7800', '#7CFC00', '#FF3C6E', '#FFD700', '#B46EFF', '#00E6A0', '#FFFFFF')


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
    raise UserError(f'{folder}: found no {patterns[0]}, expected labels of {tool}; check --from and --format')
