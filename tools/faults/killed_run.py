"""Runs tools/train.py with one fault, which SSAL3D_FAULT describes: a kill, a full disk, a read-only folder.

A ledger outside the work dir remembers which writes were hit, so that each is hit once however often the run is
resumed.
"""

import ctypes
import json
import os
import re
import runpy
import select
import signal
import stat
from pathlib import Path

FAULT = json.loads(os.environ['SSAL3D_FAULT'])
WORK_DIR = Path(FAULT['work_dir']).resolve()
LEDGER = Path(FAULT['ledger'])
KINDS = (  # what a path in a work dir is, for the counts
    ('journal.json', 'journal'),
    ('reads', 'journal'),
    ('query', 'query'),
    ('.parquet', 'prediction part'),
    ('predictions', 'prediction part'),
    ('to_label', 'export'),
    ('hssda/labels', 'label store'),
    ('labels', 'labels'),
    ('bank', 'bank'),
    ('.pth', 'checkpoint'),
    ('checkpoint', 'checkpoint'),
    ('.html', 'report'),
    ('story', 'report'),
    ('config.py', 'config'),
)


def place_of(entry: str) -> str:
    """Return what two entries of the ledger have in common when one of them is enough: all but the numbers in names."""
    return re.sub(r'(?<![a-z] )\d+', '#', entry) if FAULT.get('thin') else entry


_hit = {place_of(line) for line in LEDGER.read_text().splitlines()} if LEDGER.exists() else set()


def kind_of(path: str) -> str:
    """Return what a path in the work dir is."""
    return next((kind for part, kind in KINDS if part in path), 'other')


def is_new(path: Path, phase: str) -> bool:
    """Whether a write was not hit before; then it is written down, for good."""
    resolved = path.parent.resolve() / path.name
    if WORK_DIR not in resolved.parents:
        return False
    name = re.sub(r'\.\d+\.old$', '.old', str(resolved.relative_to(WORK_DIR)))  # without the number of the process
    entry = f'{kind_of(name)}\t{phase}\t{name}{_note(path)}'
    if place_of(entry) in _hit:
        return False
    _hit.add(place_of(entry))
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f'{entry}\n'.encode())
    os.fsync(descriptor)
    os.close(descriptor)
    return True


def _note(path: Path) -> str:
    """Tell the writes of one path apart: the journal by its steps, what is current by its name."""
    if path.name == 'journal.json':
        journal = WORK_DIR / 'journal.json'
        return f' after {len(json.loads(journal.read_text())["steps"]) if journal.exists() else 0} steps'
    return ''


def kill_at_writes() -> None:
    """Kill before and after the renaming that makes a file appear, and before a folder is taken away."""
    rename = os.replace

    def replace(source: str | os.PathLike, target: str | os.PathLike, **more: int) -> None:
        if is_new(Path(target), 'before'):
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target, **more)
        if is_new(Path(target), 'after'):
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace


def kill_after(seconds: float) -> None:
    """Let another process kill this one after some time, whatever it does then."""
    handle = os.pidfd_open(os.getpid())
    if os.fork():
        os.close(handle)
        return
    ended, _, _ = select.select([handle], [], [], seconds)
    if not ended:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    os._exit(0)


def kill_rank(rank: int, iterations: int) -> None:
    """Kill one process of several after some training steps of this run."""
    from mmengine.runner import EpochBasedTrainLoop

    run_iter, done = EpochBasedTrainLoop.run_iter, [0]

    def counted(self: EpochBasedTrainLoop, *args: object) -> None:
        run_iter(self, *args)
        done[0] += 1
        if done[0] == iterations and int(os.environ['RANK']) == rank:
            os.kill(os.getpid(), signal.SIGKILL)

    EpochBasedTrainLoop.run_iter = counted


def refuse_writes(prepare: object) -> None:
    """Make the place of each file unwritable just before its writing begins, once for each file."""
    import ssal3d.fileio

    original, begun, state = ssal3d.fileio.remove, set(), {'broken': False}

    def remove(path: str | os.PathLike) -> None:
        original(path)
        name = Path(path).name
        if not name.startswith('.') or not name.endswith('.tmp'):
            return
        ends = path in begun  # a temporary name is removed before and after a file is written
        (begun.discard if ends else begun.add)(path)
        target = Path(path).with_name(name[1:].rpartition('.')[0].rpartition('.')[0])
        if not ends and not state['broken'] and is_new(target, FAULT['mode']):
            state['broken'] = True
            prepare(target)

    ssal3d.fileio.remove = remove


def fill_disk(target: Path) -> None:
    """Fill the file system of the work dir to the last byte."""
    with open(Path(FAULT['ballast']), 'wb', buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
        try:
            while True:
                file.write(b'0')
        except OSError:
            pass


def forbid_writing(target: Path) -> None:
    """Take the permission to write from the folder of a file, and from this process the power to ignore that."""
    folder = target.parent
    Path(FAULT['forbidden']).write_text(str(folder))
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    capabilities = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capget(header, capabilities)
    capabilities[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.capset(header, capabilities)


MODES = {
    'writes': kill_at_writes,
    'seconds': lambda: kill_after(FAULT['seconds']),
    'rank': lambda: kill_rank(FAULT['rank'], FAULT['iterations']),
    'full': lambda: refuse_writes(fill_disk),
    'read-only': lambda: refuse_writes(forbid_writing),
}
MODES[FAULT['mode']]()
runpy.run_path(FAULT.get('script', 'tools/train.py'), run_name='__main__')
