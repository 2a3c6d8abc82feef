"""The CPU's convolution equals XLA's within float32 rounding."""

import jax
import numpy as np
import pytest

from lipsync_jax.nn import cpu_conv
from lipsync_jax.nn.blocks import conv, fast_conv3x3


@pytest.mark.parametrize(
    "shape,features",
    [((3, 24, 20, 32), 5), ((16, 24, 24, 64), 64), ((1, 48, 48, 32), 8)],
)
def test_winograd(shape, features, monkeypatch):
    monkeypatch.setattr(cpu_conv, "_CHUNK", 2**18)  # several chunks
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    kernel = rng.standard_normal((3, 3, shape[-1], features)).astype(np.float32)
    assert cpu_conv.suits_winograd(x, kernel)
    want = np.asarray(conv(x, kernel, (1, 1), 1))
    for function in (cpu_conv.winograd, cpu_conv.winograd_in_parts):
        found = np.asarray(jax.jit(function)(x, kernel))
        np.testing.assert_allclose(found, want, atol=3e-5 * np.abs(want).max(), rtol=0)


def test_gradients():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 24, 24, 32)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 32, 8)).astype(np.float32)
    weight = rng.standard_normal((4, 24, 24, 8)).astype(np.float32)

    def gradients(function):
        return jax.jit(jax.grad(lambda *a: (function(*a) * weight).sum(), (0, 1)))

    want = gradients(lambda x, kernel: conv(x, kernel, (1, 1), 1))(x, kernel)
    for mine, theirs in zip(gradients(fast_conv3x3)(x, kernel), want, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, atol=3e-5 * scale, rtol=0)


@pytest.mark.parametrize(
    "shape,kernel,dtype",
    [
        ((1, 26, 24, 32), (3, 3, 32, 8), np.float32),  # 26 is no multiple of 4
        ((1, 24, 24, 32), (5, 5, 32, 8), np.float32),
        ((1, 24, 24, 32), (3, 3, 32, 8), np.float16),
    ],
)
def test_other_shapes_are_left_to_xla(shape, kernel, dtype):
    assert not cpu_conv.suits_winograd(np.zeros(shape, dtype), np.zeros(kernel, dtype))
