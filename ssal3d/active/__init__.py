"""Which frames to label next: samplers behind one contract, and the mathematics they share.

Importing this package registers every sampler. Keep heavy imports (torch, scikit-learn) inside functions: a query on
prediction files should not wait for them.
"""

from ssal3d.active.query.selection import Query, pool_of_ids, select
from ssal3d.active.query.settings import QuerySettings
from ssal3d.active.query.units import BudgetUnit
from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.active.samplers import (
    BADGESampler,
    CALSampler,
    ConfidenceSampler,
    CoreSetSampler,
    CRBSampler,
    EntropySampler,
    InformationPerBoxSampler,
    KECORSampler,
    LLALSampler,
    MCDropoutSampler,
    PPALSampler,
    RandomSampler,
)

__all__ = [
    'ActiveSampler',
    'BADGESampler',
    'BudgetUnit',
    'CALSampler',
    'CRBSampler',
    'Candidate',
    'ConfidenceSampler',
    'CoreSetSampler',
    'EntropySampler',
    'InformationPerBoxSampler',
    'KECORSampler',
    'LLALSampler',
    'MCDropoutSampler',
    'PPALSampler',
    'Query',
    'QueryContext',
    'QuerySettings',
    'RandomSampler',
    'pool_of_ids',
    'select',
]
