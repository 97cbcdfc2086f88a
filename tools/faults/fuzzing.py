"""Feeds damaged files to a reader: it must return something valid or raise a `UserError`, soon and in little memory.

A reader runs in a forked process, so that a crash of a library ends one input and not the count. Input ``n`` of a
reader depends on the seed, the reader and ``n`` alone, so that any finding can be repeated.
"""

import hashlib
import json
import mmap
import os
import random
import resource
import signal
import struct
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError, one_line, reason
from tools.faults.mutations import mutate

LONGEST_MESSAGE = 1500  # characters: a line that people read
CPU_SECONDS = 5.0  # of one input
HUNG_SECONDS = 60.0  # without a sign of life; the machine may be busy
MEMORY = 2 << 30  # bytes beyond what the process had before
_SHARED = struct.Struct('<qqqd')  # inputs begun, valid, refused; CPU seconds of the slowest
_NOT_BUILT = 20  # attempts to build a file around damaged content


class TooLongError(BaseException):
    """An input takes longer than any file of its size may; no `except Exception` may swallow it."""


@dataclass(frozen=True)
class Example:
    """A valid input: a folder with some files, one of which is damaged.

    Attributes:
        target: Name of that file.
        content: What is damaged.
        kind: See `mutate`.
        files: The other files by name.
        build: Makes the file of the content: compresses it, adds checksums. None if the content is the file.
    """

    target: str
    content: bytes
    kind: str = 'binary'
    files: Mapping[str, bytes] = field(default_factory=dict)
    build: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True)
class Reader:
    """What is fed.

    Attributes:
        name: For the command line.
        read: Reads a folder with the files of an example.
        examples: Valid inputs.
        check: Raises an AssertionError if what was read is no valid result.
    """

    name: str
    read: Callable[[Path], Any]
    examples: Sequence[Example]
    check: Callable[[Any], None] = lambda result: None


@dataclass
class Finding:
    """Something that must not happen.

    Attributes:
        input: Number of the first input that does it.
        what: Error and place, or ``'crash'``, ``'hang'``.
        text: The traceback's end.
        count: How many inputs do it.
    """

    input: int
    what: str
    text: str
    count: int = 1


@dataclass
class Outcome:
    """What became of the inputs of a reader.

    Attributes:
        reader: Its name.
        inputs: Number of inputs.
        valid: How many were read.
        refused: How many were refused in one line.
        slowest: CPU seconds of the slowest input.
        memory: Bytes that the process grew by.
        seconds: CPU seconds of all.
        findings: What must not happen.
    """

    reader: str
    inputs: int = 0
    valid: int = 0
    refused: int = 0
    slowest: float = 0.0
    memory: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Add a finding, or count it again."""
        known = next((entry for entry in self.findings if entry.what == finding.what), None)
        if known is None:
            self.findings.append(finding)
        else:
            known.count += finding.count


def damaged(reader: Reader, number: int, seed: int) -> tuple[Example, bytes]:
    """Return the example of an input and the damaged content of its file."""
    chance = random.Random(f'{seed} {reader.name} {number}')  # noqa: S311 - repeatable, not secret
    example = reader.examples[number % len(reader.examples)]
    for _ in range(_NOT_BUILT):
        content = mutate(example.content, example.kind, chance)
        if example.build is None:
            return example, content
        try:
            return example, example.build(content)
        except Exception:  # noqa: S112 - no file can hold this content; damage it in another way
            continue
    return example, example.build(example.content) if example.build else example.content


def check_examples(reader: Reader) -> None:
    """Check that a reader accepts what is not damaged.

    Raises:
        UserError: If it does not.
    """
    with _folder() as name:
        folder = Path(name)
        for number, example in enumerate(reader.examples):
            content = example.build(example.content) if example.build else example.content
            reader.check(reader.read(_write(folder / str(number), example, content)))


def fuzz(reader: Reader, inputs: int, seed: int = 0, first: int = 0, quiet: bool = True) -> Outcome:
    """Feed a reader.

    Args:
        reader: The reader.
        inputs: How many damaged inputs.
        seed: Other inputs for another seed.
        first: Number of the first input.
        quiet: Throw away what the reader prints.
    """
    check_examples(reader)
    outcome = Outcome(reader.name, inputs)
    with _folder() as name, mmap.mmap(-1, _SHARED.size) as shared:
        log = Path(name) / 'findings.jsonl'
        position = first
        while position < first + inputs:
            shared[:] = _SHARED.pack(position, 0, 0, 0.0)
            child = os.fork()
            if not child:
                _feed(reader, range(position, first + inputs), seed, Path(name), log, shared, quiet)
            problem, usage = _watch(child, shared)
            begun, valid, refused, slowest = _SHARED.unpack(shared[:])
            outcome.valid, outcome.refused = outcome.valid + valid, outcome.refused + refused
            outcome.slowest = max(outcome.slowest, slowest)
            outcome.seconds += usage.ru_utime + usage.ru_stime
            if problem:
                outcome.add(Finding(begun - 1, problem, ''))
            position = begun
        for line in log.read_text().splitlines() if log.exists() else ():
            entry = json.loads(line)
            if 'memory' in entry:
                outcome.memory = max(outcome.memory, entry['memory'])
            else:
                outcome.add(Finding(**entry))
    return outcome


def feed_one(reader: Reader, number: int, seed: int, folder: Path) -> str:
    """Feed one input and return ``'valid'`` or the message of the refusal; what must not happen is raised."""
    example, content = damaged(reader, number, seed)
    place = _write(folder / str(number % len(reader.examples)), example, content)
    try:
        result = reader.read(place)
    except (UserError, OSError) as error:  # a command makes one line of either
        message = one_line(reason(error) if isinstance(error, OSError) else error)
        assert message, 'an empty message'
        assert len(message) <= LONGEST_MESSAGE, f'a message of {len(message)} characters: {message[:300]}'
        assert message.isprintable(), f'a message that a terminal would obey: {message[:300]!r}'
        return message
    reader.check(result)
    return 'valid'


def _feed(reader: Reader, numbers: range, seed: int, folder: Path, log: Path, shared: mmap.mmap, quiet: bool) -> None:
    """Feed the inputs in this process, which ends."""
    status = 1
    try:
        if quiet:
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        signal.signal(signal.SIGPROF, _too_long)
        _limit_memory()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        valid = refused = 0
        slowest = 0.0
        with open(log, 'a') as found:
            for number in numbers:
                shared[:] = _SHARED.pack(number + 1, valid, refused, slowest)
                start = time.process_time()
                signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
                try:
                    answer = feed_one(reader, number, seed, folder)
                    valid, refused = valid + (answer == 'valid'), refused + (answer != 'valid')
                except BaseException as error:
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    found.write(json.dumps(vars(_finding(number, error))) + '\n')
                    found.flush()
                signal.setitimer(signal.ITIMER_PROF, 0)
                slowest = max(slowest, time.process_time() - start)
            shared[:] = _SHARED.pack(numbers.stop, valid, refused, slowest)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            found.write(json.dumps({'memory': grown}) + '\n')
        status = 0
    finally:
        os._exit(status)


def _watch(child: int, shared: mmap.mmap) -> tuple[str, Any]:
    """Wait for a process; end it if it does not get on. Returns how it failed, and what it used."""
    begun, since = -1, time.monotonic()
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            hung = code == -signal.SIGKILL
            return ('' if code == 0 else 'hang' if hung else f'crash with status {code}'), usage
        now = _SHARED.unpack(shared[:])[0]
        if now != begun:
            begun, since = now, time.monotonic()
        elif time.monotonic() - since > HUNG_SECONDS:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.05)


def _finding(number: int, error: BaseException) -> Finding:
    harness = Path(__file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) != harness]
    frames = frames or traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if 'site-packages' not in frame.filename and 'ssal3d' in frame.filename] or frames
    place = f'{Path(ours[-1].filename).name}:{ours[-1].lineno}'
    last = f'{Path(frames[-1].filename).name}:{frames[-1].lineno}'
    text = f'{type(error).__name__}: {error}'[:500]
    what = f'{type(error).__name__} at {place}' + (f' ({last})' if last != place else '')
    if isinstance(error, AssertionError):
        what += f' {hashlib.sha256(str(error)[:24].encode()).hexdigest()[:4]}'
    return Finding(number, what, text.encode('ascii', 'backslashreplace').decode())


def _write(folder: Path, example: Example, content: bytes) -> Path:
    """Write an input into the folder of its example, where the undamaged files may lie already."""
    if not folder.is_dir():
        for name, data in example.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        (folder / example.target).parent.mkdir(parents=True, exist_ok=True)
    (folder / example.target).write_bytes(content)
    return folder


def _folder() -> 'tempfile.TemporaryDirectory[str]':
    memory = '/dev/shm'  # noqa: S108 - thousands of small files
    return tempfile.TemporaryDirectory(prefix='ssal3d-fuzz-', dir=memory if os.path.isdir(memory) else None)


def _too_long(*_: object) -> None:
    raise TooLongError(f'more than {CPU_SECONDS:g} s')


def _limit_memory() -> None:
    with open('/proc/self/statm') as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
