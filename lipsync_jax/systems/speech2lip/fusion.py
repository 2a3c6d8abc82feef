"""Lips into a face: painted in the canonical view, seen in the frame's (section 5)."""

import jax
import jax.numpy as jnp

from lipsync_jax.systems.speech2lip.geometry import sample

_MARGIN = 5  # parts of the lips' width, by one of which their rectangle grows
_INSIDE = 1 - 1e-4  # a sample of ones that is rounded is one
_COIN = 1e-6  # a hair above 0: half of all normal numbers


def composite(
    lips: jax.Array, canonical: jax.Array, mask: jax.Array, corner: jax.Array
) -> jax.Array:
    """The canonical face with other lips.

    Args:
      lips: (B, h, w, 3) in [0, 1].
      canonical: (H, W, 3) in [0, 1], the canonical frame.
      mask: (H, W, 3) in [0, 1], where the lips are.
      corner: (2,) int, column and row of the lips' first pixel.

    Returns:
      (B, H, W, 3).
    """
    shape = (len(lips), *canonical.shape)
    start = (0, corner[1], corner[0], 0)
    padded = jax.lax.dynamic_update_slice(jnp.zeros(shape, lips.dtype), lips, start)
    return mask * padded + (1 - mask) * canonical


def enlarged_rectangle(
    corner: jax.Array, lip_size: tuple[int, int], face_size: tuple[int, int]
) -> jax.Array:
    """1 in the lips' rectangle and a margin, twice as wide below, and 0 elsewhere.

    Args:
      corner: (2,) int, column and row of the lips' first pixel.
      lip_size, face_size: (height, width).

    Returns:
      (H, W, 1) float32.
    """
    margin = lip_size[1] // _MARGIN
    x, y = corner[0], corner[1]
    rows = jnp.arange(face_size[0])[:, None]
    columns = jnp.arange(face_size[1])
    inside = (rows >= y - margin) & (rows < y + lip_size[0] + 2 * margin)
    inside &= (columns >= x - margin) & (columns < x + lip_size[1] + margin)
    return inside[..., None].astype(jnp.float32)


def observed(
    picture: jax.Array, rectangle: jax.Array, grid: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The canonical picture, and where its rectangle is, as the frame sees them.

    Args:
      picture: (B, H, W, 3).
      rectangle: (H, W, 1), 0 or 1.
      grid: (B, H, W, 2), of the frame's pixels in the canonical view.

    Returns:
      (B, H, W, 3), and (B, H, W, 1): 1 wherever anything of the rectangle is seen.
    """
    rectangles = jnp.broadcast_to(rectangle, (len(picture), *rectangle.shape))
    both = jnp.concatenate([picture, rectangles.astype(picture.dtype)], axis=-1)
    both = sample(both, grid, "zeros")
    return both[..., :3], (both[..., 3:] != 0).astype(picture.dtype)


def face_region(canonical: jax.Array, grid: jax.Array) -> jax.Array:
    """Where, and in which channels, all that a frame's pixel sees has a colour.

    Args:
      canonical: (H, W, 3).
      grid: (B, H, W, 2).

    Returns:
      (B, H, W, 3) bool.
    """
    coloured = (canonical > 0).astype(jnp.float32)
    coloured = jnp.broadcast_to(coloured, (len(grid), *coloured.shape))
    return sample(coloured, grid, "zeros") >= _INSIDE


def with_holes(
    seen: jax.Array,
    frame: jax.Array,
    region: jax.Array,
    noise: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Exchanges pixels by chance, so that blending learns to mend holes.

    Args:
      seen: (B, H, W, 3), the composite as the frame sees it.
      frame: (B, H, W, 3).
      region: (B, H, W, 3) bool, where pixels may be exchanged.
      noise: twice (B, H, W), standard normal numbers.

    Returns:
      The composite with half of its pixels from the frame, and the other way round.
    """
    keep = (jnp.where(region, n[..., None] >= _COIN, True) for n in noise)
    keep_seen, keep_frame = keep
    return jnp.where(keep_seen, seen, frame), jnp.where(keep_frame, frame, seen)


def merge(seen: jax.Array, rectangle: jax.Array, frame: jax.Array) -> jax.Array:
    """The frame with the composite where its rectangle is."""
    return rectangle * seen + (1 - rectangle) * frame
