"""Take the annotators' boxes back: whose frames are done, what people changed, what cannot be right."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.annotation.archives import unpacked
from ssal3d.annotation.checks import MOST_TILT, check_frame, odd_sizes
from ssal3d.annotation.comparison import Comparison, compare, cost
from ssal3d.annotation.format import AnnotationFormat, Problem, build_format
from ssal3d.annotation.fronts import elongated_classes, turned_fronts
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.provenance import Export, ExportedFrame
from ssal3d.annotation.scans import frame_points
from ssal3d.annotation.times import working_time
from ssal3d.errors import UserError
from ssal3d.fileio import sha256
from ssal3d.terminal import track

SOURCES = ('model', 'corrected', 'human')  # who made a box: pre-label accepted, edited, or drawn by a person


@dataclass(frozen=True)
class ImportSettings:
    """How to read what comes back.

    Attributes:
        aliases: Class names in the tool by what they mean here, beyond the class map of the export.
        ignored: Class names whose boxes are left out.
        accept_untouched: Take frames that came back as they were handed out as checked.
        checked: Take these frames as checked, as they came back; as they were handed out if they did not.
        only: Take these frames only; None takes all.
        front: Front of boxes that people drew in a tool without fronts: ``'+x'``, ``'+y'`` or ``'auto'``.
        scans: Folder of the scans, if they moved since the export.
        options: Of the format, beyond those of the export.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    accept_untouched: bool = False
    checked: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    front: str = 'auto'
    scans: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """A batch that came back, as far as it did.

    Attributes:
        frames: The frames that are labelled and without mistakes, in the order of the query; every box has an attribute
            ``source``, one of `SOURCES`.
        comparisons: What people did to the pre-labels, by frame id.
        missing: Frames without a label file.
        untouched: Frames that came back as they were handed out, without a sign that somebody looked at them.
        problems: Why frames cannot be used.
        warnings: What a second person should look at.
        seconds: Time that people worked on ``frames``, without pauses; None if the tool records no times.
    """

    frames: tuple[LabelFrame, ...]
    comparisons: Mapping[str, Comparison]
    missing: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float | None = None

    @property
    def cost(self) -> Mapping[str, int]:
        """Boxes by what people did; see `ssal3d.annotation.comparison.cost`."""
        return cost(self.comparisons[frame.frame_id] for frame in self.frames)

    def counts(self, classes: Sequence[str]) -> list[tuple[str, dict[str, int]]]:
        """Return frame ids with their boxes by class, as `LabelState.buy` takes them."""
        result = []
        for frame in self.frames:
            counts = Counter(cuboid.class_name for cuboid in frame.cuboids)
            result.append((frame.frame_id, {name: counts[name] for name in classes}))
        return result


def read_labels(
    folder: str | Path, returned: str | Path | None = None, settings: ImportSettings | None = None
) -> Labels:
    """Read the labels of an exported batch.

    Args:
        folder: The folder that `export_query` made.
        returned: What came back: a folder, or an archive of a tool. By default the exported folder itself, for tools
            that edit in place.
        settings: How to read it.

    Raises:
        UserError: If the folder is no export, the tool's labels cannot be read back or nothing came back. Mistakes in
            single frames are problems of the result instead.
    """
    settings = settings or ImportSettings()
    export = Export.read(folder)
    form = build_format(export.tool, {**export.options, **settings.options})
    if not form.can_read:
        raise UserError(f"{folder}: '{export.tool}' is for looking only; export the query for another tool")
    form.exported = Path(folder)
    with unpacked(Path(returned or folder)) as (place, shown):

        def clean(text: str) -> str:
            return text.replace(str(place), shown) if shown else text

        try:
            reading = form.read(place)
        except UserError as error:
            raise UserError(clean(str(error))) from None
        frames = [frame for frame in reading.frames if frame.frame_id in export.frames]
        in_place = place.resolve().is_relative_to(form.exported.resolve())
        saved = {frame.frame_id for frame in frames if frame.looked_at} | (
            _saved(frames, export) if in_place else set()
        )
        labels = _import(export, form, frames, saved, _problems(reading.problems, export, settings), settings)
        others = len({frame.frame_id for frame in reading.frames} - set(export.frames))
    warnings = [clean(text) for text in labels.warnings]
    if others:
        warnings.append(f'{others} frames in {returned or folder} do not belong to this batch and were left out')
    return replace(
        labels,
        problems=tuple(Problem(problem.frame_id, clean(problem.text)) for problem in labels.problems),
        warnings=tuple(warnings),
    )


def _import(
    export: Export,
    form: AnnotationFormat,
    frames: Sequence[LabelFrame],
    saved: set[str],
    problems: list[Problem],
    settings: ImportSettings,
) -> Labels:
    found: dict[str, LabelFrame] = {}
    warnings: list[str] = []
    names = class_names(export, form, settings)
    dropped: Counter[str] = Counter()
    for frame in frames:
        if frame.frame_id in found:
            problems.append(Problem(frame.frame_id, f'{frame.origin}: frame {frame.frame_id} came back twice'))
        found[frame.frame_id] = _renamed(frame, names, settings)
        dropped[frame.frame_id] = len(frame.cuboids) - len(found[frame.frame_id].cuboids)
    wrong = {problem.frame_id for problem in problems}
    frame_ids = [name for name in export.frames if settings.only is None or name in settings.only]
    for name in sorted({*(settings.only or ()), *settings.checked} - set(export.frames)):
        raise UserError(f'frame {name} is not in the batch {export.batch}; check the list of frames')
    for name in settings.checked - set(found) - wrong:
        found[name] = LabelFrame(name, export.frames[name].prelabels)
    done, untouched, comparisons = [], [], {}
    turned, undecided, elongated = 0, Counter[str](), elongated_classes(export)
    for name in track(frame_ids, 'checking the boxes'):
        if name not in found or name in wrong:
            continue
        frame, exported = found[name], export.frames[name]
        comparison = compare(exported.prelabels, frame.cuboids, form.tolerance)
        is_known = settings.accept_untouched or name in settings.checked or name in saved or dropped[name] > 0
        if not is_known and comparison.counts['accepted'] == len(exported.prelabels) == len(frame.cuboids):
            untouched.append(name)
            continue
        if not form.has_front:
            frame, count, open_classes = turned_fronts(frame, comparison, exported.prelabels, elongated, settings.front)
            if count:  # what was redrawn is compared as it was meant
                comparison = compare(exported.prelabels, frame.cuboids, form.tolerance)
            turned += count
            undecided.update(open_classes)
        findings = check_frame(frame, export.classes, _points(exported, settings))
        errors = [finding for finding in findings if finding.is_error]
        problems.extend(Problem(name, finding.text) for finding in errors)
        warnings.extend(finding.text for finding in findings if not finding.is_error)
        if not errors:
            done.append(_final(frame, exported, comparison))
            comparisons[name] = comparison
    warnings.extend(finding.text for found_here in odd_sizes(done).values() for finding in found_here)
    warnings.extend(_summaries(done, turned, undecided, sum(dropped[frame.frame_id] for frame in done)))
    missing = [name for name in frame_ids if name not in found and name not in wrong]
    return Labels(
        frames=tuple(done),
        comparisons=comparisons,
        missing=tuple(missing),
        untouched=tuple(untouched),
        problems=tuple(
            problem for problem in problems if settings.only is None or problem.frame_id in {*settings.only, ''}
        ),
        warnings=tuple(warnings),
        seconds=working_time([time for frame in done for time in frame.edited if time != export.created]),
    )


def class_names(export: Export, form: AnnotationFormat, settings: ImportSettings) -> dict[str, str]:
    """Return our class names by those of the tool.

    Raises:
        UserError: If an alias means a class that the batch does not have.
    """
    names = {form.spelled(export.class_map.get(name, name)): name for name in export.classes}
    for shown, name in settings.aliases.items():
        if name not in export.classes:
            raise UserError(f"--alias {shown}={name}: found '{name}', expected one of {', '.join(export.classes)}")
        names[shown] = name
    return names


def _renamed(frame: LabelFrame, names: Mapping[str, str], settings: ImportSettings) -> LabelFrame:
    cuboids = tuple(
        replace(cuboid, class_name=names.get(cuboid.class_name, cuboid.class_name))
        for cuboid in frame.cuboids
        if cuboid.class_name not in settings.ignored
    )
    return replace(frame, cuboids=cuboids)


def _problems(problems: Sequence[Problem], export: Export, settings: ImportSettings) -> list[Problem]:
    """Return what keeps frames from being imported; a file of unknown frames may hold some of the batch's."""
    placed = (replace(p, frame_id=p.frame_id if p.frame_id in export.frames else '') for p in problems)
    return [problem for problem in placed if not (problem.is_absence and problem.frame_id in settings.checked)]


def _saved(frames: Sequence[LabelFrame], export: Export) -> set[str]:
    """Return the frames whose own label file, in the exported folder, is not byte for byte the exported one.

    Somebody saved those there. Of a file with several frames, or of an archive that a tool wrote anew, different bytes
    say nothing about a frame.
    """
    owners = Counter(frame.origin for frame in frames if frame.origin is not None)
    return {
        frame.frame_id
        for frame in frames
        if frame.origin is not None
        and owners[frame.origin] == 1
        and sha256(frame.origin) != export.frames[frame.frame_id].label_sha256
    }


def _points(exported: ExportedFrame, settings: ImportSettings) -> np.ndarray | None:
    path = Path(exported.file)
    path = settings.scans / path.name if settings.scans else path
    if not path.is_file():
        return None
    return frame_points(LabelFrame(exported.frame_id, scan=path, load_dim=exported.load_dim))


def _final(frame: LabelFrame, exported: ExportedFrame, comparison: Comparison) -> LabelFrame:
    """Give accepted boxes their exact numbers back, and every box its id and where it came from."""
    cuboids = []
    for cuboid, partner, changes in zip(frame.cuboids, comparison.partners, comparison.changes):
        source = SOURCES[2] if partner < 0 else SOURCES[1] if changes else SOURCES[0]
        before: Cuboid | None = exported.prelabels[partner] if partner >= 0 else None
        cuboids.append(
            replace(
                cuboid,
                box=before.box if before is not None and not changes else cuboid.box,
                id=before.id if before is not None else '',
                score=None,
                attributes={**cuboid.attributes, 'source': source},
            )
        )
    return replace(frame, cuboids=tuple(cuboids))


def _summaries(frames: Sequence[LabelFrame], turned: int, undecided: Mapping[str, int], dropped: int) -> list[str]:
    leaning = [cuboid for frame in frames for cuboid in frame.cuboids if 0 < cuboid.tilt <= MOST_TILT]
    result = []
    if leaning:
        most = np.degrees(max(cuboid.tilt for cuboid in leaning))
        result.append(f'{len(leaning)} boxes leaned by up to {most:.2f} degrees and were set upright')
    unread = sum(cuboid.untouched is True for frame in frames for cuboid in frame.cuboids)
    if unread:
        result.append(f'{unread} boxes of saved frames were neither edited nor confirmed, as the tool says')
    if turned:
        result.append(f'{turned} boxes were drawn with their length across the heading and were turned')
    result.extend(
        f"{count} boxes of class '{name}' were drawn wider than long and left so, as too few pre-labels tell whether they "
        "are; if people drew all lengths along y, set the front to '+y'"
        for name, count in undecided.items()
    )
    if dropped:
        result.append(f'{dropped} boxes of ignored classes were left out')
    return result
