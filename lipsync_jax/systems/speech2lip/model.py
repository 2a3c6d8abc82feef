"""The networks of Speech2Lip: one person's audio network, lips, depth and blending.

Names of parameters follow the published checkpoints'
(`convert_torch_weights/speech2lip_names.py`).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.blocks import Conv, ConvBlock, Rows, scaled, uniform_fan_in
from lipsync_jax.nn.resize import upsample
from lipsync_jax.systems.speech2lip.embed import (
    OCTAVES,
    TIME_SIZE,
    position_code,
    time_code,
)
from lipsync_jax.systems.speech2lip.ensemble import pixel_grid, taps

WINDOW = 16  # time steps of an audio window
DEEPSPEECH, MEL = 29, 80  # features of a time step

_AUDIO_CONVOLUTIONS = (32, 32, 64, 64)  # each halves the time steps
_AUDIO_CODE = 64
_LIP_UNITS = 256
_LIP_LAYERS = 8
_SKIP = 5  # the layer that sees the inputs again


def _double(features: int, middle: int) -> Rows:
    return tuple(Conv(n, bias=False) for n in (middle, features))


# Blocks of the blending U-Net (section 3.5).
UNET: dict[str, Rows] = {
    "inc": _double(64, middle=64),
    "down1": _double(128, middle=128),
    "down2": _double(128, middle=128),
    "up1": _double(64, middle=128),
    "up2": _double(64, middle=64),
}
_OUT = Conv(3, kernel=1, norm=False, activation=None)


class _Linear(nn.Module):
    """A dense layer that starts as PyTorch's do."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., n) -> (..., features)."""
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(
            self.dtype
        )


class AudioNet(nn.Module):
    """What is said in a window of speech, as one vector (section 3.2)."""

    width: float
    dtype: Any

    @nn.compact
    def __call__(self, windows: jax.Array) -> jax.Array:
        """(B, WINDOW, features) -> (B, code)."""
        x = windows.astype(self.dtype)
        for index, features in enumerate(_AUDIO_CONVOLUTIONS):
            init = uniform_fan_in(3 * x.shape[-1])
            convolution = nn.Conv(
                scaled(features, self.width),
                kernel_size=3,
                strides=2,
                padding=1,
                dtype=self.dtype,
                kernel_init=init,
                bias_init=init,
                name=f"encoder_conv_{2 * index}",
            )
            x = nn.leaky_relu(convolution(x), 0.02)
        size = scaled(_AUDIO_CODE, self.width)
        x = _Linear(size, self.dtype, name="encoder_fc1_0")(x[:, 0])
        x = nn.leaky_relu(x, 0.02)
        return _Linear(size, self.dtype, name="encoder_fc1_2")(x)


class LipNet(nn.Module):
    """The colours of the lips when something is said (section 3.3)."""

    width: float
    dtype: Any

    @nn.compact
    def __call__(
        self, positions: jax.Array, said: jax.Array, frame: jax.Array
    ) -> jax.Array:
        """Colours (B, P, 3), not limited to [0, 1].

        Args:
          positions: (P, 2), (x, y) in [0, 1].
          said: (B, code) by the audio network.
          frame: (B,) number of the video's frame.
        """
        inputs = {
            "uv": position_code(positions, OCTAVES),
            "audio": said[:, None],
            "time": time_code(frame, TIME_SIZE)[:, None],
        }
        units = scaled(_LIP_UNITS, self.width)

        def see(suffix: str) -> jax.Array:
            layers = (
                _Linear(units, self.dtype, name=f"fc_{name}{suffix}")(value)
                for name, value in inputs.items()
            )
            return sum(layers)

        x = see("")
        for index in range(_LIP_LAYERS):
            if index == _SKIP:
                x = jnp.concatenate([see("_skip"), x], axis=-1)
            x = nn.relu(_Linear(units, self.dtype, name=f"pts_linears_{index}")(x))
        colours = _Linear(3, self.dtype, name="output_linear")(x)
        return colours.astype(jnp.promote_types(self.dtype, jnp.float32))


class BlendNet(nn.Module):
    """Takes the seams out of a picture that was put together (section 3.5)."""

    width: float
    folded: bool
    dtype: Any

    @nn.compact
    def __call__(self, pictures: jax.Array, train: bool = False) -> jax.Array:
        """(B, H, W, 3) -> the same, not limited to [0, 1]."""

        def block(name: str, x: jax.Array) -> jax.Array:
            return _DoubleConv(
                UNET[name], self.width, self.folded, self.dtype, name=name
            )(x, train)

        fine = block("inc", pictures)
        middle = block("down1", _halved(fine))
        coarse = block("down2", _halved(middle))
        x = block("up1", _joined(middle, coarse))
        x = block("up2", _joined(fine, x))
        out = ConvBlock(_OUT, self.folded, self.dtype, name="outc")(x)
        return out.astype(jnp.promote_types(self.dtype, jnp.float32))


class _DoubleConv(nn.Module):
    rows: Rows
    width: float
    folded: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for index, row in enumerate(self.rows):
            x = ConvBlock(
                row.scaled(self.width),
                self.folded,
                self.dtype,
                name=f"double_conv_{3 * index}",
            )(x, train=train)
        return x


def _halved(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (2, 2), (2, 2))


def _joined(fine: jax.Array, coarse: jax.Array) -> jax.Array:
    """Coarse maps behind the fine ones; zeros where rounding lost a row or column."""
    x = upsample(coarse)
    rows, columns = (fine.shape[a] - x.shape[a] for a in (1, 2))
    pads = [(n // 2, n - n // 2) for n in (rows, columns)]
    return jnp.concatenate([fine, jnp.pad(x, [(0, 0), *pads, (0, 0)])], axis=-1)


class Speech2Lip(nn.Module):
    """All networks of one person.

    Attributes:
      resolution: side of the face pictures in pixels.
      lip_height, lip_width: of the lips' rectangle.
      features: of a time step of an audio window, DEEPSPEECH or MEL.
      width: multiplier of all channel counts.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type; pictures are float32.
    """

    resolution: int = 500
    lip_height: int = 80
    lip_width: int = 120
    features: int = DEEPSPEECH
    width: float = 1.0
    folded: bool = False
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        face = self.resolution, self.resolution, 3
        return (WINDOW, self.features), (), face

    def setup(self) -> None:
        """Makes the networks."""
        self.audio = AudioNet(self.width, self.dtype)
        self.lip = LipNet(self.width, self.dtype)
        self.post_fusion_unet = BlendNet(self.width, self.folded, self.dtype)
        # Nothing that is drawn depends on it (section 9.4).
        size = self.resolution, self.resolution
        self.canonical_depth_head = self.param(
            "canonical_depth_head", nn.initializers.normal(1.0), size
        )

    def __call__(
        self, windows: jax.Array, frame: jax.Array, composite: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Both pictures that the networks make.

        Args:
          windows: (B, WINDOW, features) of speech.
          frame: (B,) number of the video's frame.
          composite: (B, H, W, 3), a face with lips put in.

        Returns:
          Lips (B, lip_height, lip_width, 3) and the composite without seams.
        """
        return self.paint(windows, frame), self.blend(composite)

    def paint(self, windows: jax.Array, frame: jax.Array) -> jax.Array:
        """Lips as inference paints them, each pixel asked once."""
        grid = jnp.asarray(pixel_grid(self.lip_height, self.lip_width))
        return self._shaped(self.lip(grid, self.audio(windows), frame))

    def paint_ensemble(
        self, windows: jax.Array, frame: jax.Array, shift: jax.Array
    ) -> jax.Array:
        """Lips as training paints them; `shift`: see `ensemble.taps`."""
        positions, weights = taps(self.lip_height, self.lip_width, shift)
        said = self.audio(windows)
        # (B, 4 * P, 3)
        colours = self.lip(positions.reshape(-1, 2), said, frame)
        colours = colours.reshape(len(windows), *weights.shape, 3)
        return self._shaped((colours * weights[..., None]).sum(axis=1))

    def blend(self, composite: jax.Array, train: bool = False) -> jax.Array:
        """A composite without seams; `train`: see `BatchNorm`."""
        return self.post_fusion_unet(composite, train)

    def _shaped(self, colours: jax.Array) -> jax.Array:
        return colours.reshape(-1, self.lip_height, self.lip_width, 3)


VARIANTS: dict[str, Speech2Lip] = {
    "speech2lip": Speech2Lip(),
    "speech2lip_mel": Speech2Lip(features=MEL),
}
