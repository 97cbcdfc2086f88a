"""Who labels the frames that a query asks for."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssal3d.data.counts import annotated_counts
from ssal3d.data.infos import frame_id, read_infos
from ssal3d.errors import UserError
from ssal3d.registry import ANNOTATORS


class Annotator(ABC):
    """Answers at once: reveals the labels of a frame when it is bought, and never before.

    People need their time: `ssal3d.loop.file_annotator.FileAnnotator` hands frames out and takes labels back.
    """

    @abstractmethod
    def annotate(self, frame_id: str) -> Mapping[str, int]:
        """Label a frame and return its number of boxes by class name."""

    def check(self, frame_ids: Sequence[str]) -> None:
        """Check before anything is trained that these frames can be labelled when a query asks for them."""
        return

    def dontcare_regions(self) -> Mapping[str, list[list[float]]] | None:
        """Return DontCare rectangles of unlabelled frames for samplers that leave such frames out; None if unknown."""
        return None


@ANNOTATORS.register_module()
class SimulatedAnnotator(Annotator):
    """Answers from existing ground truth and logs every call.

    Args:
        ann_file: The pool's infos file with all annotations.
        classes: Class names that count as boxes.
        log: JSON lines file that receives one line per call.
        count_policy: ``'all'`` counts every annotated box, ``'nonempty'`` those with at least one point.
        reveal_dontcare: Tell samplers the DontCare regions of all frames, as the paper does on KITTI. These are labels
            of frames that nobody bought, so it is off unless a config asks for it.
    """

    def __init__(
        self,
        ann_file: str | Path,
        classes: tuple[str, ...],
        log: str | Path | None = None,
        count_policy: str = 'all',
        reveal_dontcare: bool = False,
    ) -> None:
        infos = read_infos(ann_file)
        self._counts = annotated_counts(infos, classes, count_policy=count_policy)
        self._dontcare = _dontcare_regions(infos) if reveal_dontcare else None
        self._source = ann_file
        self._log = Path(log) if log else None

    def annotate(self, frame_id: str) -> Mapping[str, int]:
        """Return the number of boxes of a frame by class and log the purchase.

        Raises:
            UserError: If the pool has no such frame, or nobody labelled it.
        """
        if frame_id not in self._counts:
            raise UserError(
                f'{self._source}: no labels of frame {frame_id}; predictions and data belong to different pools, or nobody '
                'labelled the frame'
            )
        counts = self._counts[frame_id]
        if self._log:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open('a') as file:
                file.write(json.dumps({'frame_id': frame_id, 'boxes': dict(counts)}) + '\n')
        return counts

    def check(self, frame_ids: Sequence[str]) -> None:
        """Check that there are labels to reveal.

        Raises:
            UserError: If some frames have none.
        """
        unlabelled = [frame for frame in frame_ids if frame not in self._counts]
        if unlabelled:
            raise UserError(
                f'{self._source}: {len(unlabelled)} of {len(frame_ids)} frames that a query may ask for have no labels, '
                f'for instance {unlabelled[0]}, and the simulated annotator only reveals labels that exist; let people '
                'label with FileAnnotator, or train on what is labelled with rounds=[] and select frames with `ssal3d select`'
            )

    def dontcare_regions(self) -> Mapping[str, list[list[float]]] | None:
        """Return the DontCare rectangles ``[x1, y1, x2, y2]`` in pixels by frame id, if they may be known."""
        return self._dontcare


def _dontcare_regions(infos: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    return {
        frame_id(info): [list(entry['bbox']) for entry in info['instances'] if entry['bbox_label'] < 0]
        for info in infos['data_list']
        if 'instances' in info
    }


def build_annotator(config: Mapping[str, Any], **defaults: Any) -> Any:
    """Build an annotator, an `Annotator` or a `FileAnnotator`; ``defaults`` fill what the config leaves out."""
    return ANNOTATORS.build({**defaults, **config})
