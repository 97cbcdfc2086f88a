import math

import pytest

from ssal3d.errors import UserError
from ssal3d.semi.ramps import linear_ramp, nal_ramp


@pytest.mark.parametrize('total', [120_000, 60_000, 1200])
def test_nal_worked_values_scale_with_the_run(total):
    times = [t * total / 120_000 for t in (0, 16_000, 32_000, 66_000, 100_000, 110_000, 120_000, 130_000)]
    expected = [0, 0.2865, 1, 1, 1, 0.0439, math.exp(-12.5), math.exp(-12.5)]
    assert [nal_ramp(t, total) for t in times] == pytest.approx(expected, abs=5e-5)
    assert nal_ramp(0, total) == 0


def test_linear_ramp_is_monotone():
    values = [linear_ramp(t, 500) for t in range(600)]
    assert values[0] == 0
    assert values == sorted(values)
    assert values[99] < 1 == values[100] == values[-1]
    assert linear_ramp(0, 500, share=0) == 1


def test_bad_runs():
    for call in (lambda: nal_ramp(1, 0), lambda: linear_ramp(1, -3), lambda: linear_ramp(1, 10, share=2)):
        with pytest.raises(UserError, match='expected'):
            call()
