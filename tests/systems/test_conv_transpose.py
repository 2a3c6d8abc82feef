"""The transposed convolution's own gradients are those of its definition."""

import jax
import numpy as np
import pytest

from lipsync_jax.nn.blocks import conv_transpose


@pytest.mark.parametrize(
    ("rows", "stride", "padding", "size"),
    [(3, 2, 1, 6), (3, 2, 1, 5), (1, 1, 0, 3), (4, 1, 0, 6)],
)
def test_gradients_equal_those_of_the_dilated_form(rows, stride, padding, size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, rows, rows, 5)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 5, 7)).astype(np.float32)
    weights = rng.normal(size=(2, size, size, 7)).astype(np.float32)

    def loss(function):
        def value(x, kernel):
            return (function(x, kernel, stride, padding, (size, size)) * weights).sum()

        return jax.grad(value, (0, 1))(x, kernel)

    with jax.default_matmul_precision("highest"):
        ours, plain = loss(conv_transpose), loss(conv_transpose.__wrapped__)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
