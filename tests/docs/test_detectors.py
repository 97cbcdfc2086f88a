"""`docs/detectors.md` says what the classes say."""

import re

from ssal3d.models.protocol import ABILITIES
from ssal3d.registry import ACTIVE_SAMPLERS
from tools.documentation import detector_matrix


def test_the_matrix_is_what_the_classes_say():
    assert detector_matrix.written() == detector_matrix.matrix(), 'run python -m tools.documentation.detector_matrix'


def test_the_matrix_has_every_sampler_and_stage_and_both_answers():
    table = detector_matrix.matrix()
    assert all(f'`{name}`' in table for name in (*ACTIVE_SAMPLERS.module_dict, *detector_matrix.stages()))
    assert '| stage `nal` | yes | yes | no: `frame_losses` |' in table
    assert '| `RandomSampler` | yes | yes | yes |' in table
    assert '| `LLALSampler` | after the stage `loss_net` | no: `predicted_loss` |' in table


def test_every_ability_and_who_needs_it_stands_on_the_page():
    text = detector_matrix.PAGE.read_text()
    rows = dict(re.findall(r'^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$', text, re.MULTILINE))
    names = {'3DIoUMatch': 'threedioumatch', 'Joint3D-style': 'joint3d', 'NAL': 'nal', 'HSSDA': 'hssda'}
    stages = detector_matrix.stages()
    for ability in ABILITIES:
        needed = {stage for stage in names.values() if ability in stages[stage].needs}
        said = (
            set(names.values())
            if rows[ability] == 'all four methods'
            else {names[n] for n in rows[ability].split(', ')}
        )
        assert said == needed, ability
