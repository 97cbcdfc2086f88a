"""People who label in a tool of their choice: frames go out as files, labels come back as files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssal3d.annotation.exporting import export_query, tool_names
from ssal3d.annotation.format import build_format
from ssal3d.annotation.fronts import FRONTS
from ssal3d.annotation.importing import ImportSettings, Labels, read_labels
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.prelabels import prelabels
from ssal3d.annotation.provenance import Export
from ssal3d.data.label_state import LabelState, pool_digest
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import read_text, sha256
from ssal3d.options import check_range, one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ANNOTATORS

HANDED_OUT = 'to_label'  # what the annotators get, in the folder of the query
RETURNED = 'labelled'  # what they give back, if their tool does not work on the exported files
ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz')
CHECKED = 'checked.txt'  # ids of frames that are right as they were handed out, one a line
PRELABELS = ('thresholds', 'iou')


@ANNOTATORS.register_module()
class FileAnnotator:
    """Hands the frames of a query out as files and takes the labels back when they are there.

    Args:
        format: Name of the tool's format, see docs/annotate.md.
        options: Of the format.
        prelabels: How sure the models must be of a box that the annotators get as a start: ``thresholds``, a score or
            one by class name, and ``iou``, from which two models agree. True takes 0.5 for both, False starts with
            empty frames.
        wait_for: Share of the frames in (0, 1] that must be labelled before the experiment goes on. The others stay in
            the pool.
        class_map: Class names in the tool, where they differ from ours.
        aliases: Further names of the tool, and what they mean here.
        ignore_classes: Names of the tool whose boxes are left out.
        accept_untouched: Take frames that came back as they were handed out as checked; otherwise they are unlabelled.
        front: Where boxes look that people drew in a tool without fronts: ``'auto'``, ``'+x'`` or ``'+y'``.
        scans: Folder with other scans than the detector's, e.g. KITTI's whole ones; by default those of the pool.
        images: Folder of the images that the annotation file names; without it the tool shows points only.

    Raises:
        UserError: If the format or an option is unknown or out of range, or the format is for looking only.
    """

    def __init__(
        self,
        format: str = 'json',
        options: Mapping[str, Any] | None = None,
        prelabels: Mapping[str, Any] | bool = True,
        wait_for: float = 1.0,
        class_map: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
        ignore_classes: Sequence[str] = (),
        accept_untouched: bool = False,
        front: str = 'auto',
        scans: str | None = None,
        images: str | None = None,
    ) -> None:
        self.format, self.options = format, dict(options or {})
        if not build_format(format, self.options).can_read:
            raise UserError(f"FileAnnotator: '{format}' is for looking only; choose a format that can be imported")
        self.prelabels = None if prelabels is False else {} if prelabels is True else dict(prelabels)
        for name in self.prelabels or {}:
            if name not in PRELABELS:
                raise unknown_name('option of prelabels', name, list(PRELABELS))
        self.wait_for = check_range('wait_for', wait_for, high=1)
        if self.wait_for == 0:
            raise UserError('wait_for: found 0, expected more: without a labelled frame there is nothing to learn')
        self.class_map = dict(class_map or {})
        self.settings = ImportSettings(
            aliases=dict(aliases or {}),
            ignored=frozenset(ignore_classes),
            accept_untouched=accept_untouched,
            front=one_of('front', front, FRONTS),
        )
        self.scans, self.images = scans, images

    def check(self, classes: Sequence[str]) -> None:
        """Check that the tool can tell the classes apart.

        Raises:
            UserError: If two classes have one name in the tool, or a map names a class that there is not.
        """
        tool_names(build_format(self.format, self.options), classes, self.class_map)
        for name in self.settings.aliases.values():
            if name not in classes:
                raise unknown_name('class in aliases', name, list(classes))

    def hand_out(
        self,
        frames: Sequence[LabelFrame],
        folder: Path,
        state: LabelState,
        round_number: int,
        query: Path,
        predictions: PoolPredictions | None = None,
        reference: PoolPredictions | None = None,
    ) -> tuple[Export, list[str]]:
        """Write the frames for the annotators.

        Args:
            frames: In the order of the query.
            folder: Folder of the query; what is handed out is ``to_label`` in it.
            state: What was labelled before.
            round_number: Of the query.
            query: The file of the query.
            predictions: Of the query model, for pre-labels.
            reference: Of a second model; both must agree on a pre-label.

        Returns:
            What was written, and what the annotators should know.
        """
        boxes: dict[str, tuple[Cuboid, ...]] | None = None
        if self.prelabels is not None and predictions is not None:
            boxes = prelabels([frame.frame_id for frame in frames], predictions, reference, **self.prelabels)
        return export_query(
            frames,
            folder / HANDED_OUT,
            self.format,
            classes=state.classes,
            round_number=round_number,
            pool={'name': state.pool_name, 'size': state.pool_size, 'sha256': state.pool_sha256},
            prelabels=boxes,
            options=self.options,
            class_map=self.class_map,
            labelled_sha256=pool_digest(state.frame_ids),
            query_sha256=sha256(query),
            checkpoint_sha256=(predictions.metadata.get('checkpoint_sha256') or '') if predictions else '',
            source={'query': str(query), 'prelabels': self.prelabels if boxes is not None else None},
        )

    def take_back(self, folder: Path) -> Labels:
        """Read what is labelled so far.

        Args:
            folder: Folder of the query.

        Raises:
            UserError: If the files cannot be read at all, or several lie where one is expected.
        """
        path = folder / CHECKED
        checked = frozenset(map(str.strip, read_text(path).split('\n'))) - {''} if path.exists() else frozenset()
        export = Export.read(folder / HANDED_OUT)
        for name in sorted(checked - set(export.frames)):
            raise UserError(f'{path}: frame {name} was not handed out; expected ids of frames in {folder / HANDED_OUT}')
        options = self.options if export.tool == self.format else {}
        settings = replace(self.settings, checked=checked, options=options)
        return read_labels(folder / HANDED_OUT, self.returned(folder), settings)

    @staticmethod
    def returned(folder: Path) -> Path | None:
        """Return where labels came back; None if people work on the exported files.

        Raises:
            UserError: If they came back in several places.
        """
        found = [place for place in answers(folder) if place.name != CHECKED]
        if len(found) > 1:
            raise UserError(f'{found[0]}: there is also {found[1]}; keep one of them')
        return found[0] if found else None


def answers(folder: Path) -> list[Path]:
    """Return what people put into the folder of a query, beside the frames that they got."""
    names = [*(f'{RETURNED}{ending}' for ending in ('', *ARCHIVES)), CHECKED]
    return [folder / name for name in names if (folder / name).exists()]


def is_patient(annotator: Mapping[str, Any]) -> bool:
    """Whether an annotator's config means people who need their time."""
    kind = annotator.get('type')
    kind = ANNOTATORS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, FileAnnotator)
