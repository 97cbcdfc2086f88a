"""The settings of a query, whichever sampler chooses the frames, and where configs give them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from ssal3d.active.query.budget import STOP_RULES
from ssal3d.active.query.dontcare import PROJECTION_FIELDS, RULES
from ssal3d.active.query.units import BudgetUnit, build_unit
from ssal3d.errors import UserError, unknown_name
from ssal3d.options import check_range, one_of
from ssal3d.typed import check_fields

CALIBRATED = 'calibrated'


@dataclass(frozen=True)
class QuerySettings:
    """How much a query may spend, how it is counted, and which frames there are to choose from.

    They are settings of the query, not of a sampler, so that all samplers of an experiment choose from the same pool
    for the same price.

    Attributes:
        budget: What to spend, in ``unit``; 0 buys nothing.
        unit: ``'boxes'``, ``'frames'``, ``dict(frame=..., box=...)`` for what a frame and each of its boxes cost, or
            ``dict(type=..., ...)`` of a unit that is registered in ``BUDGET_UNITS``.
        stop_rule: ``'include_crossing'`` or ``'exclude_crossing'``, see `ssal3d.active.query.budget.walk`.
        empty_cost: What a frame without boxes costs; with ``unit='boxes'`` alone.
        dontcare: An oracle: which frames to leave out because of DontCare regions, which are labels of frames that
            nobody bought; see `ssal3d.active.query.dontcare`. ``'none'``, ``'paper'`` or ``'frame'``.
        cost_score: Score above which a predicted box counts: a number, one by class name, or ``'calibrated'``; see
            `ssal3d.active.query.cost_score`. Annotated boxes always count.
    """

    budget: float
    unit: str | Mapping[str, Any] = 'boxes'
    stop_rule: str = 'include_crossing'
    empty_cost: float = 0
    dontcare: str = 'none'
    cost_score: str | float | Mapping[str, float] = CALIBRATED

    def __post_init__(self) -> None:
        check_fields(QuerySettings, vars(self), '')
        one_of('stop_rule', self.stop_rule, STOP_RULES)
        one_of('dontcare', self.dontcare, RULES)
        check_range('empty_cost', self.empty_cost)
        if isinstance(self.cost_score, str):
            one_of('cost_score', self.cost_score, (CALIBRATED,))
        elif isinstance(self.cost_score, Mapping):
            for name, score in self.cost_score.items():
                check_range(f"cost_score, class '{name}'", score, high=1)
        else:
            check_range('cost_score', self.cost_score, high=1)
        check_range('budget', self.budget)
        if not (isinstance(self.unit, Mapping) and 'type' in self.unit):
            self.check()

    def check(self) -> None:
        """Check the unit, which may be registered by a plug-in, and the budget against it.

        Raises:
            UserError: If there is no such unit, or it wants a whole number.
        """
        if self.pricing.whole and not float(self.budget).is_integer():
            raise UserError(f'budget: found {self.budget!r}, expected a whole number of {self.pricing.plural}')

    @cached_property
    def pricing(self) -> BudgetUnit:
        """The unit of the budget."""
        return build_unit(self.unit, self.empty_cost)

    @property
    def projection_fields(self) -> tuple[str, ...]:
        """Columns of the predictions that the DontCare rule reads."""
        return PROJECTION_FIELDS if self.dontcare == 'paper' else ()

    def to_json(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)


KEYS = tuple(item.name for item in fields(QuerySettings))


def query_settings(config: Mapping[str, Any], entry: Mapping[str, Any] | None = None, where: str = '') -> QuerySettings:
    """Return the settings of a query: those of the config's ``query``, changed key by key by those of an entry.

    Args:
        config: A config with ``query=dict(budget=..., ...)``.
        entry: An entry of the loop with a ``query`` of its own, e.g. a round.
        where: Name of the entry, for messages.

    Raises:
        UserError: If a key is unknown, stands where it stood in older versions, or there is no budget.
    """
    if not isinstance(entry, Mapping | None):
        raise UserError(f'{where}: found {entry!r}, expected a dictionary, e.g. dict(query=dict(budget=150))')
    sampler = config.get('active_sampler')
    own = (entry or {}).get('sampler')
    _refuse_moved(config, '', KEYS)
    _refuse_moved(sampler, 'active_sampler', ('dontcare',))
    _refuse_moved(entry, where, KEYS)
    _refuse_moved(own, f'{where}.sampler', ('dontcare',))
    found: dict[str, Any] = {}
    for place, owner in (('query', config), (f'{where}.query', entry)):
        given = (owner or {}).get('query')
        if given is None:
            continue
        if not isinstance(given, Mapping):
            raise UserError(f'{place}: found {given!r}, expected a dictionary, e.g. dict(budget=150)')
        for name, value in given.items():
            if name not in KEYS:
                raise unknown_name(f'key of {place}', name, list(KEYS))
            found[name] = {**value} if isinstance(value, Mapping) else value
    if 'budget' not in found:
        raise UserError(f'{where or "config"}: budget is missing; add query=dict(budget=150), as in configs/active/')
    return QuerySettings(**found)


def _refuse_moved(owner: Mapping[str, Any] | None, where: str, names: tuple[str, ...]) -> None:
    for name in names:
        if isinstance(owner, Mapping) and name in owner:
            old = f'{where}.{name}' if where else name
            home = f'{where}.query' if where and 'sampler' not in where else 'query'
            raise UserError(f'{old}: this is a setting of the query now; write {home}=dict({name}={owner[name]!r})')
