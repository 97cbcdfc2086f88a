"""Experiments that are killed or may not write, and go on: how often, and whether they end as without."""

import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ssal3d.errors import ShortfallError, unknown_name
from ssal3d.fileio import read_json, write_json
from ssal3d.terminal import console
from tests.helpers.paths import TINY
from tools.faults import killing
from tools.faults.two_processes import kill_one_of_two

KILLS = 60  # at random times, of each experiment
EXPERIMENTS: dict[str, Callable[[killing.Scene], Path]] = {
    'tiny': lambda scene: TINY,  # labels come from the annotation file
    'people': lambda scene: scene.people,  # people label, HSSDA keeps its store of labels
}
Kind = Callable[[killing.Scene, Path], killing.Outcome]
KINDS: dict[str, Kind] = {
    'writes': killing.kill_at_writes,
    'random': partial(killing.kill_at_random, kills=KILLS),
    'full': partial(killing.refuse_writes, mode='full'),
    'read-only': partial(killing.refuse_writes, mode='read-only'),
    'ranks': kill_one_of_two,
    'two-runs': killing.two_runs,
}
RESULTS = 'outcomes.json'


def run(
    part: str | None = None,
    experiment: str | None = None,
    kills: int | None = None,
    thin: bool = False,
    work_dir: Path | None = None,
) -> list[dict[str, Any]]:
    """Run one kind of fault, or all.

    Args:
        part: ``'writes'``, ``'random'``, ``'full'``, ``'read-only'``, ``'ranks'``, ``'two-runs'``; all by default.
        experiment: ``'tiny'`` or ``'people'``; both by default.
        kills: Kills at random times of each experiment.
        thin: Whether one fault for each kind of file and place is enough.
        work_dir: Where the experiments and ``outcomes.json`` stay, which grows with every kind; by default nothing
            stays.

    Raises:
        UserError: If there is no such kind or experiment.
        ShortfallError: If an experiment does not end as the undisturbed one.
    """
    for what, found, known in (('kind of fault', part, KINDS), ('experiment', experiment, EXPERIMENTS)):
        if found not in (None, 'all', *known):
            raise unknown_name(what, found, ['all', *known])
    kinds = KINDS if part in (None, 'all') else {part: KINDS[part]}
    chosen = EXPERIMENTS if experiment in (None, 'all') else {experiment: EXPERIMENTS[experiment]}
    if kills is not None and 'random' in kinds:
        kinds = {**kinds, 'random': partial(killing.kill_at_random, kills=kills)}
    rows, bad = [], 0
    if work_dir is not None:
        work_dir.mkdir(parents=True, exist_ok=True)
    with nullcontext(work_dir) if work_dir else tempfile.TemporaryDirectory(prefix='ssal3d-kills-') as name:
        scene = killing.Scene(Path(name), thin)
        for kind, fault in kinds.items():
            for config in chosen.values():
                begin = time.monotonic()
                outcome = fault(scene, config(scene))
                _write_down(scene.folder / RESULTS, outcome, f'{kind}{" thinned" * thin}', time.monotonic() - begin)
                rows += _rows(outcome)
                bad += bool(outcome.differences)
    if bad:
        raise ShortfallError(f'{bad} kinds of faults change how an experiment ends')
    return rows


def _write_down(path: Path, outcome: killing.Outcome, kind: str, seconds: float) -> None:
    """Print an outcome and add it to the file, in place of an earlier one of the same kind."""
    told = ', '.join(f'{count} {what}' for what, count in outcome.hits.most_common())
    console.print(f'{outcome.name}: {told or "none"}', highlight=False, markup=False, soft_wrap=True)
    for line in outcome.differences:
        console.print(f'  {line}', highlight=False, markup=False, soft_wrap=True)
    outcomes = read_json(path)['outcomes'] if path.exists() else {}
    outcomes[f'{outcome.name}, {kind}'] = {
        'hits': dict(outcome.hits),
        'differences': outcome.differences,
        'seconds': round(seconds),
    }
    write_json(path, {'schema': 1, 'outcomes': outcomes})


def _rows(outcome: killing.Outcome) -> list[dict[str, Any]]:
    differences = f'{outcome.name}: differences'
    return [
        {'part': outcome.name, 'value': sum(outcome.hits.values()), 'unit': 'faults'},
        {'part': differences, 'value': len(outcome.differences), 'unit': '', 'target': 0},
    ]
