import subprocess
import sys

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import Registry

from ssal3d.errors import UserError
from ssal3d.registry import ACTIVE_SAMPLERS, build_checked, options_of

TOYS = Registry('toy', build_checked)


class Base:
    def __init__(self, colour: str = 'red', *, size: int = 1) -> None:
        self.colour, self.size = colour, size


@TOYS.register_module()
class Ball(Base):
    def __init__(self, bounce: float = 0.5, **more) -> None:
        super().__init__(**more)
        self.bounce = bounce


def test_builds_from_names_and_classes_with_defaults():
    ball = TOYS.build(ConfigDict(type='Ball', bounce=1, size=3), default_args={'size': 9, 'colour': 'blue'})
    assert (ball.bounce, ball.size, ball.colour) == (1, 3, 'blue')
    assert isinstance(TOYS.build({'type': Ball}), Ball)


def test_options_of_bases_count_where_they_are_handed_on():
    assert list(options_of(Ball)) == ['bounce', 'colour', 'size']
    assert list(options_of(Base)) == ['colour', 'size']
    assert list(options_of(lambda a, b=1: a)) == ['a', 'b']
    assert list(options_of(object)) == []


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'type': 'Bal'}, r"unknown toy 'Bal'.*did you mean 'Ball'"),
        ({'type': 'Ball', 'color': 'red'}, r"unknown option of Ball 'color'.*did you mean 'colour'"),
        ({'bounce': 1}, r'toy: found .* expected dict\(type=...'),
        ('Ball', 'toy: found'),
        (None, 'toy: found None'),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(UserError, match=message):
        TOYS.build(config)


def test_building_a_sampler_does_not_import_torch():
    code = (
        'import sys; from ssal3d.registry import ACTIVE_SAMPLERS; '
        "ACTIVE_SAMPLERS.build(dict(type='RandomSampler')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
    assert ACTIVE_SAMPLERS.build({'type': 'CALSampler'}).t_sim == 0.9
