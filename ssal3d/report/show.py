"""Pictures of the frames of a query, of predictions or of a label state, one file each, without a display."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssal3d.active.query.query_file import Query
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import atomic_path, read_json
from ssal3d.predictions import PoolPredictions, read_predictions
from ssal3d.predictions.places import ObjectPath, Place, place
from ssal3d.predictions.reader import find_parts
from ssal3d.report.experiment import experiment_of
from ssal3d.report.pool import Pool
from ssal3d.report.scenes import View, from_above, from_camera
from ssal3d.report.views import SHOWN_SCORE, frame_view
from ssal3d.terminal import track

SHOWN_FRAMES = 12
WIDTH = 8.0  # inches


@dataclass(frozen=True)
class Shown:
    """What is drawn.

    Attributes:
        pool: Frames that may be drawn.
        frames: Ids of those that are drawn unless others are asked for.
        labels: What was bought; None for nothing.
        predictions: By model, the last model last.
    """

    pool: Pool
    frames: Sequence[str]
    labels: LabelState | None = None
    predictions: Mapping[str, PoolPredictions] = field(default_factory=dict)

    def view(self, frame: str, min_score: float = SHOWN_SCORE) -> View:
        """Return what is drawn of a frame."""
        return frame_view(self.pool, self.labels, self.predictions, frame, min_score)


def read_shown(
    source: str | Path,
    predictions: Mapping[str, str] | None = None,
    labels: str | Path | None = None,
    annotations: str | Path | None = None,
    points: str | Path | None = None,
) -> Shown:
    """Read what there is to draw about a query, predictions or a label state.

    Args:
        source: ``query.json``, a folder of predictions, or a label state.
        predictions: Folders of further predictions by name.
        labels: Label state: annotations of its frames are drawn. By default what the source's experiment has bought.
        annotations: Annotation file of the pool; by default that of the source's experiment.
        points: Folder of the scans; by default those of the experiment.

    Raises:
        UserError: If the source is none of these, or it is in no experiment and ``annotations`` or ``points`` lack.
    """
    where = place(source)
    kind = _kind(where)
    if (annotations is None) != (points is None):
        raise UserError(
            '--annotations and --points: found one of them; give both, or none for the data of an experiment'
        )
    if annotations is None and isinstance(where, ObjectPath):
        raise UserError(f'{where}: lies in no experiment; give --annotations and --points')
    experiment = experiment_of(where) if annotations is None and isinstance(where, Path) else None
    pool = experiment.pool if experiment else Pool(Path(annotations or ''), Path(points or ''))
    state = LabelState.read(labels) if labels else experiment.labels if experiment else None
    detections = {name: read_predictions(folder) for name, folder in (predictions or {}).items()}
    if kind == 'labels':
        state = LabelState.read(source)
        return Shown(pool, state.frame_ids, state, detections)
    if isinstance(where, ObjectPath) or kind == 'predictions':
        shown = read_predictions(where)
        return Shown(pool, [str(name) for name in shown.frame_ids], state, {**detections, where.name: shown})
    query = Query.read(where)
    if experiment and not detections and f'round_{query.round}/query' in experiment.queries:
        detections = experiment.predictions(f'round_{query.round}/query')
    return Shown(pool, query.frame_ids, state, detections)


def draw_frames(
    shown: Shown,
    out: str | Path,
    frames: Sequence[str] = (),
    number: int = SHOWN_FRAMES,
    min_score: float = SHOWN_SCORE,
) -> list[Path]:
    """Draw frames from above, and in the camera's image where there is one.

    Args:
        shown: What to draw.
        out: Folder of the pictures, ``<frame>.png`` and ``<frame>_camera.png``.
        frames: Frame ids; by default the first ones of a query, or some spread over all frames.
        number: How many to draw if ``frames`` does not name them.
        min_score: Predicted boxes must have a higher score.

    Returns:
        The files.

    Raises:
        UserError: If a frame is not in the pool.
    """
    files = []
    for frame in track(frames or shown.frames[:number], 'drawing'):
        view, title = shown.view(frame, min_score), f'frame {frame}'
        pictures = {frame: from_above(view, title, WIDTH, 'png', legend=True)}
        image = shown.pool.image(frame)
        if image is not None:
            pictures[f'{frame}_camera'] = from_camera(view, image, title, 'png', legend=True)
        for name, content in pictures.items():
            files.append(Path(out) / f'{name}.png')
            with atomic_path(files[-1]) as temporary:
                temporary.write_bytes(content)
    return files


def _kind(source: Place) -> str:
    if isinstance(source, ObjectPath) or source.is_dir():
        if not find_parts(source):
            raise UserError(
                f'{source}: no part-*.parquet in it; give a query.json, a folder of predictions or a label state'
            )
        return 'predictions'
    content = read_json(source)
    if isinstance(content, dict) and 'frames' in content and ('sampler' in content or 'pool' in content):
        return 'query' if 'sampler' in content else 'labels'
    raise UserError(f'{source}: neither a query nor a label state; give query.json, labels/round_N.json or predictions')
