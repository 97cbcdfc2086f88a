"""Features of the empirical neural tangent kernel of a small proxy network, and what labelled frames leave of it.

Used by KECOR (Luo et al. 2023, arXiv 2307.07942). The proxy maps the features x of a frame to the training targets of
its RoIs; two frames are alike where the gradients of its summed outputs are. The gradient with regard to a linear layer
is an outer product of the layer's input (with a one for the bias) and the gradient of its output, so inner products
factorise, and random projections of both factors suffice: the inner product of two sketches is that of two gradients on
average. Projections are Gaussian, but the long x is hashed first: each of its values is added, with a random sign, to
one of `SPREAD` times as many sums as the sketch has values (count sketch; Weinberger et al. 2009, arXiv 0902.2206).
Inner products then vary 3 to 9 % more than those of a Gaussian projection of x itself, which costs as much as the
proxy.

The products with the long rows x are float32, in chunks of fixed sizes; what follows the sketch is float64.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.chunks import map_chunks

KERNELS = ('ntk', 'last_layer', 'linear')
HIDDEN = 100  # width of the proxy's second hidden layer
STRIPE, BLOCK = 4096, 2048  # input dimensions per task, and at a time: bounds memory, but products stay efficient
ROWS = 1024  # frames per task, about
SPREAD = 8  # sums that x is hashed to, in multiples of the sketch
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's, as everywhere


class Proxy(NamedTuple):
    """Three linear layers with SiLU between them: D inputs, ``latent``, `HIDDEN`, and as many outputs as targets.

    Attributes:
        weights: ``(inputs, outputs)`` of each layer, float32.
        biases: ``(outputs,)`` of each layer, float32.
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]


class TangentKernel:
    """A kernel between frames with explicit features, so that no matrix over all pairs of frames is needed.

    Args:
        width: Dimension D of the frames' features x.
        latent: Width M of the proxy's first hidden layer and of the sketch.
        outputs: Outputs of the proxy.
        seed: Seed of the proxy's first weights (uniform, as PyTorch's) and of the projections.
        kernel: ``'ntk'``: gradients of all layers, in M dimensions; ``'last_layer'``: of the last layer alone, exact,
            in `HIDDEN` + 1; ``'linear'``: x itself without a proxy, in M.
    """

    def __init__(self, width: int, latent: int, outputs: int, seed: int, kernel: str = 'ntk') -> None:
        self.kernel = kernel
        self.latent = latent
        proxied, projected = kernel != 'linear', kernel != 'last_layer'
        first = np.empty((width, latent * proxied), dtype=np.float32)
        sums = min(width, SPREAD * latent)
        self.places, self.signs = np.arange(width, dtype=np.int32), np.ones(width, dtype=np.float32)

        def fill(start: int, stop: int) -> None:
            rng = _generator(seed, 0, start)
            if proxied:
                first[start:stop] = _uniform(rng, (stop - start, latent), width)
            if sums < width:
                self.places[start:stop] = rng.integers(sums, size=stop - start)
                self.signs[start:stop] = 1 - 2 * rng.integers(2, size=stop - start)

        map_chunks(fill, width, STRIPE)
        rng = _generator(seed, 1)
        sizes = (width, latent, HIDDEN, outputs)
        self.proxy = Proxy(
            weights=(first, *(_uniform(rng, shape, shape[0]) for shape in pairwise(sizes[1:]))),
            biases=tuple(_uniform(rng, (to,), of) for of, to in pairwise(sizes)),
        )
        self.projection = rng.standard_normal((sums * projected, latent), dtype=np.float32)
        self.inputs = [rng.standard_normal((size + 1, latent), dtype=np.float32) for size in sizes[1:3]]
        self.gradients = [rng.standard_normal((size, latent), dtype=np.float32) for size in sizes[1:]]
        self.one = rng.standard_normal(latent, dtype=np.float32)  # projects the one that stands for the first bias

    def features(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the features of ``(N, D)`` frames; what is not finite in a row of x is not finite in its features."""
        tasks = 2 * -(-len(x) // (2 * ROWS)) or 1  # an even number of equal ones: two cores finish together
        size = -(-len(x) // tasks) or 1
        return np.concatenate(map_chunks(lambda start, stop: self._features(x[start:stop]), len(x), size))

    def _features(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        with np.errstate(all='ignore'):
            first, projected = self._products(x)
            scale = np.float32(self.latent**-0.5)
            if self.kernel == 'linear':
                return (projected * scale).astype(np.float64)
            hidden, gradients = layer_factors(self.proxy, first + self.proxy.biases[0])
            if self.kernel == 'last_layer':
                return _with_one(hidden[1]).astype(np.float64)
            inputs = [projected + self.one]
            inputs += [_with_one(rows) @ projection for rows, projection in zip(hidden, self.inputs)]
            sketch = np.zeros((len(x), self.latent))
            for rows, gradient, projection in zip(inputs, gradients, self.gradients):
                sketch += (rows * scale).astype(np.float64) * (gradient @ projection)
            return sketch

    def _products(self, x: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the ``(N, M)`` products of x with the first layer's weights, and its projection; one pass over x."""
        from ssal3d.ops.proxy_kernels import add_signed  # numba: half a start of `ssal3d select`

        weights = self.proxy.weights[0]
        total = np.zeros((len(x), weights.shape[1]), dtype=np.float32)
        product = np.empty_like(total)
        sums = np.zeros((len(x), len(self.projection)), dtype=np.float32)
        for part, rows in _float32_blocks(x, 0, len(weights)):
            if product.size:
                total += np.matmul(rows, weights[part], out=product)
            if sums.size:
                add_signed(rows, self.places[part], self.signs[part], sums)
        return total, sums @ self.projection


def layer_factors(
    proxy: Proxy, first: NDArray[np.floating]
) -> tuple[list[NDArray[np.floating]], list[NDArray[np.floating]]]:
    """Return the factors of the gradients of a proxy's summed outputs with regard to its linear layers.

    Args:
        proxy: The network.
        first: ``(N, M)`` outputs of its first linear layer.

    Returns:
        The inputs of the second and third layer, ``(N, M)`` and ``(N, HIDDEN)``, and the gradients with regard to the
        outputs of all three, the last of them ``(1, outputs)`` as it is the same for all rows.
    """
    _, second_weights, third_weights = proxy.weights
    inner, inner_slope = _silu(first)
    outer, outer_slope = _silu(inner @ second_weights + proxy.biases[1])
    third = np.ones((1, third_weights.shape[1]), dtype=first.dtype)
    second = outer_slope * third_weights.sum(axis=1)
    return [inner, outer], [inner_slope * (second @ second_weights.T), second, third]


@np.errstate(over='ignore', invalid='ignore')  # a training that diverges ends with what is not finite
def train_proxy(
    proxy: Proxy, x: NDArray[np.floating], targets: NDArray[np.floating], steps: int = 10, lr: float = 2e-2
) -> float:
    """Train a proxy in place with full batches, Adam and the mean squared error; return the error before the last step.

    O(steps L D M) in one pass over the first layer per step, which updates a block of it and at once multiplies with
    what it became.

    Args:
        proxy: The network.
        x: ``(L, D)`` features of frames.
        targets: ``(L, outputs)`` what it shall put out for them.
        steps: Number of steps.
        lr: Learning rate.
    """
    if not steps or not len(x):
        return 0.0
    weights, biases = proxy
    targets = np.asarray(targets, dtype=np.float32)
    moments = (np.empty(weights[0].shape, dtype=np.float32), np.empty(weights[0].shape, dtype=np.float32))
    small = [*weights[1:], *biases]
    small_moments = [(np.empty_like(values), np.empty_like(values)) for values in small]
    gradient: NDArray[np.float32] | None = None
    error = 0.0
    for step in range(1, steps + 1):
        first = _first_layer(weights[0], moments, x, gradient, step - 1, lr, forward=True) + biases[0]
        inner, inner_slope = _silu(first)
        outer, outer_slope = _silu(inner @ weights[1] + biases[1])
        misses = outer @ weights[2] + biases[2] - targets
        error = float(np.square(misses).mean(dtype=np.float64))
        third = misses * np.float32(2 / misses.size)
        second = (third @ weights[2].T) * outer_slope
        gradient = (second @ weights[1].T) * inner_slope
        slopes = [inner.T @ second, outer.T @ third, gradient.sum(axis=0), second.sum(axis=0), third.sum(axis=0)]
        for values, slope, own in zip(small, slopes, small_moments):
            _adam(values, slope, own, step, lr)
    _first_layer(weights[0], moments, x, gradient, steps, lr, forward=False)
    return error


def _first_layer(
    weights: NDArray[np.float32],
    moments: tuple[NDArray[np.float32], NDArray[np.float32]],
    x: NDArray[np.floating],
    gradient: NDArray[np.float32] | None,
    step: int,
    lr: float,
    forward: bool,
) -> NDArray[np.float32]:
    """Apply a step, if there is a gradient, to the first layer, and return its ``(L, M)`` outputs without bias."""

    def stripe(start: int, stop: int) -> NDArray[np.float32]:
        total = np.zeros((len(x), weights.shape[1]), dtype=np.float32)
        product, slope = np.empty_like(total), np.empty((BLOCK, weights.shape[1]), dtype=np.float32)
        for part, inputs in _float32_blocks(x, start, stop):
            own = weights[part]
            if gradient is not None:
                found = np.matmul(inputs.T, gradient, out=slope[: len(own)])
                _adam(own, found, (moments[0][part], moments[1][part]), step, lr)
            if forward:
                total += np.matmul(inputs, own, out=product)
        return total

    outputs = map_chunks(stripe, len(weights), STRIPE)
    return sum(outputs[1:], outputs[0])


def _adam(
    values: NDArray[np.float32],
    gradient: NDArray[np.float32],
    moments: tuple[NDArray[np.float32], NDArray[np.float32]],
    step: int,
    lr: float,
) -> None:
    """Make one step of Adam in place, in one pass; moments are sums without their constant factors."""
    from ssal3d.ops.proxy_kernels import adam_step

    mean, square = moments
    bias = np.sqrt((1 - BETA2) / (1 - BETA2**step))
    factors = np.array((BETA1, BETA2, EPSILON / bias, lr * (1 - BETA1) / (1 - BETA1**step) / bias), dtype=np.float32)
    adam_step(*(part.reshape(-1) for part in (values, gradient, mean, square)), factors, step == 1)


def posterior_features(
    features: NDArray[np.float64], labelled: NDArray[np.float64], sigma: float = 0.1
) -> NDArray[np.float64]:
    """Return features whose inner products are the covariances of a Gaussian process that has seen labelled frames.

    Both are first scaled so that the mean squared norm of the labelled features is 1; without labelled frames that of
    the features themselves, and nothing is left out.

    Args:
        features: ``(N, M)`` features.
        labelled: ``(L, M)`` features of labelled frames.
        sigma: Standard deviation of the noise of an observation, above 0.

    >>> left = posterior_features(np.eye(2), np.array([[1.0, 0.0]]))
    >>> (left @ left.T).round(4).tolist()
    [[0.0099, 0.0], [0.0, 1.0]]
    """
    norms = np.einsum('nm,nm->n', *[labelled if len(labelled) else features] * 2)
    size = float(norms.mean()) if len(norms) else 0.0
    scale = size**-0.5 if size > 0 else 1.0
    if not len(labelled):
        return features * scale
    known = labelled * scale
    precision = known.T @ known + sigma**2 * np.eye(known.shape[1])
    factor = np.linalg.inv(np.linalg.cholesky(precision)).T * (sigma * scale)
    return np.concatenate(map_chunks(lambda start, stop: features[start:stop] @ factor, len(features)))


def _float32_blocks(x: NDArray[np.floating], start: int, stop: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield ``(N, BLOCK)`` columns of x and where they are; each block overwrites the one before it."""
    block = np.empty((len(x), BLOCK), dtype=np.float32)
    for low in range(start, stop, BLOCK):
        part = slice(low, min(low + BLOCK, stop))
        rows = block[:, : part.stop - low]
        rows[...] = x[:, part]
        yield part, rows


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], inputs: int) -> NDArray[np.float32]:
    """Return weights as PyTorch draws those of a linear layer, uniform within the inverse root of its inputs."""
    return (2 * rng.random(shape, dtype=np.float32) - 1) * np.float32(max(inputs, 1) ** -0.5)


def _silu(values: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return ``x sigmoid(x)`` and its derivative."""
    with np.errstate(over='ignore'):  # exp(-x) of very negative numbers is infinite, as it shall be
        gate = 1 / (1 + np.exp(-values))
    return values * gate, gate * (1 + values * (1 - gate))


def _with_one(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.concatenate((rows, np.ones((len(rows), 1), dtype=rows.dtype)), axis=1)
