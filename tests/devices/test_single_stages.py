"""Single-stage detectors on the imagined GPU: losses, gradients and columns of the CPU, no more kernels than stock."""

import functools

import numpy as np
import pytest

from ssal3d import compat
from ssal3d.predictions.pool_inference import usual_fields
from tests.devices.imagined import DEVICE, ImaginedGPU, OnGPU
from tests.devices.test_pool_columns import predict
from tests.models.single_stages import BUILDERS, batch, detector, street

compat.apply_preferences()

MARGIN = 1.05  # of stock's kernels and host synchronisations
every_detector = pytest.mark.parametrize('name', sorted(BUILDERS))


def step(name, gpu=None, stock=False):
    """A forward and a backward pass; returns the model, its losses by name and what they cost."""
    model = detector(name, stock=stock).train()
    data = batch(boxes=[street(1, 4), street(2, 3)])
    if gpu is None:
        losses = model(**model.data_preprocessor(data, True), mode='loss')
        model.parse_losses(losses)[0].backward()
        return model, losses, ()
    with gpu:
        model = model.to(DEVICE)
        gpu.reset()  # moving the model is no part of a step
        losses = model(**model.data_preprocessor(data, True), mode='loss')
        model.parse_losses(losses)[0].backward()
    return model, losses, (sum(gpu.kernels.values()), sum(gpu.waits.values()))


@functools.cache
def on_gpu(name):
    return step(name, ImaginedGPU())


@functools.cache
def on_cpu(name):
    return step(name)


def total(loss):
    return sum(loss) if isinstance(loss, list) else loss


@every_detector
def test_losses_stay_on_the_device_and_are_those_of_the_cpu(name):
    expected = {key: float(total(loss)) for key, loss in on_cpu(name)[1].items()}
    with ImaginedGPU():
        losses = {key: total(loss) for key, loss in on_gpu(name)[1].items()}
        assert all(isinstance(loss, OnGPU) for loss in losses.values())
        assert {key: float(loss) for key, loss in losses.items()} == pytest.approx(expected, rel=2e-3, abs=1e-4)


@every_detector
def test_every_parameter_gets_the_gradient_that_it_gets_on_the_cpu(name):
    found = dict(on_gpu(name)[0].named_parameters())
    for key, value in on_cpu(name)[0].named_parameters():
        distance = (found[key].grad.values_on_cpu - value.grad).norm()
        assert distance <= 0.05 * value.grad.norm() + 1e-4, key


@pytest.mark.parametrize('name', ['pillars', 'second'])  # stock's CenterPoint learns from boxes with velocities only
def test_a_step_costs_what_stock_costs(name):
    stock, ours = step(name, ImaginedGPU(), stock=True)[2], on_gpu(name)[2]
    assert all(mine <= MARGIN * theirs for mine, theirs in zip(ours, stock, strict=True)), f'{ours}, stock {stock}'


@every_detector
@pytest.mark.parametrize('columns', ['usual', 'gradient'])
def test_pool_columns_are_those_of_the_cpu(tmp_path, name, columns):
    model = detector(name)
    fields = usual_fields(model) if columns == 'usual' else ('gradient',)
    extraction = {} if columns == 'usual' else {'gradient': 'rpn_conv_cls'}
    expected = predict(model, tmp_path / 'cpu', fields, extraction)
    with ImaginedGPU() as gpu:
        found = predict(model.to(DEVICE), tmp_path / 'gpu', fields, extraction)
        assert sum(gpu.kernels.values()) > 100  # it really ran there
    assert len(expected.boxes) > 5
    assert found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-4)
    for field in fields:
        ours, theirs = (np.asarray(getattr(one[field], 'values', one[field]), float) for one in (found, expected))
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3 * max(1.0, np.nanmax(np.abs(theirs), initial=0)))
