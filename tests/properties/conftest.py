"""How hypothesis looks for counterexamples here: the same examples in every run, and few enough for half a minute."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    'ssal3d',
    derandomize=True,  # a failure is the same for everybody
    database=None,
    deadline=None,  # kernels compile on their first call
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile('ssal3d')
