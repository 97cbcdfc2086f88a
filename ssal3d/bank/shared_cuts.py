"""Frames cut by all processes of a job: each takes pieces and leaves them on disk, the first process joins them."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from numpy.typing import NDArray

from ssal3d.arrays import load_arrays
from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.cutting import FrameCut, LoadPoints, cut_labelled_frames, paste_database
from ssal3d.bank.generation import Generation
from ssal3d.bank.generation_folder import GenerationFolder
from ssal3d.distributed import WORK_LIMIT, barrier, from_rank_0
from ssal3d.errors import UserError
from ssal3d.fileio import atomic_open
from ssal3d.shared_work import SharedWork
from ssal3d.version import __version__

FRAMES_PER_PIECE = 128
THREADS = 4  # more wait for the disk
NAMES = ('objects', 'points', 'masks', 'frames', 'changes')
CutFrame = tuple[FrameCut, NDArray[np.int64]]  # a frame's cut, and counts that belong to it


def pieces_folder(bank: GenerationFolder) -> Path:
    """Return the folder beside a bank where the pieces of its next generation wait."""
    return bank.folder.with_name(f'{bank.folder.name}_pieces')


def labelled_cut_by_all(
    load_points: LoadPoints, classes: Sequence[str], labelled: LabelledObjects, folder: Path
) -> Generation | None:
    """Return the paste database of `ssal3d.bank.cutting.cut_labelled_objects` in the first process, None in the others.

    Args:
        load_points: Gives the ``(N, C)`` float32 cloud of a frame.
        classes: Class names of the bank.
        labelled: Annotated objects of the labelled frames.
        folder: See `cut_by_all`.

    Raises:
        UserError: As `cut_by_all` and `ssal3d.bank.cutting.cut_labelled_objects` do.
    """
    nothing = np.zeros(0, np.int64)

    def cut(start: int, stop: int) -> list[CutFrame]:
        return [(own, nothing) for own in cut_labelled_frames(load_points, classes, labelled, start, stop)]

    facts = ([list(classes), labelled.frame_ids.tolist()], labelled.offsets, labelled.table(classes))
    found = cut_by_all(cut, len(labelled.frame_ids), folder, *facts)
    return None if found is None else paste_database(classes, labelled, [own for own, _ in found])


def cut_by_all(
    cut: Callable[[int, int], Sequence[CutFrame]], frames: int, folder: Path, *facts: Any
) -> list[CutFrame] | None:
    """Return what is cut from all frames, in the first process; None in the others.

    A piece is a range of frames and one file, so nothing depends on the number of processes; what a killed run has cut
    stays for the next one. All processes call this together, in a folder that all their machines share. A single
    process needs no files.

    Args:
        cut: Returns what is cut from the frames from one position to another, the same in every process.
        frames: Number of frames.
        folder: Where the pieces go, into a folder named by a digest of the facts; the caller removes it.
        *facts: All that the result depends on but the clouds: arrays, and what JSON can say.

    Raises:
        UserError: If the processes have different facts, or do not see each other's files.
    """
    rank, processes = get_dist_info()
    if processes == 1:
        return _side_by_side(cut, 0, frames)
    digest = _digest(facts)
    if from_rank_0(digest) != digest:
        raise UserError(
            f'{folder}: process {rank} has read other predictions or labels than the first one; check that all machines '
            'share the folders of the run, and start it again'
        )
    paths = [folder / digest[:16] / f'{number:06d}.npz' for number in range(-(-frames // FRAMES_PER_PIECE))]
    work = SharedWork(from_rank_0([number for number, path in enumerate(paths) if not path.exists()]))
    for number in chain(work, work.overdue()):
        first = number * FRAMES_PER_PIECE
        _write(paths[number], _side_by_side(cut, first, min(first + FRAMES_PER_PIECE, frames)))
        work.finish(number)
    barrier(WORK_LIMIT)
    return None if rank else list(chain.from_iterable(map(_read, paths)))


def _side_by_side(cut: Callable[[int, int], Sequence[CutFrame]], first: int, last: int) -> list[CutFrame]:
    """Return what threads cut from a range of frames: the kernels release Python's lock."""
    threads = min(THREADS, (os.cpu_count() or 1) // int(os.environ.get('LOCAL_WORLD_SIZE', '1')) or 1)
    bounds = np.linspace(first, last, 4 * threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as executor:
        return list(chain.from_iterable(executor.map(lambda ends: cut(*ends), pairwise(bounds))))


def _digest(facts: Sequence[Any]) -> str:
    found = hashlib.sha256(__version__.encode())
    for fact in facts:
        if isinstance(fact, np.ndarray):
            found.update(f'{fact.dtype}{fact.shape}'.encode())
            found.update(np.ascontiguousarray(fact).view(np.uint8).data if fact.size else b'')
        else:
            found.update(json.dumps(fact, sort_keys=True).encode())
    return found.hexdigest()


def _write(path: Path, pieces: Sequence[CutFrame]) -> None:
    cuts = [cut for cut, _ in pieces]
    sizes = [(len(c.objects), len(c.points), len(c.mask), c.num_points, c.checksum) for c in cuts]
    arrays = (
        *(np.concatenate([getattr(cut, name) for cut in cuts]) for name in ('objects', 'points', 'mask')),
        np.array(sizes, np.int64),
        np.stack([changes for _, changes in pieces]),
    )
    with atomic_open(path) as file:
        # `allow_pickle` must not be passed: NumPy 1.26 would store it as one more array.
        np.savez(file, **dict(zip(NAMES, arrays, strict=True)))  # type: ignore[arg-type] # its flag is no array


def _read(path: Path) -> list[CutFrame]:
    try:
        objects, points, masks, frames, changes = load_arrays(path, NAMES, 'delete it and start the run again')
    except FileNotFoundError:
        raise UserError(
            f'{path}: missing although all processes have written theirs; choose a work dir that all machines share'
        ) from None
    ends = np.cumsum(frames[:, :3], axis=0)[:-1]
    split = (np.split(array, ends[:, axis]) for axis, array in enumerate((objects, points, masks)))
    return [
        (FrameCut(*own, num_points=int(row[3]), checksum=int(row[4])), counts)
        for *own, row, counts in zip(*split, frames, changes, strict=True)
    ]
