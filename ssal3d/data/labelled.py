"""Label states and annotation files: what is labelled when an experiment begins, and whether both agree."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssal3d.data.counts import annotated_counts
from ssal3d.data.infos import frame_id, frame_ids
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError

FOLDER = 'labels'


def state_of(
    infos: dict[str, Any], classes: Sequence[str], pool: str, frames: Iterable[str] | None = None
) -> LabelState:
    """Return the label state in which frames of an annotation file were labelled in round 0.

    Args:
        infos: The whole pool.
        classes: Class names that are counted.
        pool: Name of the pool.
        frames: Ids of the labelled frames; by default all that have annotations.

    Raises:
        UserError: If a frame has no annotations.
    """
    wanted = None if frames is None else list(frames)
    only = set(wanted or ())
    labelled = [info for info in infos['data_list'] if wanted is None or frame_id(info) in only]
    counts = annotated_counts({**infos, 'data_list': labelled}, classes)
    chosen = list(counts) if wanted is None else wanted
    for frame in chosen:
        if frame not in counts:
            raise UserError(f'frame {frame} has no annotations; convert the data again with its label file')
    return LabelState.empty(classes, pool, frame_ids(infos)).buy(0, [(frame, counts[frame]) for frame in chosen])


def write_label_state(out: Path, split: str, pool: str, infos: dict[str, Any], classes: Sequence[str]) -> Path | None:
    """Write which frames of a partly labelled split are labelled, with their boxes, as round 0.

    A split without labels has no such file. Neither has a fully labelled one, unless it was partly labelled before.

    Args:
        out: Folder of the annotation files.
        split: Name of the split; the file of ``train`` is ``labels/round_0.json``, of others
            ``labels/<split>/round_0.json``.
        pool: Name of the pool in the file.
        infos: The converted split.
        classes: Class names that are counted.

    Returns:
        The file, if there is one.
    """
    path = out / FOLDER / ('' if split == 'train' else split) / 'round_0.json'
    state = state_of(infos, classes, pool)
    if not state.frames or (len(state.frames) == state.pool_size and not path.exists()):
        return None
    state.write(path)
    return path


def check_counts(state: LabelState, infos: dict[str, Any], source: str | Path) -> None:
    """Check that an annotation file holds the boxes that a label state counts.

    Args:
        state: The label state; its counts may follow either policy of `ssal3d.data.counts`.
        infos: The labelled frames of the annotation file.
        source: The annotation file, for the message.

    Raises:
        UserError: Names the first frame with other numbers and both totals.
    """
    counts = annotated_counts(infos, state.classes)
    differing = [frame for frame in state.frames if dict(frame.boxes) != counts[frame.frame_id]]
    if differing and _knows_points(infos):
        nonempty = annotated_counts(infos, state.classes, 'nonempty')
        if all(dict(frame.boxes) == nonempty[frame.frame_id] for frame in state.frames):
            return
    for frame in differing[:1]:
        total = sum(sum(counts[entry.frame_id].values()) for entry in state.frames)
        raise UserError(
            f'{source}: frame {frame.frame_id} holds {_listed(counts[frame.frame_id])}, the label state counts '
            f'{_listed(frame.boxes)} ({len(differing)} of {len(state.frames)} frames differ, {total} against '
            f'{sum(state.counts.values())} boxes); run `ssal3d create-data` again with the new label files, or make the '
            'label state anew'
        )


def _knows_points(infos: dict[str, Any]) -> bool:
    return all('num_lidar_pts' in entry for info in infos['data_list'] for entry in info['instances'])


def _listed(boxes: Mapping[str, int]) -> str:
    return ', '.join(f'{count} {name}' for name, count in boxes.items() if count) or 'no box'
