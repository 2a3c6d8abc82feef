"""PSNR and SSIM of pairs of frames, on the whole frame and on parts of it."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.evaluation.batches import Batched

BEST_PSNR = 100.0  # dB; what identical pictures are given instead of infinity

_WINDOW = 7  # pixels; scikit-image's defaults
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_PIXELS = 2**21  # per call


class Quality:
    """Mean squared error and SSIM, gathered over the frames of a clip.

    PSNR is of the mean squared error of all frames, as scikit-image would give it for
    the clip as one array. SSIM is scikit-image's default (windows of 7 pixels, each
    channel), averaged over frames; that of a region is the mean over the windows
    centred in it.
    """

    def __init__(self, regions: int):
        """Nothing has been seen.

        Args:
          regions: how many parts of each frame are measured.
        """
        self._sums = np.zeros((regions, 2))
        self._counts = np.zeros(regions, int)

    def add(
        self, reference: np.ndarray, generated: np.ndarray, boxes: np.ndarray
    ) -> None:
        """Takes frames, up to `batch_size` of them.

        Args:
          reference, generated: (n, H, W, 3) uint8, H and W at least 7.
          boxes: (n, regions, 4) integer x1, y1, x2, y2 inside the frame; an empty box
            is a region that this frame does not have.
        """
        measure = _compiled(batch_size(reference.shape[1:3]))
        values = measure(reference, generated, boxes)
        there = np.isfinite(values).all(axis=-1)  # (n, regions)
        self._sums += np.where(there[..., None], values, 0).sum(axis=0)
        self._counts += there.sum(axis=0)

    def psnr(self) -> list[float | None]:
        """Of each region in dB; None where it never was."""
        return [
            min(BEST_PSNR, float(10 * np.log10(255**2 / max(error / n, 1e-9))))
            if n
            else None
            for error, n in zip(self._sums[:, 0], self._counts, strict=True)
        ]

    def ssim(self) -> list[float | None]:
        """Of each region; None where it never was."""
        return [
            float(total / n) if n else None
            for total, n in zip(self._sums[:, 1], self._counts, strict=True)
        ]


def batch_size(frame: tuple[int, int]) -> int:
    """How many frames of a height and width are measured per call."""
    return min(32, max(1, _PIXELS // (frame[0] * frame[1])))


@lru_cache(maxsize=4)
def _compiled(size: int) -> Batched:
    return Batched(lambda _, *inputs: _measure(*inputs), (), size)


def _measure(reference: jax.Array, generated: jax.Array, boxes: jax.Array) -> jax.Array:
    """Squared error and SSIM (B, regions, 2); NaN in empty boxes."""
    # One channel after the other, which CPUs like much better here; and centred, so
    # that float32 keeps more digits of the variances.
    a, b = (
        x.transpose(0, 3, 1, 2).astype(jnp.float32) - 127.5
        for x in (reference, generated)
    )
    margin = _WINDOW // 2
    return jnp.stack(
        [
            _region_means(((a - b) ** 2).mean(1), boxes),
            _region_means(_ssim(a, b).mean(1), boxes - margin),
        ],
        axis=-1,
    )


def _ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """Structural similarity (B, C, H - 6, W - 6) of the windows inside the frame.

    Wang et al., "Image quality assessment: from error visibility to structural
    similarity", 2004, with scikit-image's uniform windows and sample covariances.
    """
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    sample = _WINDOW**2 / (_WINDOW**2 - 1)
    var_a = sample * (_window_mean(a * a) - mean_a * mean_a)
    var_b = sample * (_window_mean(b * b) - mean_b * mean_b)
    covariance = sample * (_window_mean(a * b) - mean_a * mean_b)
    mean_a, mean_b = mean_a + 127.5, mean_b + 127.5
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return luminance * (2 * covariance + _C2) / (var_a + var_b + _C2)


def _window_mean(x: jax.Array) -> jax.Array:
    """Means of all windows inside the frame: (B, C, H, W) -> (B, C, H - 6, W - 6)."""
    for window in ((1, 1, _WINDOW, 1), (1, 1, 1, _WINDOW)):
        x = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, (1,) * 4, "VALID")
    return x / _WINDOW**2


def _region_means(values: jax.Array, boxes: jax.Array) -> jax.Array:
    """Means (B, regions) of a map (B, H, W) over boxes (B, regions, 4)."""

    def inside(length: int, start: jax.Array, stop: jax.Array) -> jax.Array:
        position = jnp.arange(length)
        within = (position >= start[..., None]) & (position < stop[..., None])
        return within.astype(jnp.float32)

    rows = inside(values.shape[1], boxes[..., 1], boxes[..., 3])
    columns = inside(values.shape[2], boxes[..., 0], boxes[..., 2])
    total = jnp.einsum("bhw,brh,brw->br", values, rows, columns, precision="highest")
    return total / (rows.sum(-1) * columns.sum(-1))
