"""Optimizers, accumulation and averaged weights, against NumPy and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_task
from ml_collections import ConfigDict

from lipsync_jax.errors import ConfigError
from lipsync_jax.training.gradients import accumulate, optimizer
from lipsync_jax.training.network import Network


def settings(**changes):
    values = dict(name="adam", learning_rate=1e-2, b1=0.5, b2=0.999, eps=1e-8)
    values |= {"schedule": "constant", "clip_norm": 0.0} | changes
    return ConfigDict({"optimizer": values, "steps": 10})


def test_adam_is_pytorchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=5), rng.normal(size=(4, 5)) * 10.0 ** -np.arange(5)
    weights = torch.tensor(start, requires_grad=True)
    adam = torch.optim.Adam([weights], lr=1e-2, betas=(0.5, 0.999), eps=1e-8)
    ours = optimizer(settings())
    with jax.enable_x64(True):
        params = jnp.array(start)
        state = ours.init(params)
        for grad in grads:
            weights.grad = torch.tensor(grad)
            adam.step()
            updates, state = ours.update(jnp.array(grad), state)
            params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, weights.detach().numpy(), rtol=1e-10)


def test_adam_is_keras():
    """Against the formula in Keras' documentation, for gradients as small as eps."""
    rng = np.random.default_rng(0)
    grads = rng.normal(size=(4, 5)) * 10.0 ** -np.arange(4, 9)
    ours = optimizer(settings(name="keras_adam", eps=1e-7))
    with jax.enable_x64(True):
        params, weights = jnp.zeros(5), np.zeros(5)
        state, m, v = ours.init(params), 0.0, 0.0
        for t, grad in enumerate(grads, start=1):
            m, v = 0.5 * m + 0.5 * grad, 0.999 * v + 0.001 * grad**2
            rate = 1e-2 * np.sqrt(1 - 0.999**t) / (1 - 0.5**t)
            weights -= rate * m / (np.sqrt(v) + 1e-7)
            updates, state = jax.jit(ours.update)(jnp.array(grad), state)
            params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, weights, rtol=1e-10)


def test_unknown_optimizer():
    with pytest.raises(ConfigError, match="'sgd'; it can be: adam, keras_adam"):
        optimizer(settings(name="sgd"))


@pytest.mark.parametrize("name", ["adam", "keras_adam"])
def test_cosine_schedule(name):
    """Adam's steps for a constant gradient are as long as the learning rate."""
    ours = optimizer(settings(name=name, schedule="cosine", b2=0.5, eps=0.0))
    with jax.enable_x64(True):
        state, steps = ours.init(jnp.zeros(1)), []
        for _ in range(10):
            updates, state = ours.update(jnp.ones(1), state)
            steps.append(-float(updates[0]))
    wanted = 1e-2 * (1 + np.cos(np.pi * np.arange(10) / 10)) / 2
    np.testing.assert_allclose(steps, wanted, rtol=1e-6)


def test_unknown_schedule():
    with pytest.raises(ConfigError, match="'steps'; it can be: constant, cosine"):
        optimizer(settings(schedule="steps"))


def test_clipping_limits_the_global_norm():
    grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    sgd_like = settings(learning_rate=1.0, b1=0.0, b2=0.0, eps=1e8, clip_norm=2.5)
    ours = optimizer(sgd_like)
    updates, _ = ours.update(grads, ours.init(grads))
    # With a huge eps Adam's step is the clipped gradient over eps.
    np.testing.assert_allclose(updates["a"] * -1e8, [1.5], rtol=1e-5)
    np.testing.assert_allclose(updates["b"] * -1e8, [2.0], rtol=1e-5)


@pytest.fixture(scope="module")
def whole_and_parts():
    """The state after one SGD step, by number of microbatches and batch norm."""

    def step(microbatches, norm):
        config = tiny_task.tiny_config(microbatches=microbatches)
        task = tiny_task.TinyTask(config, norm=norm, tx=optax.sgd(0.01))
        state = jax.jit(task.init)(jax.random.key(0))
        batch = tiny_task.batch(0, 16)
        return jax.jit(task.train_step)(state, batch, jax.random.key(1))

    return step


def test_microbatches_equal_the_whole_batch(whole_and_parts):
    whole, metrics = whole_and_parts(1, False)
    parts, metrics_of_parts = whole_and_parts(4, False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, parts)
    np.testing.assert_allclose(metrics["loss"], metrics_of_parts["loss"], rtol=1e-5)


def test_microbatches_carry_batch_statistics(whole_and_parts):
    """Running averages move once per part: further than in one step."""
    whole, _ = whole_and_parts(1, True)
    parts, _ = whole_and_parts(4, True)
    moved = [abs(s.net.batch_stats["norm"]["mean"]).mean() for s in (whole, parts)]
    assert moved[1] / moved[0] == pytest.approx((1 - 0.9**4) / 0.1, rel=0.05)


def test_microbatches_take_every_kth_example():
    """So that each part is spread over the devices as the batch is."""

    def look(carry, part):
        return carry + 1, part["x"].astype(jnp.float32)

    count, mean = accumulate(look, jnp.int32(0), {"x": jnp.arange(6)}, 2)
    assert count == 2
    np.testing.assert_array_equal(mean, [0.5, 2.5, 4.5])  # of (0, 2, 4) and (1, 3, 5)


def test_averaged_weights():
    net = tiny_task.Net(4)
    images = jnp.zeros((1, 8, 8, 3))
    sgd = optax.sgd(1.0)

    @jax.jit
    def create(key):
        return Network.create(net, (images,), sgd, key, ema=True)

    @jax.jit
    def update(network):
        ones = jax.tree.map(jnp.ones_like, network.params)
        stats = jax.tree.map(lambda x: x + 1, network.batch_stats)
        return network.updated(ones, sgd, stats, decay=0.9)

    network = create(jax.random.key(0))
    first = jax.tree.map(np.asarray, network.params)
    network = update(update(network))
    # params: p-1, p-2; average: 0.9 p + 0.1 (p-1) = p-0.1, then p-0.29.
    averaged = network.inference_variables["params"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(averaged, first["Dense_0"]["kernel"] - 0.29, atol=1e-6)
    mean = network.inference_variables["batch_stats"]["norm"]["mean"]
    np.testing.assert_allclose(mean, 0.29, atol=1e-6)  # of 0, 1, 2
    current = network.variables["params"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(current, first["Dense_0"]["kernel"] - 2, atol=1e-6)
    again = network.replaced({"params": first, "batch_stats": {}})
    jax.tree.map(
        np.testing.assert_array_equal, again.inference_variables["params"], first
    )
