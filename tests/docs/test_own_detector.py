"""The detector of docs/own_detector.md gives what the page says, and no more is asked of it."""

import re

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.errors import UserError
from ssal3d.models.extraction import Extraction, check_extraction
from ssal3d.registry import ACTIVE_SAMPLERS
from tests.helpers.paths import ROOT
from tests.models.single_stages import BUILDERS, _as_stock, batch

PAGE = (ROOT / 'docs' / 'own_detector.md').read_text()
CODE = re.search(r'^```python\n(.*?)^```', PAGE, re.M | re.S)[1]


@pytest.fixture
def kind():
    names = {'__name__': 'page'}
    exec(compile(CODE, 'own_detector.md', 'exec'), names)
    yield names['FrankVoxelNet']
    MODELS.module_dict.pop('FrankVoxelNet', None)


def test_it_gives_logits_that_belong_to_its_scores(kind):
    init_default_scope('mmdet3d')
    torch.manual_seed(0)
    config = _as_stock(BUILDERS['pillars']()) | {'type': 'FrankVoxelNet'}
    config['test_cfg'] |= dict(score_thr=0.0)
    model = MODELS.build(Config(dict(model=config)).model).eval()
    inputs = batch()
    with torch.no_grad():
        samples = model.test_step(inputs)
    found = samples[0].pred_instances_3d
    assert len(found) > 0
    assert found.class_logits.shape == (len(found), 3)
    won = found.class_logits[torch.arange(len(found)), found.labels_3d]
    np.testing.assert_allclose(torch.sigmoid(won), found.scores_3d.clamp(1e-4, 1 - 1e-4), rtol=1e-4)
    assert (found.class_logits.argmax(1) == found.labels_3d).all()


def test_what_it_does_not_give_is_refused(kind):
    check_extraction(kind, Extraction.of(['class_logits', 'num_points'], {}))
    with pytest.raises(UserError, match="FrankVoxelNet gives no column 'box_features'"):
        check_extraction(kind, Extraction.of(['box_features'], {}))


def test_the_table_names_the_columns_that_samplers_read():
    names = {'CAL': 'CALSampler', 'PPAL': 'PPALSampler', 'information per box': 'InformationPerBoxSampler'}
    names['BADGE'] = 'BADGESampler'
    rows = re.findall(r'^\| be queried by ([^|`]+) \| give `(\w+)`', PAGE, re.M)
    said = {name: column for listed, column in rows for name in listed.split(', ')}
    assert said == {name: ACTIVE_SAMPLERS.get(kind)().required_fields[0] for name, kind in names.items()}
    assert all(len(ACTIVE_SAMPLERS.get(kind)().required_fields) == 1 for kind in names.values())
    for settings in (dict(type='EntropySampler', source='softmax_rpn'), dict(type='CALSampler', entropy='rpn_softmax')):
        assert 'class_logits' in ACTIVE_SAMPLERS.build(settings).required_fields
