"""Labels on disk: the label state of the next round, and the boxes in a form that data sets are converted from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssal3d.annotation.formats.kitti import label_text
from ssal3d.annotation.formats.plain import JsonFormat, write_frame_json
from ssal3d.annotation.importing import Labels
from ssal3d.annotation.model import LabelFrame
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, atomic_path, write_json

BOXES = 'boxes'  # folder of one JSON file a labelled frame


def next_state(labels: Labels, base: LabelState, round_number: int) -> LabelState:
    """Return the label state after a batch.

    Raises:
        UserError: If a frame is labelled already.
    """
    return base.buy(round_number, labels.counts(base.classes))


def store(
    labels: Labels,
    base: LabelState,
    round_number: int,
    out: str | Path,
    *,
    overwrite: bool = False,
    kitti: Mapping[str, LabelFrame] | None = None,
) -> Path:
    """Write the labels of a batch.

    ``OUT/boxes/<frame>.json`` holds the boxes, ``OUT/round_N_import.json`` what people did, and at last
    ``OUT/round_N.json`` the label state. Importing more of the same batch later extends the state.

    Args:
        labels: What came back.
        base: The state before the query.
        round_number: Of the query.
        out: Folder of the label states.
        overwrite: Replace a state of this round that has frames which are not in ``labels``.
        kitti: Frames with their calibration, to write ``OUT/label_2/<frame>.txt`` as well.

    Returns:
        The path of the label state.

    Raises:
        UserError: If that would lose frames, or a frame is labelled already.
    """
    out = Path(out)
    path = out / f'round_{round_number}.json'
    state = next_state(labels, base, round_number)
    if path.exists() and not overwrite:
        lost = sorted(set(LabelState.read(path).frame_ids) - set(state.frame_ids))
        if lost:
            raise UserError(
                f'{path}: frame {lost[0]} is labelled there but not in this import ({len(lost)} such frames); check '
                '--labels and --from, or replace the file with --overwrite'
            )
    for frame in labels.frames:
        write_frame_json(out / BOXES / f'{frame.frame_id}.json', frame)
        if kitti is not None:
            calibrated = kitti[frame.frame_id]
            with atomic_path(out / 'label_2' / f'{frame.frame_id}.txt') as temporary:
                temporary.write_text(label_text(_with_boxes(calibrated, frame)))
    write_json(out / f'round_{round_number}_import.json', report(labels, round_number))
    state.write(path)
    return path


def report(labels: Labels, round_number: int) -> dict[str, Any]:
    """Return what people did, as JSON."""
    return {
        'schema': SCHEMA,
        'round': round_number,
        'cost': dict(labels.cost),
        'seconds': labels.seconds,
        'frames': {
            frame.frame_id: {name: count for name, count in labels.comparisons[frame.frame_id].counts.items() if count}
            for frame in labels.frames
        },
        'missing': list(labels.missing),
        'untouched': list(labels.untouched),
        'wrong': [{'frame_id': problem.frame_id, 'text': problem.text} for problem in labels.problems],
        'warnings': list(labels.warnings),
    }


def read_boxes(*folders: str | Path) -> dict[str, LabelFrame]:
    """Read the boxes of all labelled frames by frame id.

    Args:
        folders: ``OUT/boxes``, or one such folder for each round; a frame that is in several has the boxes of all.

    Raises:
        UserError: If a file is damaged, or a folder is given twice; names file and line.
    """
    frames: dict[str, LabelFrame] = {}
    for number, folder in enumerate(folders):
        if Path(folder).resolve() in [Path(other).resolve() for other in folders[:number]]:
            raise UserError(f'{folder}: given twice; give every folder of boxes once')
        reading = JsonFormat().read(Path(folder))
        if reading.problems:
            raise UserError(reading.problems[0].text)
        for frame in reading.frames:
            before = frames.get(frame.frame_id)
            frames[frame.frame_id] = replace(before, cuboids=before.cuboids + frame.cuboids) if before else frame
    return frames


def _with_boxes(calibrated: LabelFrame, labelled: LabelFrame) -> LabelFrame:
    return LabelFrame(
        labelled.frame_id, labelled.cuboids, cameras=calibrated.cameras, calibration=calibrated.calibration
    )
