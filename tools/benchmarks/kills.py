"""Experiments that are killed or may not write, and go on: how often, and whether they end as without."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssal3d.errors import ShortfallError, unknown_name
from ssal3d.terminal import console
from tests.helpers.paths import TINY
from tools.faults import killing

RANDOM = 30  # kills at random times, of each of two experiments

PARTS: dict[str, Callable[[killing.Scene], list[killing.Outcome]]] = {
    'writes': lambda scene: [killing.kill_at_writes(scene, config) for config in (TINY, scene.people)],
    'random': lambda scene: [killing.kill_at_random(scene, config, RANDOM) for config in (TINY, scene.people)],
    'full': lambda scene: [killing.refuse_writes(scene, config, 'full') for config in (TINY, scene.people)],
    'read-only': lambda scene: [killing.refuse_writes(scene, config, 'read-only') for config in (TINY, scene.people)],
    'ranks': lambda scene: [killing.kill_one_of_two(scene, TINY)],
    'two-runs': lambda scene: [killing.two_runs(scene, TINY)],
}


def run(part: str | None = None) -> list[dict[str, Any]]:
    """Run one kind of fault, or all.

    Args:
        part: ``'writes'``, ``'random'``, ``'full'``, ``'read-only'``, ``'ranks'``, ``'two-runs'``; all by default.

    Raises:
        UserError: If there is no such kind.
        ShortfallError: If an experiment does not end as the undisturbed one.
    """
    if part not in (None, 'all', *PARTS):
        raise unknown_name('kind of fault', part, ['all', *PARTS])
    rows, bad = [], 0
    with tempfile.TemporaryDirectory(prefix='ssal3d-kills-') as name:
        scene = killing.Scene(Path(name))
        for kind in PARTS if part in (None, 'all') else (part,):
            for outcome in PARTS[kind](scene):
                bad += bool(outcome.differences)
                told = ', '.join(f'{count} {what}' for what, count in outcome.hits.most_common())
                console.print(f'{outcome.name}: {told or "none"}', highlight=False, markup=False, soft_wrap=True)
                for line in outcome.differences:
                    console.print(f'  {line}', highlight=False, markup=False, soft_wrap=True)
                rows.append({'part': outcome.name, 'value': sum(outcome.hits.values()), 'unit': 'faults'})
                rows.append(
                    {'part': f'{outcome.name}: differences', 'value': len(outcome.differences), 'unit': '', 'target': 0}
                )
    if bad:
        raise ShortfallError(f'{bad} kinds of faults change how an experiment ends')
    return rows
