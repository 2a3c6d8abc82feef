"""From a head's pose and depth to where its pixels are in another pose (section 4).

Poses are Euler angles in radians and translations in decimetres of a head in front of a
camera that looks along -Z, x to the right, y up. The camera's own matrices have y down
and Z forward. Pixels are (x, y), the first one's centre is (0, 0). A grid says for each
pixel of a picture where another picture is sampled: (x, y), -1 and 1 at the centres of
the first and last pixels.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

_HIGHEST = jax.lax.Precision.HIGHEST  # rounded matrices would move pixels
_EPSILON = 1e-7  # of depths that are divided by
# From "y up, -Z forward" to "y down, Z forward".
_FLIP = np.diag([1, -1, -1, 1]).astype(np.float32)

Padding = Literal["zeros", "border"]


def rotation(euler: jax.Array) -> jax.Array:
    """Rx(a) Ry(b) Rz(-c) of Euler angles (a, b, c): (..., 3) -> (..., 3, 3)."""
    a, b, c = jnp.moveaxis(euler, -1, 0)
    one, zero = jnp.ones_like(a), jnp.zeros_like(a)

    def matrix(*rows: tuple[jax.Array, ...]) -> jax.Array:
        return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)

    sin, cos = jnp.sin, jnp.cos
    x = matrix((one, zero, zero), (zero, cos(a), -sin(a)), (zero, sin(a), cos(a)))
    y = matrix((cos(b), zero, sin(b)), (zero, one, zero), (-sin(b), zero, cos(b)))
    z = matrix((cos(c), sin(c), zero), (-sin(c), cos(c), zero), (zero, zero, one))
    return _product(_product(x, y), z)


def camera_matrix(euler: jax.Array, trans: jax.Array) -> jax.Array:
    """From the head's coordinates to the camera's: (..., 3) twice -> (..., 4, 4)."""
    top = jnp.concatenate([rotation(euler), trans[..., None]], axis=-1)
    last = jnp.broadcast_to(jnp.array([0, 0, 0, 1], top.dtype), top[..., :1, :].shape)
    pose = jnp.concatenate([top, last], axis=-2)
    return _product(_product(_FLIP, pose), _FLIP)


def inverse(matrix: jax.Array) -> jax.Array:
    """The inverse of rigid motions (..., 4, 4)."""
    turned = jnp.swapaxes(matrix[..., :3, :3], -1, -2)
    moved = -_product(turned, matrix[..., :3, 3:])
    top = jnp.concatenate([turned, moved], axis=-1)
    return jnp.concatenate([top, matrix[..., 3:, :]], axis=-2)


def motion(
    euler: jax.Array, trans: jax.Array, to_euler: jax.Array, to_trans: jax.Array
) -> jax.Array:
    """What moves a head from one pose to another, in the camera's coordinates."""
    start = camera_matrix(euler, trans)
    return _product(camera_matrix(to_euler, to_trans), inverse(start))


def back_project(depth: jax.Array, focal: jax.Array | float) -> jax.Array:
    """Points that the pixels of a depth map show, in the camera's coordinates.

    Args:
      depth: (H, W), distances along the axis of the camera; 0 where there is nothing.
      focal: length in pixels; the axis goes through (W / 2, H / 2).

    Returns:
      (H, W, 3).
    """
    height, width = depth.shape
    x, y = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
    rays = jnp.stack([(x - width / 2) / focal, (y - height / 2) / focal], axis=-1)
    return depth[..., None] * jnp.concatenate([rays, jnp.ones_like(rays[..., :1])], -1)


def project(
    points: jax.Array, moved: jax.Array, focal: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """Where a picture of the size of the points shows them after a motion.

    Args:
      points: (H, W, 3), in the camera's coordinates.
      moved: (4, 4).
      focal: length in pixels.

    Returns:
      Grid (H, W, 2) and depths (H, W).
    """
    height, width = points.shape[:2]
    turned = jnp.einsum("ij,hwj->hwi", moved[:3, :3], points, precision=_HIGHEST)
    x, y, z = jnp.moveaxis(turned + moved[:3, 3], -1, 0)
    u = (focal * x + width / 2 * z) / (z + _EPSILON)
    v = (focal * y + height / 2 * z) / (z + _EPSILON)
    return to_grid(jnp.stack([u, v], axis=-1), height, width), z


def to_grid(pixels: jax.Array, height: int, width: int) -> jax.Array:
    """Pixels (..., 2) as places of a grid."""
    last = np.array([width - 1, height - 1], np.float32)
    return 2 * (pixels / last - 0.5)


def warp_grid(
    depth: jax.Array, moved: jax.Array, focal: jax.Array | float
) -> jax.Array:
    """Where each pixel of a depth map is seen after a motion: grid (H, W, 2)."""
    return project(back_project(depth, focal), moved, focal)[0]


def sample(pictures: jax.Array, grid: jax.Array, padding: Padding) -> jax.Array:
    """Bilinear samples of pictures, one grid each.

    A grid has 1 at the centre of the last pixel, but is read as if it had 1 at its far
    edge, so that pictures grow by N / (N - 1): so it is in the original, and its
    networks know no other pictures.

    Args:
      pictures: (B, H, W, C).
      grid: (B, H', W', 2).
      padding: what is outside: "zeros", or the nearest pixel ("border").

    Returns:
      (B, H', W', C).
    """
    height, width = pictures.shape[1:3]
    size = np.array([width, height], np.float32)
    places = ((grid + 1) * size - 1) / 2
    if padding == "border":
        places = jnp.clip(places, 0, size - 1)
    first = jnp.floor(places)
    share = places - first  # of the second pixel, (B, H', W', 2)
    corner = first.astype(jnp.int32)

    def tap(dx: int, dy: int) -> jax.Array:
        x, y = corner[..., 0] + dx, corner[..., 1] + dy
        weight = _share(share[..., 0], dx) * _share(share[..., 1], dy)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y = jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)
        pixels = jax.vmap(lambda picture, y, x: picture[y, x])(pictures, y, x)
        return jnp.where(inside, weight, 0)[..., None] * pixels

    return tap(0, 0) + tap(1, 0) + tap(0, 1) + tap(1, 1)


def _share(share: jax.Array, second: int) -> jax.Array:
    return share if second else 1 - share


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=_HIGHEST)
