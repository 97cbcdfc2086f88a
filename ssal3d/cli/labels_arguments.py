"""Words that the steps of ``labels`` share, and what they mean."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError, raised_by
from ssal3d.options import check_range

# The shipped formats, written down because importing them takes longer than showing the help.
FORMATS = (
    *('csv', 'fiftyone', 'json', 'kitti', 'mcap', 'nuscenes', 'openlabel', 'sly', 'sustechpoints', 'tao', 'xtreme1'),
)
DEFAULT_THRESHOLD = '0.5'
DEFAULT_IOU = 0.5


def add_source(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add where the scans of the pool lie."""
    parser.add_argument('--scans', type=Path, required=required, help='folder of the scans, one file a frame')
    parser.add_argument(
        '--infos', type=Path, help="MMDetection3D's annotation file of the pool, for calibrations and poses"
    )
    parser.add_argument('--images', type=Path, help='folder of the images that --infos names')
    parser.add_argument('--load-dim', type=int, default=4, help='float32 values a point in .bin files (default: 4)')


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """Add modules that register formats."""
    parser.add_argument(
        '--plugin', nargs='+', default=[], metavar='MODULE', help='Python modules or files that register formats'
    )


def frames_of(scans: Path | None, infos: Path | None, images: Path | None, load_dim: int) -> Mapping[str, Any]:
    """Return the frames of the pool by id."""
    from ssal3d.annotation.sources import frames_of_folder, frames_of_infos

    check_range('--load-dim', load_dim, low=3)  # x, y, z
    if scans is None:
        raise UserError('--scans is missing; name the folder of the scans')
    return frames_of_infos(infos, scans, images) if infos else frames_of_folder(scans, load_dim)


def load_plugins(names: Sequence[str]) -> None:
    """Import modules that register formats.

    Raises:
        UserError: If one cannot be imported.
    """
    import runpy
    from importlib import import_module

    for name in names:
        try:
            if name.endswith('.py'):
                runpy.run_path(name)
            else:
                import_module(name)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f'--plugin {name}: not importable ({raised_by(error)})') from None


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file, without blank and repeated ones.

    Raises:
        UserError: If it cannot be read.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding='utf-8-sig').splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path}: not readable ({error}); expected one frame id a line') from None
    return list(dict.fromkeys(line for line in lines if line))


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """Return ``KEY=VALUE`` words as a dictionary.

    Raises:
        UserError: If a word has another form.
    """
    pairs = {}
    for word in words:
        key, found, value = word.partition('=')
        if not (key and found and value):
            raise UserError(f"{option}: found '{word}', expected KEY=VALUE")
        pairs[key] = value
    return pairs


def options_of(words: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` words with Python literals as values; anything else is a string."""
    import ast

    options: dict[str, Any] = {}
    for key, value in pairs(words, '--option').items():
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value  # a word without quotes
    return options


def thresholds_of(words: Sequence[str]) -> dict[str, float]:
    """Return ``SCORE`` and ``NAME=SCORE`` words as scores by class name, with 'default' for all others.

    Raises:
        UserError: If a score is not a number in [0, 1].
    """
    result: dict[str, float] = {}
    for word in words:
        name, found, value = word.rpartition('=')
        try:
            result[name if found else 'default'] = float(value)
        except ValueError:
            raise UserError(f"--threshold: found '{word}', expected SCORE or NAME=SCORE, e.g. 0.5 truck=0.3") from None
        check_range('--threshold', result[name if found else 'default'], high=1)
    return result


def agreement_of(
    predictions: Path | None, reference_predictions: Path | None, threshold: Sequence[str] | None, iou: float | None
) -> tuple[dict[str, float], float]:
    """Return the lowest scores of `thresholds_of` and the IoU, after checking what says which predictions count.

    Args:
        predictions: ``--predictions``.
        reference_predictions: ``--reference-predictions``.
        threshold: ``--threshold``; None if it is not given.
        iou: ``--iou``; None if it is not given.

    Raises:
        UserError: If a value is out of range, or an option needs ``--predictions`` or ``--reference-predictions``.
    """
    thresholds = thresholds_of((DEFAULT_THRESHOLD,) if threshold is None else threshold)
    for option, given in (('--reference-predictions', reference_predictions), ('--threshold', threshold)):
        if predictions is None and given is not None:
            raise UserError(f'{option}: expected --predictions as well')
    if iou is not None and reference_predictions is None:
        raise UserError('--iou: expected --reference-predictions as well; it tells from which overlap two models agree')
    return thresholds, check_range('--iou', DEFAULT_IOU if iou is None else iou, high=1)
