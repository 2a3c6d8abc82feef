"""How a trained DAVS makes faces say what is heard, or what another face says.

Section 10 of its specification, without the fine-tuning on each picture. There one
picture stands for the person; here each frame does, so that it can be put back. What is
said is exaggerated or toned down as in the original.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.audio.htk_mfcc import DAVS
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.systems.davs.features import MIN_SAMPLES, stream_blocks
from lipsync_jax.systems.davs.model import Davs


class _Drawing:
    """A network compiled for one batch shape; a subclass says what drives it.

    Attributes:
      aligned: faces are shown to it aligned (`faces.aligned`).
      size: side of the faces in pixels.
      batch_size: faces per call of the compiled program.
      gain: factor on what is said.
    """

    aligned = True
    gain: float

    def __init__(
        self,
        module: Davs,
        variables: dict,
        *,
        batch_size: int = 16,
        dtype: Any = jnp.float32,
        rounding: bool = False,
    ):
        """Folds batch norm into the convolutions and moves the weights once.

        Args:
          module: the networks.
          variables: their params and batch statistics.
          batch_size: faces per call of the compiled program.
          dtype: compute type, float32 or bfloat16.
          rounding: round the output to the nearest level; the original truncates.
        """
        self.size = module.resolution
        self.batch_size = batch_size
        network = module.clone(folded=True, dtype=dtype)
        folded = fold_batch_norm(variables, module.norm_epsilon)
        self._variables = jax.device_put(folded)

        def draw(variables: dict, faces: jax.Array, driving: jax.Array) -> jax.Array:
            bound = network.bind(variables)
            identity = bound.encode_identity(faces.astype(jnp.float32) / 255)
            said = self.gain * self._said(bound, driving)
            levels = bound.decode(identity, said) * 255
            if rounding:
                levels = jnp.round(levels)
            return levels.astype(jnp.uint8)

        self._draw = jax.jit(draw)

    def _said(self, network: Davs, driving: jax.Array) -> jax.Array:
        """Codes (N, 256) of what drives the faces."""
        raise NotImplementedError

    def __call__(self, crops: np.ndarray, driving: np.ndarray) -> jax.Array:
        """Redraws faces; returns at once, the result arrives asynchronously.

        Args:
          crops: (n, size, size, 3) aligned faces, RGB uint8 or float32 in [0, 255],
            n <= batch_size.
          driving: (n, ...), what drives each face.

        Returns:
          (batch_size, size, size, 3) RGB uint8; rows from n on are padding.
        """
        missing = self.batch_size - len(crops)

        def padded(rows: np.ndarray) -> np.ndarray:
            return np.pad(rows, [(0, missing), *[(0, 0)] * (rows.ndim - 1)])

        return self._draw(self._variables, padded(crops), padded(driving))


class Synthesizer(_Drawing):
    """Makes faces say what is heard.

    Attributes:
      sample_rate: of the speech it takes, in Hz.
      min_seconds: the shortest speech it takes.
    """

    gain = 1.5
    sample_rate = DAVS.sample_rate
    min_seconds = MIN_SAMPLES / DAVS.sample_rate

    def frame_count(self, samples: int, fps: float) -> int:
        """Frames that cover `samples` of speech; 0 if it is shorter than a block."""
        if samples < MIN_SAMPLES:
            return 0
        return math.ceil(round(samples * fps / self.sample_rate, 6))

    def windows(
        self, blocks: Iterable[np.ndarray], fps: float, shift: int = 0
    ) -> Iterator[np.ndarray]:
        """The MFCCs (20, 12) that go with each frame; the last go on without end."""
        return stream_blocks(blocks, fps, shift)

    def _said(self, network: Davs, driving: jax.Array) -> jax.Array:
        return network.encode_audio(driving[..., None])


class VideoSynthesizer(_Drawing):
    """Makes faces say what other aligned faces (n, size, size, 3) say."""

    gain = 0.8

    def _said(self, network: Davs, driving: jax.Array) -> jax.Array:
        return network.encode_lips(driving.astype(jnp.float32) / 255)
