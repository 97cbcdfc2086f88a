"""Hand a query over to the annotators: scans and pre-labels in a tool's format, with their provenance."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssal3d.annotation.comparison import compare
from ssal3d.annotation.format import AnnotationFormat, Batch, build_format
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.provenance import Export, ExportedFrame, versions
from ssal3d.annotation.scans import frame_points
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import atomic_path, sha256
from ssal3d.terminal import track


def export_query(
    frames: Sequence[LabelFrame],
    out: str | Path,
    tool: str,
    *,
    classes: Sequence[str],
    round_number: int,
    pool: Mapping[str, Any],
    prelabels: Mapping[str, Sequence[Cuboid]] | None = None,
    options: Mapping[str, Any] | None = None,
    class_map: Mapping[str, str] | None = None,
    labelled_sha256: str = '',
    query_sha256: str = '',
    checkpoint_sha256: str = '',
    source: Mapping[str, Any] | None = None,
) -> tuple[Export, list[str]]:
    """Write a batch for the annotators.

    What was written is read back and compared before the folder appears under its name.

    Args:
        frames: The query's frames with scans, cameras and facts; their own boxes are ignored.
        out: Folder to make.
        tool: Name of the format.
        classes: Class names of the pool.
        round_number: Of the query.
        pool: Name, size and SHA-256 of the pool.
        prelabels: Boxes by frame id, with ids that are numbers.
        options: Of the format.
        class_map: Class names in the tool, where they differ.
        labelled_sha256: `ssal3d.data.label_state.pool_digest` of the frames that were labelled before.
        query_sha256: Of ``query.json``.
        checkpoint_sha256: Of the query model.
        source: Folders, thresholds: for people.

    Returns:
        What was exported, and what the annotators should know.

    Raises:
        UserError: If the folder exists, a scan is damaged or two classes have one name in the tool.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f'{out}: there is something already; choose another folder with --out or delete this one')
    form = build_format(tool, options)
    names = tool_names(form, classes, class_map or {})
    boxes = {frame.frame_id: tuple((prelabels or {}).get(frame.frame_id, ())) for frame in frames}
    renamed = [
        replace(
            frame,
            cuboids=tuple(replace(box, class_name=names[box.class_name]) for box in boxes[frame.frame_id]),
            scan=frame.scan.resolve() if frame.scan else None,
        )
        for frame in frames
    ]
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='milliseconds')
    batch = Batch(
        tuple(names.values()),
        f'round_{round_number}',
        now.replace('+00:00', 'Z'),
        {'checkpoint_sha256': checkpoint_sha256, 'query_sha256': query_sha256, 'round': round_number},
    )
    points = [len(frame_points(frame)) for frame in track(renamed, 'checking the scans')]
    with atomic_path(out) as folder:
        folder.mkdir()
        notes = form.export(renamed, folder, batch)
        digests = _read_back(form, renamed, folder) if form.can_read else {}
        export = Export(
            tool=tool,
            options=dict(options or {}),
            batch=batch.name,
            created=batch.created,
            round=round_number,
            classes=tuple(classes),
            class_map={name: shown for name, shown in names.items() if name != shown},
            frames={
                frame.frame_id: ExportedFrame(
                    frame.frame_id,
                    boxes[frame.frame_id],
                    str(frame.scan),
                    frame.load_dim,
                    count,
                    digests.get(frame.frame_id, ''),
                    frame.facts,
                )
                for frame, count in zip(renamed, points)
            },
            pool=dict(pool),
            labelled_sha256=labelled_sha256,
            query_sha256=query_sha256,
            checkpoint_sha256=checkpoint_sha256,
            source={**(source or {}), 'versions': versions()},
        )
        export.write(folder)
    return export, notes


def tool_names(form: AnnotationFormat, classes: Sequence[str], class_map: Mapping[str, str]) -> dict[str, str]:
    """Return the name of each class in the tool.

    Raises:
        UserError: If the map names an unknown class, or two classes would have the same name.
    """
    for name in class_map:
        if name not in classes:
            raise unknown_name('class in the class map', name, list(classes))
    names = {name: form.spelled(class_map.get(name, name)) for name in classes}
    shown = list(names.values())
    for name, title in names.items():
        if shown.count(title) > 1:
            raise UserError(
                f"class '{name}' and another one are both '{title}' in the tool; give them other names with --class-map"
            )
    return names


def _read_back(form: AnnotationFormat, frames: Sequence[LabelFrame], folder: Path) -> dict[str, str]:
    """Check that the format reads what it wrote; return the SHA-256 of each frame's label file."""
    reading = form.read(folder)
    if reading.problems:
        raise RuntimeError(f'{type(form).__name__} cannot read what it wrote: {reading.problems[0].text}')
    frames_back = {frame.frame_id: frame for frame in reading.frames}
    digests: dict[str, str] = {}
    cache: dict[Path, str] = {}
    for frame in frames:
        if frame.frame_id not in frames_back:
            continue  # a format may have no place for frames without boxes; it says so in its notes
        back = frames_back[frame.frame_id]
        counts = compare(frame.cuboids, back.cuboids, form.tolerance).counts
        if counts['accepted'] != len(frame.cuboids) or len(back.cuboids) != len(frame.cuboids):
            raise RuntimeError(f'{type(form).__name__} changes the boxes of frame {frame.frame_id}: {dict(counts)}')
        if back.origin is not None:
            digests[frame.frame_id] = cache.setdefault(back.origin, '') or sha256(back.origin)
            cache[back.origin] = digests[frame.frame_id]
    return digests
