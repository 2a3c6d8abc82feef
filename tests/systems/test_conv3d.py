"""Convolutions over time and space, frame by frame, are what XLA's are."""

import jax
import numpy as np
import pytest

from lipsync_jax.nn.conv3d import _conv3d, conv3d, framewise


@pytest.mark.parametrize(
    "taps,side,stride,size", [(5, 5, 2, 8), (3, 3, 2, 7), (3, 3, 1, 4), (2, 3, 3, 3)]
)
def test_values_and_gradients(taps, side, stride, size):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, size, size, 3)).astype(np.float32)
    kernel = rng.standard_normal((taps, side, side, 3, 4)).astype(np.float32)

    def loss(function):
        return lambda x, kernel: (function(x, kernel, stride) ** 2).sum()

    want, want_grads = jax.value_and_grad(loss(_conv3d), (0, 1))(x, kernel)
    for function in (conv3d, framewise):
        np.testing.assert_allclose(
            function(x, kernel, stride), _conv3d(x, kernel, stride), atol=1e-4
        )
        got, grads = jax.jit(jax.value_and_grad(loss(function), (0, 1)))(x, kernel)
        np.testing.assert_allclose(got, want, rtol=1e-5)
        for a, b in zip(grads, want_grads, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4 * abs(b).max())


def test_cpus_compute_frames():
    x = np.zeros((1, 4, 8, 8, 3), np.float32)
    kernel = np.zeros((3, 3, 3, 3, 4), np.float32)
    text = jax.jit(conv3d, static_argnums=2).lower(x, kernel, 1).as_text()
    assert "12xf32" in text  # three taps of four features each
