"""The labelled frames of an annotation file as metrics need them: read once, looked up by frame id."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ssal3d.data.infos import check_instances, frame_ids, read_infos
from ssal3d.errors import UserError


class AnnotatedFrames:
    """Frames of an annotation file, which is read at the first use.

    Args:
        ann_file: The annotation file (infos, format v2).
    """

    def __init__(self, ann_file: str) -> None:
        self.ann_file = ann_file

    def __getstate__(self) -> dict[str, Any]:
        return {'ann_file': self.ann_file}  # what was read is large

    @cached_property
    def _infos(self) -> dict[str, Any]:
        return read_infos(self.ann_file)

    @property
    def metainfo(self) -> dict[str, Any]:
        """What the file says about all frames."""
        return self._infos['metainfo']

    @cached_property
    def ids(self) -> list[str]:
        """Ids of all frames in the order of the file."""
        return frame_ids(self._infos, self.ann_file)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {frame: position for position, frame in enumerate(self.ids)}

    def find(self, frame: str | int) -> tuple[str, dict[str, Any]]:
        """Return id and entry of a labelled frame.

        Args:
            frame: Its id, or its position in the file.

        Raises:
            UserError: If there is no such frame or nobody labelled it.
        """
        position = frame if isinstance(frame, int) else self._position.get(frame, -1)
        if not 0 <= position < len(self.ids):
            raise UserError(f'{self.ann_file}: no frame {frame}; the metric needs the annotation file of the data set')
        info, name = self._infos['data_list'][position], self.ids[position]
        if 'instances' not in info:
            raise UserError(
                f'{self.ann_file}: frame {name} has no labels; evaluate on a labelled split, or label the frame'
            )
        check_instances(self.ann_file, [info])
        return name, info

    def check(self, frames: Sequence[str] | None) -> Sequence[str]:
        """Check that frames are there and labelled, and return them; all of the file if None is given.

        Raises:
            UserError: Names the first frame that is not, and how many there are.
        """
        chosen = self.ids if frames is None else frames
        unlabelled = [frame for frame in chosen if frame in self._position and not self._is_labelled(frame)]
        if unlabelled:
            raise UserError(
                f'{self.ann_file}: {len(unlabelled)} of {len(chosen)} frames to evaluate have no labels, the first is '
                f'{unlabelled[0]}; evaluate on a labelled split, or label them'
            )
        for frame in chosen:
            self.find(frame)
        return chosen

    def _is_labelled(self, frame: str) -> bool:
        return 'instances' in self._infos['data_list'][self._position[frame]]
