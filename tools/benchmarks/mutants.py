"""Mistakes on purpose in the code: how many of them the tests of the module notice, and which ones they do not."""

import random
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import write_json
from ssal3d.terminal import console
from tests.helpers.paths import ROOT

SHELLS = re.compile(
    r'^\s*(from|import) (mmengine|mmdet3d|torch|matplotlib|rich)\b', re.MULTILINE
)  # what only a shell imports
ROOMS = ('active', 'bank', 'cpsp', 'evaluation')
SAMPLE = 12  # mutants of each module


def run(
    part: str | None = None, sample: int = SAMPLE, seed: int = 0, work_dir: Path | None = None
) -> list[dict[str, Any]]:
    """Test mutants of modules.

    Args:
        part: A room, of which the modules count that need neither PyTorch nor MMEngine; a module such as
            ``ssal3d/active/ranking.py``; or ``'all'``.
        sample: Mutants of each module, drawn at random; 0 takes all.
        seed: Of the drawing.
        work_dir: Where ``mutants.json`` grows with every module; nothing stays by default.

    Raises:
        UserError: If there is no such room or module.
    """
    from tools.faults.mutant_runs import warm_up

    modules = _modules(part)
    total: dict[str, int] = {'killed': 0, 'survived': 0}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix='ssal3d-mutants-') as name:
        warm_up(Path(name))
        for path in modules:
            found = _check(path, sample, seed, Path(name))
            results[str(path.relative_to(ROOT))] = found
            for key in total:
                total[key] += len(found[key])
            if work_dir:
                write_json(work_dir / 'mutants.json', {'schema': 1, 'seed': seed, 'modules': results})
    mutants = sum(total.values())
    return [
        {'part': 'mutants', 'value': mutants, 'unit': ''},
        {'part': 'survivors', 'value': total['survived'], 'unit': ''},
        {'part': 'noticed', 'value': 100 * total['killed'] / max(mutants, 1), 'unit': '%'},
    ]


def _modules(part: str | None) -> list[Path]:
    if part and part.endswith('.py'):
        path = (ROOT / part).resolve()
        if not path.is_file() or ROOT / 'ssal3d' not in path.parents:
            raise UserError(f'{part}: no module of ssal3d; give a path such as ssal3d/active/ranking.py')
        return [path]
    if part not in (None, 'all', *ROOMS):
        raise unknown_name('room', part, ['all', *ROOMS])
    rooms = ROOMS if part in (None, 'all') else (part,)
    paths = sorted(path for room in rooms for path in (ROOT / 'ssal3d' / room).rglob('*.py'))
    return [path for path in paths if path.stem != '__init__' and not SHELLS.search(path.read_text())]


def _check(path: Path, sample: int, seed: int, folder: Path) -> dict[str, Any]:
    from tools.faults.code_mutants import mutants
    from tools.faults.mutant_runs import Baseline

    begin, shown = time.monotonic(), path.relative_to(ROOT)
    every = list(mutants(path))
    baseline = Baseline(path, folder)
    found: dict[str, Any] = {'mutants': len(every), 'killed': [], 'survived': [], 'problem': baseline.problem}
    if not baseline.problem:
        chance = random.Random(f'{seed} {shown}')  # noqa: S311
        drawn = chance.sample(range(len(every)), min(sample, len(every))) if sample else range(len(every))
        for number in sorted(drawn):
            mutant = every[number]
            text = f'{shown}:{mutant.line}: {mutant.before} -> {mutant.after}'
            survived = baseline.survives(mutant.tree)
            found['survived' if survived else 'killed'].append(text)
            if survived:
                console.print(f'survived: {text}', highlight=False, markup=False, soft_wrap=True)
    found['seconds'] = round(time.monotonic() - begin)
    told = baseline.problem or f'{len(found["killed"])} of {len(found["killed"]) + len(found["survived"])} noticed'
    console.print(f'{shown}: {told}', highlight=False, markup=False, soft_wrap=True)
    return found
