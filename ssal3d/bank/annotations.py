"""Annotated objects of the labelled frames: the only ground truth that reaches the box bank."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError

ANNOTATION = np.dtype([('box', '<f4', 7), ('label', '<i2'), ('usable', '?')])


@dataclass(frozen=True)
class LabelledObjects:
    """All annotated boxes of F labelled frames, ordered by frame id.

    Classes that are not trained (a Van beside Cars) belong here, too: their points leave the background.

    Attributes:
        frame_ids: ``(F,)`` ascending, unique.
        offsets: ``(F + 1,)`` first box of every frame.
        boxes: ``(K, 7)`` gravity-centred boxes.
        names: ``(K,)`` class names.
        usable: ``(K,)`` which boxes may be pasted, e.g. those whose KITTI difficulty is known.
    """

    frame_ids: NDArray[np.str_]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float32]
    names: NDArray[np.str_]
    usable: NDArray[np.bool_]

    @classmethod
    def from_frames(cls, frames: Iterable[tuple]) -> 'LabelledObjects':
        """Collect frames in any order.

        Args:
            frames: ``(frame_id, boxes (k, 7), names (k,))`` or the same with ``usable (k,)`` per frame.

        Raises:
            UserError: If a frame comes twice, has unequal numbers of boxes and names, or a box that is not finite.
        """
        ordered = sorted(frames, key=lambda frame: frame[0])
        boxes, names, usable = [], [], []
        for position, (frame_id, own_boxes, own_names, *own_usable) in enumerate(ordered):
            boxes.append(np.asarray(own_boxes, dtype=np.float32).reshape(-1, 7))
            names.append(np.asarray(own_names, dtype=np.str_).reshape(-1))
            usable.append(np.asarray(own_usable[0] if own_usable else np.ones(len(names[-1])), dtype=np.bool_))
            if not len(boxes[-1]) == len(names[-1]) == len(usable[-1]):
                raise UserError(
                    f'frame {frame_id} has {len(boxes[-1])} annotated boxes but {len(names[-1])} names and '
                    f'{len(usable[-1])} flags; expected one of each per box'
                )
            if not np.isfinite(boxes[-1]).all():
                raise UserError(f'frame {frame_id} has an annotated box that is not finite; correct its label')
            if position and ordered[position - 1][0] == frame_id:
                raise UserError(f'frame {frame_id} is annotated twice; give every labelled frame once')
        return cls(
            np.array([frame[0] for frame in ordered], dtype=np.str_),
            np.cumsum([0, *(len(own) for own in boxes)], dtype=np.int64),
            np.concatenate([np.empty((0, 7), np.float32), *boxes]),
            np.concatenate([np.empty(0, np.str_), *names]),
            np.concatenate([np.empty(0, np.bool_), *usable]),
        )

    def table(self, classes: Sequence[str], frame: int | None = None) -> NDArray:
        """Return ``(K,)`` rows of `ANNOTATION` with labels into ``classes``, -1 for other classes.

        Args:
            classes: Class names.
            frame: Position of the frame whose rows are wanted; all by default.
        """
        own = slice(None) if frame is None else slice(self.offsets[frame], self.offsets[frame + 1])
        names = self.names[own]
        rows = np.zeros(len(names), ANNOTATION)
        rows['box'], rows['usable'], rows['label'] = self.boxes[own], self.usable[own], -1
        for label, name in enumerate(classes):
            rows['label'][names == name] = label
        return rows
