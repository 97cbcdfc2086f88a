"""docs/compatibility.md and what is mended or preferred say the same."""

import re

import pytest

from ssal3d import compat
from ssal3d.models import fast_layers
from tests.helpers.paths import ROOT

TEXT = (ROOT / 'docs' / 'compatibility.md').read_text()


def table(first_column):
    """Names in the first column of the tables with this heading, and what their rows say."""
    rows = {}
    for body in re.findall(rf'^\| {first_column} \|.*\n\|---.*\n((?:\|.*\n)+)', TEXT, re.MULTILINE):
        for line in body.splitlines():
            names, said = line.strip('| ').split(' | ', 1)
            rows |= dict.fromkeys(re.findall(r'`([\w-]+)`', names), said)
    return rows


@pytest.mark.parametrize(
    ('heading', 'names'),
    [
        ('fix', [fix.name for fix in compat.FIXES]),
        ('kernels that our commands prefer', [fix.name for fix in compat.PREFERENCES]),
        (
            'layer that we prefer',
            [kind.__name__ for kind in (*fast_layers.FAST.values(), fast_layers.PointwiseConv2d)],
        ),
    ],
)
def test_every_one_has_a_row_and_every_row_names_one(heading, names):
    rows = table(heading)
    assert sorted(rows) == sorted(names)
    assert all(len(said) > 20 for said in rows.values())


def test_a_name_stands_in_one_registry():
    names = [fix.name for fix in (*compat.FIXES, *compat.PREFERENCES)]
    assert len(set(names)) == len(names)
