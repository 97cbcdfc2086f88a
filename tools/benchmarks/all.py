"""Everything that users wait for, in one run of a few minutes: docs/performance.md, and what has become slower.

Every part is measured in CPU seconds and as a multiple of a fixed mix of work that is timed beside it, so that another
machine, or one that is busy, can be compared with the recorded baseline. ``bench.py all PART`` measures one part;
``--record`` makes the figures of this run the baseline.
"""

import os
import platform
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks._clock import calibration
from benchmarks._parts import PARTS

from ssal3d.errors import UserError
from ssal3d.fileio import atomic_path, read_json, write_json
from ssal3d.machine import cpu_name
from ssal3d.terminal import console

BASELINE = Path(__file__).with_name('baseline.json')
PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'performance.md'
SLOWER = 1.2  # times the baseline, from which on a part is named


def run(part: str | None = None, record: bool = False) -> list[dict[str, Any]]:
    """Measure all parts, or one; write the page if it is all of them.

    Args:
        part: Name of a part.
        record: Whether what is measured becomes the baseline.

    Raises:
        UserError: If there is no such part, or, once all is written, if parts are slower than the baseline.
    """
    if part is not None and part not in PARTS:
        raise UserError(f"'{part}': expected a part, one of {', '.join(PARTS)}")
    names = list(PARTS) if part is None else [part]
    found = {name: _measure(name) for name in names}
    known = read_json(BASELINE)['parts'] if BASELINE.exists() else {}
    if record:
        write_json(BASELINE, {'schema': 1, 'machine': machine(), 'parts': {**known, **found}})
        known = {**known, **found}
    if part is None:
        with atomic_path(PAGE) as temporary:
            temporary.write_text(page(found, known), encoding='utf-8')
    slower = regressions(found, known)
    if slower:
        console.print('slower than the baseline: ' + '; '.join(slower), highlight=False, markup=False)
    rows = [{'part': name, 'value': found[name]['seconds'], 'unit': 's', 'target': PARTS[name].limit} for name in names]
    return [*rows, *({'part': f'slower: {text}', 'value': 0, 'unit': ''} for text in slower)]


def _measure(name: str) -> dict[str, float]:
    """Return the CPU seconds of a part, and their ratio to the mix that was timed before and after it."""
    before = calibration()
    with tempfile.TemporaryDirectory() as folder:
        seconds = PARTS[name].measure(Path(folder))
    unit = min(before, calibration())
    console.print(f'{name}: {seconds:.4g} s, {seconds / unit:.4g} times the mix of {unit:.3f} s', highlight=False)
    return {'seconds': seconds, 'mix': unit, 'ratio': seconds / unit}


def regressions(found: dict[str, dict[str, float]], known: dict[str, dict[str, float]]) -> list[str]:
    """Return a text for every part whose ratio is more than a fifth above that of the baseline."""
    return [
        f'{name} by {100 * (entry["ratio"] / known[name]["ratio"] - 1):.0f} %'
        for name, entry in found.items()
        if name in known and entry['ratio'] > SLOWER * known[name]['ratio']
    ]


def machine() -> str:
    """Return what the figures were measured on."""
    return (
        f'{cpu_name()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}, '
        f'pyarrow {pa.__version__}'
    )


def page(found: dict[str, dict[str, float]], known: dict[str, dict[str, float]]) -> str:
    """Return the page of all parts."""
    lines = [
        '# How fast it is',
        '',
        '`python tools/bench.py all` measures what users wait for and writes this page; `bench.py all PART` measures one',
        'part. Figures are CPU seconds, user and system, of all threads, the least of several runs: other processes',
        'change them less than time on the clock, but they do change them. A limit is what one thread of the machine that',
        'it was worked out for (AMD EPYC, 85 GFLOP/s in float32) cannot go below.',
        '',
        f'Measured on {date.today().isoformat()}: {machine()}.',
        '',
        '| part | what | CPU, s | limit, s | times the limit | times the baseline |',
        '|---|---|---|---|---|---|',
    ]
    for name, entry in found.items():
        part, past = PARTS[name], known.get(name)
        compared = f'{entry["ratio"] / past["ratio"]:.2f}' if past else ''
        lines.append(
            f'| `{name}` | {part.what} | {entry["seconds"]:.3g} | {part.limit:.3g} | {entry["seconds"] / part.limit:.1f} '
            f'| {compared} |'
        )
    lines += ['', '| part | the limit | what keeps us from it |', '|---|---|---|']
    lines += [f'| `{name}` | {PARTS[name].why} | {PARTS[name].keeps} |' for name in found]
    slower = regressions(found, known)
    lines += [
        '',
        'The baseline (`tools/benchmarks/baseline.json`) holds every part as a multiple of a fixed mix of work (products, a',
        'sort, copies, a digest, Python) that is timed beside it; a part more than 20 % above it is named. '
        + ('Slower in this run: ' + '; '.join(slower) + '.' if slower else 'None was slower in this run.'),
        '`bench.py all --record` makes a run the baseline.',
        '',
    ]
    return '\n'.join(lines)
