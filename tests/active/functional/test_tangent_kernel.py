import os

import numpy as np
import pytest
import torch

from ssal3d.active.functional import tangent_kernel
from ssal3d.active.functional.tangent_kernel import TangentKernel, layer_factors, posterior_features, train_proxy


def module_of(proxy, dtype=torch.float64):
    """The proxy as a PyTorch network."""
    layers = [torch.nn.Linear(*weights.shape) for weights in proxy.weights]
    for layer, weights, biases in zip(layers, proxy.weights, proxy.biases):
        layer.weight.data, layer.bias.data = torch.tensor(weights.T.copy()), torch.tensor(biases)
    module = torch.nn.Sequential(layers[0], torch.nn.SiLU(), layers[1], torch.nn.SiLU(), layers[2])
    return module.to(dtype)


def gradients(module, x, parameters):
    """Each frame's gradient of the sum of outputs, in one row."""
    rows = [torch.autograd.grad(module(torch.tensor(row)).sum(), parameters) for row in x.astype(np.float64)]
    return np.stack([np.concatenate([part.numpy().ravel() for part in row]) for row in rows])


def some(rows, width, seed=0):
    return np.abs(np.random.default_rng(seed).normal(size=(rows, width))).astype(np.float16)


def test_factors_multiply_to_the_gradients_of_automatic_differentiation():
    x = some(5, 20)
    proxy = TangentKernel(20, 8, 6, seed=1).proxy
    module = module_of(proxy)
    wanted = gradients(module, x, list(module.parameters()))
    inputs, outputs = layer_factors(proxy, x.astype(np.float32) @ proxy.weights[0] + proxy.biases[0])
    found = sum((a @ a.T + 1) * (b @ b.T) for a, b in zip([x.astype(np.float64), *inputs], outputs))
    assert found == pytest.approx(wanted @ wanted.T, rel=1e-4)


@pytest.mark.parametrize('width', [20, 2500], ids=['projected', 'hashed first'])
def test_sketches_have_the_inner_products_of_the_gradients_on_average(width):
    x = some(4, width)
    errors = []
    for seed in range(30):
        kernel = TangentKernel(width, 256, 6, seed)
        module = module_of(kernel.proxy)
        rows = gradients(module, x, list(module.parameters()))
        wanted, sketch = rows @ rows.T, kernel.features(x)
        errors.append((sketch @ sketch.T - wanted) / wanted.max())
    assert np.abs(errors).mean() < 0.3
    assert np.abs(np.mean(errors, axis=0)).max() < 0.1


def test_last_layer_is_exact_and_linear_is_a_projection():
    x = some(5, 60)
    kernel = TangentKernel(60, 8, 6, 0, 'last_layer')
    module, found = module_of(kernel.proxy), kernel.features(x)
    wanted = gradients(module, x, list(module[4].parameters()))
    assert 6 * found @ found.T == pytest.approx(wanted @ wanted.T, rel=1e-4)
    found = TangentKernel(60, 4096, 1, 0, 'linear').features(x)
    exact = x.astype(np.float64)
    assert found @ found.T == pytest.approx(exact @ exact.T, rel=0.15)


@pytest.mark.parametrize('stripe', [8, 4096])
def test_training_is_that_of_pytorch(stripe, monkeypatch):
    monkeypatch.setattr(tangent_kernel, 'STRIPE', stripe)
    monkeypatch.setattr(tangent_kernel, 'BLOCK', 5)
    x, targets = some(12, 21), np.random.default_rng(3).normal(size=(12, 6))
    x[:, 4] = 0  # as where RoIs are missing
    proxy = TangentKernel(21, 8, 6, 0).proxy
    module = module_of(proxy)
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-2)
    for _ in range(10):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(module(torch.tensor(x.astype(np.float64))), torch.tensor(targets))
        loss.backward()
        optimiser.step()
    assert train_proxy(proxy, x, targets, 10, 2e-2) == pytest.approx(loss.item(), rel=1e-4)
    for layer, weights, biases in zip((module[0], module[2], module[4]), proxy.weights, proxy.biases):
        assert pytest.approx(layer.weight.detach().numpy(), abs=1e-3) == weights.T
        assert biases == pytest.approx(layer.bias.detach().numpy(), abs=1e-3)


def test_training_without_steps_or_frames_changes_nothing():
    proxy = TangentKernel(10, 4, 6, 0).proxy
    before = [values.copy() for values in (*proxy.weights, *proxy.biases)]
    assert train_proxy(proxy, some(3, 10), np.ones((3, 6)), steps=0) == 0
    assert train_proxy(proxy, some(0, 10), np.ones((0, 6))) == 0
    assert all((a == b).all() for a, b in zip(before, (*proxy.weights, *proxy.biases)))


def test_nothing_depends_on_the_number_of_cores(monkeypatch):
    monkeypatch.setattr(tangent_kernel, 'STRIPE', 16)
    monkeypatch.setattr(tangent_kernel, 'ROWS', 4)
    x, targets, found = some(30, 50), np.ones((30, 6)), []
    for cores in (1, 4):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda _, cores=cores: set(range(cores)))
        kernel = TangentKernel(50, 8, 6, seed=0)
        train_proxy(kernel.proxy, x, targets)
        found.append(kernel.features(x))
    assert (found[0] == found[1]).all()
    assert not np.allclose(found[0], TangentKernel(50, 8, 6, seed=1).features(x))


def test_posterior_of_the_specification():
    left = posterior_features(np.eye(2), np.array([[1.0, 0.0]]), sigma=0.1)
    assert left @ left.T == pytest.approx(np.array([[0.0099, 0], [0, 1]]), abs=1e-5)


def test_posterior_is_that_of_gaussian_process_regression():
    rng = np.random.default_rng(0)
    features, labelled, sigma = rng.normal(size=(300, 6)), rng.normal(size=(4, 6)), 0.3
    scale = (labelled**2).sum(axis=1).mean()
    known, cross = labelled @ labelled.T / scale, features @ labelled.T / scale
    wanted = features @ features.T / scale - cross @ np.linalg.solve(known + sigma**2 * np.eye(4), cross.T)
    left = posterior_features(features, labelled, sigma)
    np.testing.assert_allclose(left @ left.T, wanted, atol=1e-9)


def test_posterior_without_anything_to_learn_from():
    features = np.array([[3.0, 0], [0, 1]])
    assert posterior_features(features, features[:0]) == pytest.approx(features / np.sqrt(5))
    assert posterior_features(features, np.zeros((3, 2))) == pytest.approx(features)
    assert posterior_features(features[:0], features).shape == (0, 2)
    assert posterior_features(features[:0], features[:0]).shape == (0, 2)
