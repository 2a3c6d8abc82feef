"""What the generation networks make of a batch in a training step (section 8.1)."""

from typing import NamedTuple

import flax.linen as nn
import jax

from lipsync_jax.systems.davs.model import Davs
from lipsync_jax.systems.davs.windows import Windows, consecutive


class Codes(NamedTuple):
    """What is said in B clips.

    Attributes:
      heard, seen: (B, T, 256), codes of the word's frames.
    """

    heard: jax.Array
    seen: jax.Array


class Pass(NamedTuple):
    """Of B clips.

    Attributes:
      early: (B, K, R/4, R/4, 64), maps of frames that are to say nothing of the word.
      heard, seen: (B, T, 256), codes of the word's frames.
      drawn_heard, drawn_seen: (B, S, R, R, 3), the person says S of these codes.
    """

    early: jax.Array
    heard: jax.Array
    seen: jax.Array
    drawn_heard: jax.Array
    drawn_seen: jax.Array


def encode(module: Davs, windows: Windows, train: bool) -> Codes:
    """What is said in the word's frames; a method for `Davs.apply`."""
    size = windows.mfcc.shape[:2]
    heard = module.encode_audio(_merged(windows.mfcc)[..., None], train)
    seen = module.encode_lips(_merged(windows.video), train)
    return Codes(heard.reshape(*size, -1), seen.reshape(*size, -1))


def forward(module: Davs, windows: Windows, frames: int, train: bool) -> Pass:
    """Runs all networks; a method for `Davs.apply`.

    In training every call leaves its running statistics, so the order is the
    original's: the decoder draws one frame of the batch at a time, as it is seen, then
    as it is heard.

    Args:
      module: bound.
      windows: of the batch.
      frames: S.
      train: use batch statistics and update the running ones.
    """
    identity = module.encode_identity(windows.identity, train)
    early = module.encode_identity(_merged(windows.person), train).early
    codes = encode(module, windows, train)

    def draw(module: Davs, _: None, codes: tuple[jax.Array, jax.Array]):
        heard, seen = codes
        drawn_seen = module.decode(identity, seen, train)
        return None, (module.decode(identity, heard, train), drawn_seen)

    scan = nn.scan(
        draw,
        variable_broadcast="params" if train else ("params", "batch_stats"),
        variable_carry="batch_stats" if train else False,
        split_rngs={},
        in_axes=1,
        out_axes=1,
    )
    chosen = tuple(consecutive(part, windows.drawn, frames) for part in codes)
    _, drawn = scan(module, None, chosen)
    early = early.reshape(*windows.person.shape[:2], *early.shape[1:])
    return Pass(early, *codes, *drawn)


def _merged(x: jax.Array) -> jax.Array:
    """(B, T, ...) -> (B * T, ...)."""
    return x.reshape(-1, *x.shape[2:])
