"""Rows and files of a pass over a pool, made by a thread beside the model."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.ops.boxes import points_per_box
from ssal3d.predictions.places import Place
from ssal3d.predictions.writer import write_part

WITHOUT_MODEL = ('num_points', 'lidar2img', 'image_shape')  # columns that are made here
WAITING = 64  # frames that may wait for the thread before the model has to


class PartFiles:
    """Takes the predicted frames of one part after the other, each in order, and writes a part when it is complete.

    Counting points, packing columns and writing leave Python's lock to the model: its kernels, Arrow and the disk do
    the work. An error of the thread is raised by the next call, or at the end.

    Args:
        out: Folder of the parts.
        view: The pool's view.
        fields: Columns beyond boxes, scores and labels.
        metadata: Facts for the files, among them ``frames_per_part``.
        written: Called by the thread with the number of every part that is written.

    Attributes:
        digests: SHA-256 by name of the parts that went to an object store.
    """

    def __init__(
        self,
        out: Place,
        view: Any,
        fields: Sequence[str],
        metadata: Mapping[str, Any],
        written: Callable[[int], object] = lambda number: None,
    ) -> None:
        self.out, self.view, self.fields, self.metadata, self.written = out, view, fields, metadata, written
        self.digests: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix='part files')
        self._waiting: deque[Future] = deque()
        self._rows: list[tuple[str, dict[str, Any]]] = []

    def __enter__(self) -> 'PartFiles':
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None:
            self.finish()
        self._thread.shutdown(cancel_futures=True)

    def add(self, position: int, columns: dict[str, NDArray], points: NDArray[np.floating]) -> None:
        """Add the next frame.

        Args:
            position: Its position in the pool.
            columns: Its columns, without those that need no model.
            points: ``(N, >=3)`` its cloud.
        """
        self._waiting.append(self._thread.submit(self._finish, position, columns, points))
        self._wait_for(WAITING)

    def finish(self) -> None:
        """Wait until all frames are in their files."""
        self._wait_for(0)

    def _wait_for(self, number: int) -> None:
        while self._waiting and (len(self._waiting) > number or self._waiting[0].done()):
            self._waiting.popleft().result()

    def _finish(self, position: int, columns: dict[str, NDArray], points: NDArray[np.floating]) -> None:
        """Complete a frame's columns and, if it is the last of a part, write the part."""
        frames, size = self.view.frame_ids, self.metadata['frames_per_part']
        for name in set(self.fields).intersection(WITHOUT_MODEL):
            if name == 'num_points':
                columns[name] = points_per_box(points[:, :3], columns['bboxes_3d'])
            else:
                columns[name] = _camera(self.view.get_data_info(position), name)
        self._rows.append((frames[position], columns))
        if (position + 1) % size == 0 or position == len(frames) - 1:
            self.write(position // size)

    def write(self, number: int) -> None:
        """Write a part of the rows that wait for it, none in a pool without frames.

        Args:
            number: Its number.
        """
        name = part_name(number)
        digest = write_part(self.out / name, self._rows, self.fields, self.metadata)
        if digest is not None:
            self.digests[name] = digest
        self._rows.clear()
        self.written(number)


def part_name(number: int) -> str:
    """Return the file name of a part.

    >>> part_name(7)
    'part-00007.parquet'
    """
    return f'part-{number:05d}.parquet'


def _camera(info: Mapping[str, Any], name: str) -> NDArray:
    """Return the projection or the (height, width) of the frame's camera; NaN where the frame has none."""
    camera: Mapping[str, Any] = next(iter(info.get('images', {}).values()), {})
    if name == 'image_shape':
        return np.array([camera.get('height', np.nan), camera.get('width', np.nan)], dtype=np.float32)
    if 'lidar2img' in camera:
        return np.array(camera['lidar2img'], dtype=np.float32)
    if 'cam2img' in camera and 'lidar2cam' in camera:
        return (np.array(camera['cam2img']) @ np.array(camera['lidar2cam'])).astype(np.float32)
    return np.full((4, 4), np.nan, dtype=np.float32)
