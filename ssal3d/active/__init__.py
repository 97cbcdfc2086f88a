"""Which frames to label next: samplers behind one contract, and the mathematics they share.

Importing this package registers every sampler. Keep heavy imports (torch, scikit-learn) inside functions: a query on
prediction files should not wait for them.
"""

from ssal3d.active.query.selection import Query, pool_of_ids, select
from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.active.samplers import CALSampler, RandomSampler

__all__ = [
    'ActiveSampler',
    'CALSampler',
    'Candidate',
    'Query',
    'QueryContext',
    'RandomSampler',
    'pool_of_ids',
    'select',
]
