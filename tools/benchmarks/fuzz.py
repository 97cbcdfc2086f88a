"""Readers fed with damaged files: what they do with them, and what they must not."""

from typing import Any

from ssal3d.errors import ShortfallError, UserError, unknown_name
from ssal3d.terminal import console
from tools.faults.fuzzing import fuzz
from tools.faults.readers import reader_names, readers

INPUTS = 20_000  # of each reader


def run(part: str | None = None, inputs: int = INPUTS, seed: int = 0, first: int = 0) -> list[dict[str, Any]]:
    """Feed one reader, or all, and print what became of the inputs.

    Args:
        part: Name of a reader, or ``'all'``.
        inputs: Damaged inputs of each reader.
        seed: Other inputs for another seed.
        first: Number of the first input; with ``inputs=1`` one input is repeated.

    Raises:
        UserError: If there is no such reader.
        ShortfallError: If a reader did what it must not do.
    """
    names = reader_names()
    if part is None:
        raise UserError(f'fuzz: give a reader, or all: {", ".join(names)}')
    if part not in ('all', *names):
        raise unknown_name('reader', part, ['all', *names])
    rows, bad = [], 0
    for reader in readers(names if part == 'all' else [part]):
        outcome = fuzz(reader, inputs, seed, first)
        bad += bool(outcome.findings)
        console.print(
            f'{outcome.reader}: {outcome.inputs} inputs, {outcome.valid} valid, {outcome.refused} refused, slowest '
            f'{outcome.slowest * 1000:.0f} ms, {outcome.memory >> 20} MiB more, {outcome.seconds:.0f} s of CPU',
            highlight=False,
            markup=False,
        )
        for finding in outcome.findings:
            console.print(
                f'  {finding.count} x {finding.what}: {finding.text} (--seed {seed} --first {finding.input} --inputs 1)',
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        for what, value in (('inputs', outcome.inputs), ('valid', outcome.valid), ('refused', outcome.refused)):
            rows.append({'part': f'{outcome.reader}: {what}', 'value': value, 'unit': ''})
        rows.append({'part': f'{outcome.reader}: findings', 'value': len(outcome.findings), 'unit': '', 'target': 0})
    if bad:
        raise ShortfallError(f'{bad} readers did what they must not do')
    return rows
