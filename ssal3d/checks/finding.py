"""What a check says."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal['error', 'warning']


@dataclass(frozen=True)
class Finding:
    """One contradiction.

    Attributes:
        key: Dotted key of the config, as ``--cfg-options`` spells it.
        found: What stands there.
        expected: What agrees with the rest of the config.
        severity: An error stops a training; a warning does not.
    """

    key: str
    found: str
    expected: str
    severity: Severity = 'error'

    def __str__(self) -> str:
        return f'{self.key}: found {self.found}, expected {self.expected}'


@dataclass(frozen=True)
class Checked:
    """The outcome of one check.

    Attributes:
        name: Of the check.
        looked_at: What was compared, for people.
        findings: What contradicts what, in any order.
    """

    name: str
    looked_at: str
    findings: tuple[Finding, ...] = ()


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings with one line where several keys hold the same wrong value.

    >>> [str(f) for f in merged([Finding('a', '1', '2'), Finding('b', '1', '2'), Finding('c', '3', '2')])]
    ['a (and 1 more: b): found 1, expected 2', 'c: found 3, expected 2']
    """
    keys: dict[tuple[str, str, Severity], list[str]] = {}
    for finding in findings:
        keys.setdefault((finding.found, finding.expected, finding.severity), []).append(finding.key)
    return tuple(
        Finding(f'{first} (and {len(more)} more: {", ".join(more)})' if more else first, found, expected, severity)
        for (found, expected, severity), (first, *more) in keys.items()
    )
