"""How hypothesis looks for counterexamples here: the same examples in every run, and few enough for half a minute.

`SSAL3D_EXAMPLES=1000` looks longer, at other examples in every run; a failure prints what repeats it.
"""

import os

from hypothesis import HealthCheck, settings

LONGER = os.environ.get('SSAL3D_EXAMPLES')
settings.register_profile(
    'ssal3d',
    derandomize=not LONGER,  # a failure is the same for everybody
    database=None,
    deadline=None,  # kernels compile on their first call
    max_examples=int(LONGER or 40),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile('ssal3d')
