"""Mixed precision: CUDA's rules of autocast, and every method under them."""

from unittest import mock

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F  # noqa: N812

from ssal3d import compat
from ssal3d.errors import UserError
from ssal3d.models import mixed_precision
from ssal3d.models.mixed_precision import MixedPrecisionOptimWrapper, dense_in, fastest_type
from ssal3d.semi.detector import SemiDetector3D
from tests.devices import steps
from tests.devices.autocast import CUDAAutocast, imagined_autocast
from tests.devices.imagined import DEVICE, ImaginedGPU
from tests.devices.test_training_steps import STAGES, on_cpu, total

compat.apply_preferences()


def calls(device, dtype):
    """Calls by name with one operand in a type and others in single precision."""

    def given(*shape):
        return (torch.rand(*shape, device=device) + 0.5).to(dtype)

    def single(*shape):
        return torch.rand(*shape, device=device) + 0.5

    none = torch.zeros(2, dtype=torch.long, device=device)
    return {
        'conv1d': lambda: F.conv1d(given(1, 2, 4), single(3, 2, 1)),
        'conv2d': lambda: F.conv2d(given(1, 2, 4, 4), single(3, 2, 1, 1)),
        'conv_transpose2d': lambda: F.conv_transpose2d(given(1, 2, 4, 4), single(2, 3, 1, 1)),
        'linear': lambda: F.linear(given(2, 3), single(4, 3)),
        '@': lambda: given(2, 3) @ single(3, 2),
        'mm': lambda: given(2, 3).mm(single(3, 2)),
        'bmm': lambda: torch.bmm(given(1, 2, 3), single(1, 3, 2)),
        'einsum': lambda: torch.einsum('ij,jk->ik', given(2, 3), single(3, 2)),
        'exp': lambda: given(3).exp(),
        'log': lambda: given(3).log(),
        'reciprocal': lambda: given(3).reciprocal(),
        '**': lambda: given(3) ** 2,
        'square': lambda: given(3).square(),
        'softmax': lambda: given(2, 3).softmax(1),
        'sum': lambda: given(3).sum(),
        'cumsum': lambda: given(3).cumsum(0),
        'norm': lambda: given(3).norm(),
        'cdist': lambda: torch.cdist(given(2, 3), given(2, 3)),
        'smooth_l1_loss': lambda: F.smooth_l1_loss(given(3), single(3)),
        'mse_loss': lambda: F.mse_loss(given(3), single(3)),
        'cross_entropy': lambda: F.cross_entropy(given(2, 3), none),
        'with_logits': lambda: F.binary_cross_entropy_with_logits(given(3), single(3)),
        'binary_cross_entropy': lambda: F.binary_cross_entropy(given(3) / 4, single(3) / 4),
        'interpolate': lambda: F.interpolate(given(1, 1, 2, 2), scale_factor=2),
        'cat': lambda: torch.cat((given(3), single(3))),
        'stack': lambda: torch.stack((given(3), single(3))),
        'atan2': lambda: torch.atan2(given(3), single(3)),
        'sigmoid': lambda: given(3).sigmoid(),
        'relu': lambda: given(3).relu(),
        'mean': lambda: given(3).mean(),
        'batch_norm': lambda: F.batch_norm(given(2, 3), None, None, training=True),
    }


def answer(call):
    try:
        return call().dtype
    except RuntimeError:
        return 'refused'


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_the_rules_are_those_of_torch(dtype):
    torch.set_autocast_enabled('cuda', True)
    try:
        with FakeTensorMode():
            expected = {name: answer(call) for name, call in calls('cuda', dtype).items()}
    finally:
        torch.set_autocast_enabled('cuda', False)
    with CUDAAutocast(torch.float16):
        found = {name: answer(call) for name, call in calls('cpu', dtype).items()}
    assert found == expected
    assert found['binary_cross_entropy'] == 'refused'
    assert found['linear'] == torch.float16


METHODS = [name for name in STAGES if ',' not in name]


@pytest.fixture
def half_precision():
    """The imagined GPU with CUDA's autocast."""
    with ImaginedGPU(), mock.patch.object(mixed_precision, 'autocast', imagined_autocast):
        yield


def step_in(dtype, stage):
    """The model and the losses of a forward pass with the dense part in another type."""
    make, batch = STAGES[stage]
    model = steps.build(make()).to(DEVICE)
    torch.manual_seed(3)
    with dense_in(dtype):
        return model, model(**model.data_preprocessor(steps.batch(batch), True), mode='loss')


@pytest.mark.usefixtures('half_precision')
@pytest.mark.parametrize(
    ('stage', 'dtype'), [*((name, torch.float16) for name in METHODS), ('supervised', torch.bfloat16)]
)
def test_every_method_takes_a_step_in_mixed_precision(stage, dtype):
    model, losses = step_in(dtype, stage)
    model.parse_losses(losses)[0].backward()
    gradients = [value.grad for value in model.parameters() if value.requires_grad]
    assert {value.dtype for value in gradients} == {torch.float32}
    assert all(bool(value.isfinite().all()) for value in gradients)
    assert all(bool(torch.as_tensor(total(loss)).isfinite()) for loss in losses.values())


@pytest.mark.usefixtures('half_precision')
@pytest.mark.parametrize('stage', METHODS)
def test_the_student_loses_what_it_loses_in_single_precision(stage, monkeypatch):
    """The teacher stays in single precision: which of two boxes with nearly equal scores it takes is not arithmetic."""
    predicted_samples = SemiDetector3D.predicted_samples

    def in_single_precision(self, *args, **kwargs):
        with dense_in(torch.float32):
            return predicted_samples(self, *args, **kwargs)

    monkeypatch.setattr(SemiDetector3D, 'predicted_samples', in_single_precision)
    _, losses = step_in(torch.float16, stage)
    names = [name for name in losses if 'rpn' in name]  # behind them RoIs are chosen, by scores again
    expected = {name: float(total(on_cpu(stage)[1][name])) for name in names}
    assert {name: float(total(losses[name])) for name in names} == pytest.approx(expected, rel=0.02, abs=1e-3)


@pytest.mark.usefixtures('half_precision')
@pytest.mark.parametrize(('dtype', 'error'), [(torch.float16, 0.005), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize('training', [True, False])
def test_the_maps_of_the_first_stage_are_those_of_single_precision(dtype, error, training):
    model = steps.build(steps.supervised()).to(DEVICE).train(training)
    inputs = model.data_preprocessor(steps.batch('supervised'), True)['inputs']

    def maps(dtype):
        with torch.no_grad(), dense_in(dtype):
            features = model.extract_feat(inputs)
            found = model.rpn_head(features['neck_feats'])
        assert features['neck_feats'][0].dtype == dtype
        assert features['spatial_feats'].dtype == torch.float32  # the sparse backbone stays in single precision
        return [kind[0].cpu() for kind in found]

    for half, single in zip(maps(dtype), maps(torch.float32), strict=True):
        assert half.dtype == torch.float32
        assert (half - single).norm() < error * single.norm()


def test_without_it_nothing_is_in_half_precision():
    model = steps.build(steps.supervised())
    seen = []
    model.neck.register_forward_hook(lambda _, __, maps: seen.append(maps[0].dtype))
    model(**model.data_preprocessor(steps.batch('supervised'), True), mode='loss')
    assert seen == [torch.float32]


def wrapper(**options):
    layer = torch.nn.Linear(1, 1)
    return layer, MixedPrecisionOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=0.1), **options)


def test_a_detector_that_marks_no_dense_part_runs_wholly_under_autocast():
    layer, optimizer = wrapper(dtype='bfloat16')
    with optimizer.optim_context(layer):
        assert layer(torch.ones(1, 1)).dtype == torch.bfloat16
    assert layer(torch.ones(1, 1)).dtype == torch.float32


def test_a_state_loads_in_another_precision():
    layer, optimizer = wrapper(dtype='bfloat16')
    optimizer.update_params(layer(torch.ones(1, 1)).sum())
    state = optimizer.state_dict()
    assert 'loss_scaler' not in state  # bfloat16 needs no scaling
    wrapper(dtype='bfloat16')[1].load_state_dict({**state, 'loss_scaler': {'scale': 4.0}})


def test_the_fastest_type_of_a_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda _: (9, 0))
    assert fastest_type(torch.device('cuda')) == torch.bfloat16
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda _: (7, 5))
    assert fastest_type(torch.device('cuda')) == torch.float16
    monkeypatch.setattr(mixed_precision, 'has_fast_bfloat16', lambda: True)
    assert fastest_type(torch.device('cpu')) == torch.bfloat16
    monkeypatch.setattr(mixed_precision, 'has_fast_bfloat16', lambda: False)
    with pytest.raises(UserError, match='leave --amp out'):
        fastest_type(torch.device('cpu'))
    with pytest.raises(UserError, match='dtype of MixedPrecisionOptimWrapper'):
        wrapper(dtype='float8')
