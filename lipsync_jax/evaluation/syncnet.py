"""SyncNet v2, the network behind LSE-D and LSE-C.

Chung & Zisserman, "Out of time: automated lip sync in the wild", 2016; layers as
in the published `syncnet_v2.model`, whose indices the parameter names keep.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.norm import BatchNorm


class SyncNet(nn.Module):
    """Embeds 0.2 s of speech and five face frames into one space.

    Attributes:
      dtype: compute type; the embeddings are float32 and not normalised.
    """

    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return (13, 20, 1), (5, 224, 224, 3)

    def setup(self) -> None:
        self.netcnnaud = self._trunk(
            {0: (64, 3, 1), 4: (192, 3, 1), 8: (384, 3, 1), 11: (256, 3, 1)}
            | {14: (256, 3, 1), 18: (512, (5, 4), 0)}
        )
        # The first kernel spans all five frames, so time is folded into channels
        # and every convolution is two-dimensional.
        self.netcnnlip = self._trunk(
            {0: (96, 7, 0, 2), 4: (256, 5, 1, 2), 8: (256, 3, 1), 11: (256, 3, 1)}
            | {14: (256, 3, 1), 18: (512, 6, 0)}
        )
        self.netfcaud = self._head()
        self.netfclip = self._head()

    def _trunk(self, rows: dict[int, tuple]) -> dict[str, nn.Module]:
        layers = {}
        for index, (features, kernel, padding, *stride) in rows.items():
            layers[str(index)] = nn.Conv(
                features,
                kernel if isinstance(kernel, tuple) else (kernel, kernel),
                strides=(stride[0] if stride else 1,) * 2,
                padding=padding,
                dtype=self.dtype,
            )
            layers[str(index + 1)] = BatchNorm()
        return layers

    def _head(self) -> dict[str, nn.Module]:
        return {
            "0": nn.Dense(512, dtype=self.dtype),
            "1": BatchNorm(),
            "3": nn.Dense(1024, dtype=self.dtype),
        }

    def __call__(
        self, mfcc: jax.Array, face: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Embeds both inputs: see `audio` and `lip`."""
        return self.audio(mfcc, train), self.lip(face, train)

    def audio(self, mfcc: jax.Array, train: bool = False) -> jax.Array:
        """(N, 13, 20, 1): 13 MFCCs by 20 frames of 10 ms -> (N, 1024) float32."""
        pools = {4: ((3, 3), (1, 2), 0), 14: ((3, 3), (2, 2), 0)}
        x = _run_trunk(self.netcnnaud, mfcc, pools, train)
        return _run_head(self.netfcaud, x, train)

    def lip(self, face: jax.Array, train: bool = False) -> jax.Array:
        """(N, 5, 224, 224, 3) RGB in [0, 255] -> (N, 1024) float32."""
        return _run_head(self.netfclip, self.lip_features(face, train), train)

    def lip_features(self, face: jax.Array, train: bool = False) -> jax.Array:
        """(N, 5, 224, 224, 3) RGB in [0, 255] -> (N, 512), before the last layers."""
        n, t, h, w, c = face.shape
        x = face.transpose(0, 2, 3, 1, 4).reshape(n, h, w, t * c)
        pools = {
            0: ((3, 3), (2, 2), 0),
            4: ((3, 3), (2, 2), 1),
            14: ((3, 3), (2, 2), 0),
        }
        return _run_trunk(self.netcnnlip, x, pools, train)


def _run_trunk(layers: dict, x: jax.Array, pools: dict, train: bool) -> jax.Array:
    for key in [k for k in layers if f"{int(k) + 1}" in layers]:
        x = layers[key](x)
        x = nn.relu(layers[f"{int(key) + 1}"](x, train))
        if int(key) in pools:
            window, stride, padding = pools[int(key)]
            x = nn.max_pool(x, window, stride, padding=((padding, padding),) * 2)
    return x.reshape(x.shape[0], -1)


def _run_head(layers: dict, x: jax.Array, train: bool) -> jax.Array:
    x = nn.relu(layers["1"](layers["0"](x), train))
    return layers["3"](x).astype(jnp.float32)
