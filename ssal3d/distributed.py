"""Several processes: waiting for one of them for as long as it takes, and sharing a batch."""

import re
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from mmengine.dist import broadcast_object_list, get_dist_info, get_world_size
from torch import distributed
from torch.distributed import distributed_c10d

from ssal3d.errors import UserError

T = TypeVar('T')

PATIENCE = timedelta(days=30)  # a person may label frames while the other processes wait
WORK_LIMIT = timedelta(hours=2)  # for work that the processes share, of which each has little left when one waits


def barrier(limit: timedelta | None = None) -> None:
    """Wait until all processes are here; does nothing in a single one.

    Unlike MMEngine's barrier it does not give up after NCCL's or gloo's usual minutes, and waiting processes do not
    occupy their GPUs: rank 0 may wait for an annotator meanwhile.

    Args:
        limit: How long to wait at most; by default as long as a person may take.

    Raises:
        UserError: If some are not here in time; in the first process the message names them.
    """
    if get_world_size() == 1:
        return
    group = _patient_group(distributed.group.WORLD)
    if limit is None:
        distributed.barrier(group=group)
        return
    try:
        distributed.monitored_barrier(group, limit, wait_all_ranks=True)
    except RuntimeError as error:
        late = re.search(r'Ranks? ([\d, ]*\d) failed', str(error))
        who = f'processes {late[1]}' if late else 'other processes'
        raise UserError(
            f'{who} did not arrive within {limit}: hung, killed or far slower than the rest; start the command again, '
            'what is finished is kept'
        ) from None


def job_store(name: str) -> Any:
    """Return the store that all processes of the job share, with keys of its own; all of them call this together.

    It is the one that they met through: a second one would need another port between the machines. The group that waits
    in `barrier` is made as well: making it needs all processes, and later one of them may hang.

    Args:
        name: Put before the keys.
    """
    _patient_group(distributed.group.WORLD)
    # The only way to it, in every PyTorch that setup.cfg allows.
    return distributed.PrefixStore(name, distributed_c10d._get_default_store())


def from_rank_0(value: T) -> T:
    """Return what the first process passes, in all of them.

    Args:
        value: Anything that can be pickled; ignored in the other processes.
    """
    values = [value]
    broadcast_object_list(values)
    return values[0]


def to_rank_0(value: T) -> list[T]:
    """Return what every process passes, in their order, in the first process; nothing in the others.

    It waits as `barrier` does, and nothing goes through the GPUs.

    Args:
        value: Anything that can be pickled; a few large arrays are faster than many small tensors.
    """
    rank, processes = get_dist_info()
    if processes == 1:
        return [value]
    found: list[Any] = [None] * processes if rank == 0 else []
    distributed.gather_object(value, found or None, group=_patient_group(distributed.group.WORLD))
    return found


@lru_cache(maxsize=1)
def _patient_group(world: Any) -> Any:
    """Return a gloo group of all processes; made when all of them first wait together."""
    return distributed.new_group(backend='gloo', timeout=PATIENCE)


def frames_per_process(total: int, processes: int, where: str = 'train_dataloader.batch_size') -> int:
    """Return the share of a training step's frames that each process loads.

    Args:
        total: Frames of a step, over all processes.
        processes: Number of processes.
        where: What the user set, for the error.

    Raises:
        UserError: If the frames cannot be shared evenly.

    >>> frames_per_process(8, 4)
    2
    """
    if total < processes or total % processes:
        raise UserError(
            f'{where}: found {total} frames a step, which {processes} processes cannot share evenly; set it to a '
            f'multiple of {processes} (it counts the frames of all processes together), or start another number of them'
        )
    return total // processes
