"""How a trained LipGAN turns face crops and speech into new pixels."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.audio.mel import WAV2LIP
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.systems.lipgan.features import features_of, windows
from lipsync_jax.systems.lipgan.model import LipGAN


class Synthesizer:
    """A generator compiled for one batch shape.

    Attributes:
      aligned: whether it is shown aligned faces (`faces.aligned`); else boxes.
      size: side of the crops in pixels.
      batch_size: crops per call of the compiled program.
      sample_rate: of the speech it takes, in Hz.
      min_seconds: the shortest speech it takes.
    """

    aligned = False
    sample_rate = WAV2LIP.sample_rate

    def __init__(
        self,
        module: LipGAN,
        variables: dict,
        *,
        batch_size: int = 16,
        dtype: Any = jnp.float32,
        rounding: bool = False,
    ):
        """Folds batch norm into the convolutions and moves the weights once.

        Args:
          module: the generator; it says what it hears, and when (`audio_offset`).
          variables: its params and batch statistics.
          batch_size: crops per call of the compiled program.
          dtype: compute type, float32 or bfloat16.
          rounding: round the output to the nearest level; the original truncates.
        """
        self.size = module.resolution
        self.batch_size = batch_size
        self._features = features_of(module)
        self._audio_offset = module.audio_offset
        self.min_seconds = (self._features.width - 1) / self._features.rate
        network = module.clone(folded=True, dtype=dtype)
        folded = fold_batch_norm(variables, module.norm_epsilon)
        self._variables = jax.device_put(folded)

        def draw(variables: dict, crops: jax.Array, heard: jax.Array) -> jax.Array:
            face = crops.astype(jnp.float32) / 255
            masked = face.at[:, self.size // 2 :].set(0)
            drawn = network.apply(
                variables, heard[..., None], jnp.concatenate([face, masked], axis=-1)
            )
            # The pixels are truncated once they have their final size.
            return drawn * 255 + (0.5 if rounding else 0)

        self._draw = jax.jit(draw)

    def frame_count(self, samples: int, fps: float) -> int:
        """Frames that cover `samples` of speech; 0 if it is shorter than a window."""
        if samples < self.min_seconds * self.sample_rate:
            return 0
        return math.ceil(round(samples * fps / self.sample_rate, 6))

    def windows(
        self, blocks: Iterable[np.ndarray], fps: float, shift: int = 0
    ) -> Iterator[np.ndarray]:
        """The window (rows, width) of each frame; silence follows without end."""
        return windows(blocks, fps, self._features, self._audio_offset, shift)

    def __call__(self, crops: np.ndarray, heard: np.ndarray) -> jax.Array:
        """Redraws faces; returns at once, the result arrives asynchronously.

        Args:
          crops: (n, size, size, 3) RGB uint8, n <= batch_size.
          heard: (n, rows, width) float32, the window of each crop.

        Returns:
          (batch_size, size, size, 3) float32 RGB levels in [0, 256), to be truncated;
          rows from n on are padding.
        """
        missing = self.batch_size - len(crops)
        crops = np.pad(crops, ((0, missing), (0, 0), (0, 0), (0, 0)))
        heard = np.pad(heard, ((0, missing), (0, 0), (0, 0)))
        return self._draw(self._variables, crops, heard)
