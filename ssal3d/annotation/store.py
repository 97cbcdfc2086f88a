"""Labels on disk: the label state of the next round, and the boxes in a form that data sets are converted from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssal3d.annotation.formats.kitti import label_text
from ssal3d.annotation.formats.plain import JsonFormat, write_frame_json
from ssal3d.annotation.importing import Labels
from ssal3d.annotation.model import LabelFrame
from ssal3d.data.label_state import LabelledFrame, LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, atomic_path, read_json, write_json

BOXES = 'boxes'  # folder of one JSON file a labelled frame
LABELS_2 = 'label_2'  # KITTI's folder of one text file a labelled frame


def next_state(
    labels: Labels, base: LabelState, round_number: int, earlier: Sequence[LabelledFrame] = ()
) -> LabelState:
    """Return the label state after a batch.

    Args:
        labels: What came back.
        base: The state before the query.
        round_number: Of the query.
        earlier: Frames of the batch that were imported before; those in ``labels`` take their place.

    Raises:
        UserError: If a frame is labelled already.
    """
    now = dict(labels.counts(base.classes))
    kept = [(frame.frame_id, now.pop(frame.frame_id, frame.boxes)) for frame in earlier]
    return base.buy(round_number, [*kept, *now.items()])


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
    ``OUT/round_N.json`` the label state. Importing more of the same batch later extends both, and replaces the boxes of
    frames that were imported before.

    Args:
        labels: What came back.
        base: The state before the query.
        round_number: Of the query.
        out: Folder of the label states.
        overwrite: Replace the state of this round; boxes of frames that are not in ``labels`` go.
        kitti: Frames with their calibration, to write ``OUT/label_2/<frame>.txt`` as well.

    Returns:
        The path of the label state.

    Raises:
        UserError: If the state of this round belongs to another one before it, a frame is labelled already or has no
            calibration.
    """
    out = Path(out)
    path, told = out / f'round_{round_number}.json', out / f'round_{round_number}_import.json'
    earlier = imported_before(out, base, round_number, is_replaced=overwrite)
    state = next_state(labels, base, round_number, [] if overwrite else earlier)
    for frame in labels.frames:
        if kitti is not None and frame.frame_id not in kitti:
            raise UserError(f'--kitti: has no frame {frame.frame_id}; expected the annotation file of the whole pool')
    for frame in labels.frames:
        write_frame_json(out / BOXES / f'{frame.frame_id}.json', frame)
        if kitti is not None:
            with atomic_path(out / LABELS_2 / f'{frame.frame_id}.txt') as temporary:
                temporary.write_text(label_text(_with_boxes(kitti[frame.frame_id], frame)))
    for name in {entry.frame_id for entry in earlier} - set(state.frame_ids):
        (out / BOXES / f'{name}.json').unlink(missing_ok=True)
        (out / LABELS_2 / f'{name}.txt').unlink(missing_ok=True)
    before = read_json(told, required=('frames', 'seconds')) if told.exists() and earlier and not overwrite else None
    write_json(told, report(labels, round_number, before))
    state.write(path)
    return path


def imported_before(
    out: str | Path, base: LabelState, round_number: int, *, is_replaced: bool = False
) -> list[LabelledFrame]:
    """Return the frames of a round that were imported before.

    Args:
        out: Folder of the label states.
        base: The state before the query.
        round_number: Of the query.
        is_replaced: Whether the state of the round, which may then follow another one, will be replaced.

    Raises:
        UserError: If the state of the round does not follow ``base``.
    """
    path = Path(out) / f'round_{round_number}.json'
    if not path.exists():
        return []
    frames, labelled = LabelState.read(path).frames, set(base.frame_ids)
    lacking = sorted(labelled - {frame.frame_id for frame in frames})
    if lacking and not is_replaced:
        raise UserError(
            f'{path}: lacks frame {lacking[0]}, which was labelled before ({len(lacking)} such frames); check --labels and '
            '--out, or replace the file with --overwrite'
        )
    return [frame for frame in frames if frame.frame_id not in labelled]


def later_states(out: str | Path, state: LabelState, round_number: int) -> list[Path]:
    """Return the label states of later rounds that hold other boxes of ``state``'s frames than it does.

    Args:
        out: Folder of the label states.
        state: Of a round.
        round_number: Of that round.
    """
    found = []
    for path in sorted(Path(out).glob('round_*.json')):
        number = path.stem.removeprefix('round_')
        if number.isdecimal() and int(number) > round_number:
            there = {frame.frame_id: frame for frame in LabelState.read(path).frames}
            if any(there.get(frame.frame_id) != frame for frame in state.frames):
                found.append(path)
    return found


def report(labels: Labels, round_number: int, earlier: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what people did, as JSON.

    Args:
        labels: What came back.
        round_number: Of the query.
        earlier: The report of an earlier import of the same batch, whose other frames stay in it.
    """
    frames = {
        frame.frame_id: {name: count for name, count in labels.comparisons[frame.frame_id].counts.items() if count}
        for frame in labels.frames
    }
    earlier = earlier or {'frames': {}, 'seconds': None}
    before = {name: counts for name, counts in earlier['frames'].items() if name not in frames}
    done = sum((Counter(counts) for counts in before.values()), Counter(labels.cost))
    seconds = labels.seconds
    if before:  # the time of frames that are in both parts cannot be told apart
        is_known = seconds is not None and earlier['seconds'] is not None and len(before) == len(earlier['frames'])
        seconds = seconds + earlier['seconds'] if is_known else None
    return {
        'schema': SCHEMA,
        'round': round_number,
        'cost': {name: done[name] for name in labels.cost},
        'seconds': seconds,
        'frames': before | frames,
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
