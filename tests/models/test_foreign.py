"""Weights of other runs and code bases: what belongs where, and what is refused."""

import pytest
import torch
from torch import nn

from ssal3d.errors import UserError
from ssal3d.models.foreign import load_foreign, match_names, read_weights
from tests.models import single_stages


def network(width=3):
    return nn.ModuleDict({'backbone': nn.Linear(2, width), 'head': nn.Linear(width, 1)})


def save(path, state):
    torch.save({'state_dict': state, 'meta': {'epoch': 80}}, path)
    return path


def test_a_checkpoint_of_the_same_detector_fits_as_it_is(tmp_path):
    source, target = network(), network()
    rows = load_foreign(target, save(tmp_path / 'a.pth', source.state_dict()))
    assert rows == [('backbone', 'backbone', 2), ('head', 'head', 2)]
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


@pytest.mark.parametrize('wrapper', ['module.', 'student.', 'model.'])
def test_what_wrappers_put_before_names_does_not_count(tmp_path, wrapper):
    source, target = network(), network()
    state = {f'{wrapper}{name}': value for name, value in source.state_dict().items()}
    rows = load_foreign(target, save(tmp_path / 'a.pth', state))
    assert rows == [(f'{wrapper}backbone', 'backbone', 2), (f'{wrapper}head', 'head', 2)]
    assert torch.equal(source['head'].weight, target['head'].weight)


def test_parts_may_have_other_names_and_the_longest_beginning_counts():
    own = ['encoder.first.weight', 'encoder.rest.weight', 'head.weight']
    keys = {'net': 'encoder', 'net.conv_in': 'encoder.first', 'aux': None}
    assert match_names(['net.conv_in.weight', 'net.rest.weight', 'aux.weight', 'network.weight'], own, keys) == {
        'net.conv_in.weight': 'encoder.first.weight',
        'net.rest.weight': 'encoder.rest.weight',
    }


def test_a_backbone_alone_is_named_missing_or_taken_partly(tmp_path):
    source, target = network(), network()
    path = save(tmp_path / 'a.pth', {n: v for n, v in source.state_dict().items() if n.startswith('backbone')})
    with pytest.raises(UserError, match=r'2 of 4 weights of the model are not in the checkpoint, e\.g\. head\.weight'):
        load_foreign(target, path)
    before = target['head'].weight.clone()
    assert load_foreign(target, path, partial=True) == [('backbone', 'backbone', 2), ('-', 'head', 2)]
    assert torch.equal(target['head'].weight, before)
    assert torch.equal(target['backbone'].weight, source['backbone'].weight)


def test_another_shape_is_one_line_that_names_the_layer_and_both_shapes(tmp_path):
    path = save(tmp_path / 'a.pth', network(4).state_dict())
    with pytest.raises(
        UserError, match=r'size mismatch for backbone\.weight: .*\[4, 2\].*\[3, 2\].*start_from'
    ) as caught:
        load_foreign(network(3), path)
    assert '\n' not in str(caught.value)
    rows = load_foreign(network(3), path, {'backbone': None, 'head.weight': None}, partial=True)
    assert ('backbone', '-', 2) in rows


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    with pytest.raises(UserError, match='no such checkpoint'):
        read_weights(tmp_path / 'none.pth')
    torch.save({'state_dict': {}}, tmp_path / 'empty.pth')
    with pytest.raises(UserError, match='found no weights'):
        read_weights(tmp_path / 'empty.pth')
    with pytest.raises(UserError, match='no weight fits the model of the config; the checkpoint has alien, the model'):
        load_foreign(network(), save(tmp_path / 'b.pth', {'alien.weight': torch.zeros(1)}))


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_detector_of_the_stock_classes_predicts_the_same_afterwards(tmp_path, prefix):
    stock, ours = single_stages.detector('second', stock=True), single_stages.detector('second', seed=1)
    state = stock.state_dict()  # with the versions of its modules: the layout of sparse convolutions depends on them
    if prefix:
        state = {prefix + name: value for name, value in state.items()}  # without
    load_foreign(ours, save(tmp_path / 'stock.pth', state))
    with torch.no_grad():
        (found, *_), (expected, *_) = (model.test_step(single_stages.batch()) for model in (ours, stock))
    torch.testing.assert_close(
        found.pred_instances_3d.scores_3d, expected.pred_instances_3d.scores_3d, atol=1e-5, rtol=1e-4
    )
