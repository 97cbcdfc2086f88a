"""Whether a new model may take the place of the one before it, by what both reach on the val split."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ssal3d.errors import UserError, unknown_name

# What decides where a config does not say, by the prefix of the metric's keys.
USUAL = ('kitti/mean_bev_R40_moderate', 'lidar/mean_centre')


@dataclass(frozen=True)
class Guard:
    """The rule.

    Attributes:
        metric: Key of the val metrics that decides, the larger the better; None for the mean AP in bird's-eye view, or
            by centre distance.
        tolerance: A model may be worse by so much, in the metric's units, because val splits are small.
    """

    metric: str | None = None
    tolerance: float = 0.0

    @classmethod
    def of(cls, setting: bool | Mapping[str, Any] | None) -> 'Guard | None':
        """Build from a config's ``guard``: True, or a dict of the attributes; None and False for no guard.

        Raises:
            UserError: If an option is unknown or the tolerance is negative.
        """
        if setting is None or setting is False:
            return None
        options = {} if setting is True else dict(setting)
        known = [item.name for item in fields(cls)]
        for name in options:
            if name not in known:
                raise unknown_name('option of guard', name, known)
        guard = cls(**options)
        if not guard.tolerance >= 0:
            raise UserError(f'guard: found tolerance {guard.tolerance}, expected a number of at least 0')
        return guard

    def value(self, name: str, metrics: Mapping[str, float]) -> float:
        """Return what decides about a model.

        Args:
            name: Its step, for errors.
            metrics: Its metrics on the val split.

        Raises:
            UserError: If they do not hold the metric.
        """
        key = self.metric or next((key for key in USUAL if key in metrics), None)
        if key is None or key not in metrics:
            raise UserError(
                f'guard: {name} has no metric {key or USUAL[0]!r}; it has {", ".join(sorted(metrics)[:6]) or "none"}; choose '
                'one with guard=dict(metric=...), or leave the guard out'
            )
        return metrics[key]

    def decide(self, old: tuple[str, float], new: tuple[str, float]) -> dict[str, Any]:
        """Return facts for the journal: which of two models to go on with.

        Args:
            old: Name and value of the model before.
            new: Name and value of the new one.

        >>> Guard(tolerance=1.0).decide(('round_1/cpsp', 63.2), ('round_2/cpsp', 61.0))['promoted']
        'round_1/cpsp'
        """
        falls = new[1] < old[1] - self.tolerance
        return {
            'promoted': old[0] if falls else new[0],
            'refused': new[0] if falls else None,
            'values': dict((old, new)),
            'metric': self.metric or 'mean AP',
        }


def promotion_line(entry: Mapping[str, Any]) -> str:
    """Return what a decision means, in one line.

    Args:
        entry: The facts of `Guard.decide`.
    """
    (old, before), (new, now) = entry['values'].items()
    change = f'{entry["metric"]} {now:.1f}, {old} has {before:.1f}'
    if entry['refused']:
        return f'{new} is not promoted: {change}; {old} stays the model to use'
    return f'{new} is promoted: {change}'
