"""Which frames to label next: samplers behind one contract, and the mathematics they share.

Importing this package registers every sampler. Keep heavy imports (torch, scikit-learn) inside functions: a query on
prediction files should not wait for them.
"""

from ssal3d.active import samplers
from ssal3d.active.query.selection import Query, pool_of_ids, select
from ssal3d.active.query.settings import QuerySettings
from ssal3d.active.query.units import BudgetUnit
from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.active.samplers import *  # noqa: F403 - every sampler, as listed there

__all__ = [
    'ActiveSampler',
    'BudgetUnit',
    'Candidate',
    'Query',
    'QueryContext',
    'QuerySettings',
    'pool_of_ids',
    'select',
]
__all__ += samplers.__all__
