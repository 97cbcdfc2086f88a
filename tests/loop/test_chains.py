"""Chains of stages that share their beginnings."""

import pytest

from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.loop.chains import StageNode, as_chains, order_stages
from tests.helpers.experiments import train, variant


def test_a_list_of_names_is_one_chain():
    assert order_stages(['normal', 'cpsp']) == [
        StageNode('normal', None, ('cpsp',), False),
        StageNode('cpsp', 'normal', (), True),
    ]
    assert as_chains(('normal',)) == [['normal']]
    assert order_stages([]) == []


def test_chains_share_their_beginnings_and_each_end_is_known():
    places = order_stages([['supervised'], ['supervised', 'final_cpsp', 'nal'], ['supervised', 'hssda']])
    assert places == [
        StageNode('supervised', None, ('final_cpsp', 'hssda'), True),
        StageNode('final_cpsp', 'supervised', ('nal',), False),
        StageNode('nal', 'final_cpsp', (), True),
        StageNode('hssda', 'supervised', (), True),
    ]


@pytest.mark.parametrize(
    ('chains', 'message'),
    [
        ([['supervised', 'final_cpsp'], ['final_cpsp']], "'final_cpsp' follows nothing and 'supervised'"),
        (['supervised', 'final_cpsp', 'supervised'], "'supervised' follows 'final_cpsp' and nothing"),
        ([['supervised'], 'final_cpsp'], "found 'final_cpsp' among chains"),
        ([['supervised'], []], r'found \[\] among chains'),
        ([[['supervised']]], 'expected a list of names'),
    ],
)
def test_impossible_chains_are_named(chains, message):
    with pytest.raises(UserError, match=message):
        order_stages(chains)


METHODS = ('final_cpsp', 'threedioumatch', 'nal', 'hssda')


@pytest.mark.slow
def test_methods_are_compared_from_the_same_start(street, tmp_path):
    config = variant(
        tmp_path / 'methods.py',
        # Boxes of a detector that has trained for seconds hold points by luck, so NAL's labels need none here.
        'stages = dict(threedioumatch=dict(method=dict(t_iou=0.1, t_sem=0.0)), nal=dict(min_points=0))',
        "train_cfg = dict(rounds=[dict(pretrain=['normal'])])",
        f"train_cfg['final'] = [['supervised'], *(['supervised', name] for name in {METHODS})]",
    )
    result = train(street, tmp_path / 'run', config=config)
    assert result.returncode == 0, result.stderr[-3000:]
    steps = [step['step'] for step in read_json(tmp_path / 'run' / 'journal.json')['steps']]
    assert [step for step in steps if step.startswith('final')] == [
        'final/supervised',
        'final/predictions_supervised',
        *(f'final/{kind}{name}' for name in METHODS for kind in ('', 'predictions_')),
    ]
    for name in METHODS:
        text = (tmp_path / 'run' / 'final' / name / 'config.py').read_text()
        assert f"load_from = '{tmp_path}/run/final/supervised/epoch_2.pth'" in text
    metrics = read_json(tmp_path / 'run' / 'metrics.json')
    assert list(metrics['held_out']) == ['round_1/normal', 'final/supervised', *(f'final/{name}' for name in METHODS)]
    assert list(metrics['pseudo_labels']) == [f'final/{name}' for name in METHODS]
    assert sum(found['number'] for found in metrics['pseudo_labels']['final/nal'].values()) > 0
    assert 'pseudo labels on the frames' in result.stdout


@pytest.mark.slow
def test_with_everything_labelled_there_is_nothing_to_learn_from_and_no_error(street, tmp_path):
    config = variant(
        tmp_path / 'rich.py',
        "train_cfg = dict(initial=dict(query=dict(budget=1000)), rounds=[dict(pretrain=['normal'])])",
        "train_cfg['final'] = ['supervised', 'nal', 'final_cpsp']",
    )
    result = train(street, tmp_path / 'run', config=config)
    assert result.returncode == 0, result.stderr[-3000:]
    metrics = read_json(tmp_path / 'run' / 'metrics.json')
    assert metrics['purchases']['round_1/query']['frames'] == 0
    assert all(found['number'] == 0 for found in metrics['pseudo_labels']['final/final_cpsp'].values())
