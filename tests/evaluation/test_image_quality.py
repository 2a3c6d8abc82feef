"""PSNR and SSIM equal scikit-image's, and behave."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lipsync_jax.evaluation.image.quality import BEST_PSNR, Quality
from lipsync_jax.opencv import cv2

FRAME = (0, 0, 60, 48)
FACE = (10, 5, 47, 41)


def film(seed=0, frames=4):
    """Smooth pictures with flat parts (frames, 48, 60, 3)."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(-60, 320, (frames, 6, 8, 3))
    return np.stack(
        [np.clip(cv2.resize(x, (60, 48)), 0, 255).astype(np.uint8) for x in small]
    )


def measured(reference, generated, boxes=(FRAME,)):
    quality = Quality(len(boxes))
    boxes = np.broadcast_to(np.array(boxes), (len(reference), len(boxes), 4))
    for part in (slice(0, 3), slice(3, None)):
        quality.add(reference[part], generated[part], boxes[part])
    return quality.psnr(), quality.ssim()


def noisy(images, level, seed=1):
    noise = np.random.default_rng(seed).normal(size=images.shape)
    return np.clip(np.round(images + level * noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("level", [1, 8, 60])
def test_equal_to_scikit_image(level):
    reference = film()
    generated = noisy(reference, level)
    (psnr,), (ssim,) = measured(reference, generated)
    assert psnr == pytest.approx(peak_signal_noise_ratio(reference, generated), 1e-5)
    want = [
        structural_similarity(a, b, channel_axis=2)
        for a, b in zip(reference, generated, strict=True)
    ]
    assert ssim == pytest.approx(np.mean(want), abs=1e-5)


def test_a_region_is_what_its_pixels_are():
    reference = film()
    generated = noisy(reference, 9)
    x1, y1, x2, y2 = FACE
    psnr, ssim = measured(reference, generated, (FRAME, FACE))
    part = np.s_[:, y1:y2, x1:x2]
    want = peak_signal_noise_ratio(reference[part], generated[part])
    assert psnr[1] == pytest.approx(want, 1e-5)
    maps = [
        structural_similarity(a, b, channel_axis=2, full=True)[1]
        for a, b in zip(reference, generated, strict=True)
    ]
    assert ssim[1] == pytest.approx(np.mean(np.stack(maps)[part]), abs=1e-5)
    outside = reference.copy()
    outside[part] = generated[part]
    alone = Quality(1)
    alone.add(reference, outside, np.broadcast_to((0, 0, 9, 48), (4, 1, 4)))
    assert alone.psnr() == [BEST_PSNR]


def test_frames_without_the_region_do_not_count():
    reference = film()
    generated = noisy(reference, 9)
    quality = Quality(2)
    boxes = np.array([[FACE, (0, 0, 0, 0)]] * 4)
    boxes[2:, 0] = 0
    quality.add(reference, generated, boxes)
    want = peak_signal_noise_ratio(
        reference[:2, 5:41, 10:47], generated[:2, 5:41, 10:47]
    )
    assert quality.psnr() == [pytest.approx(want, 1e-5), None]
    assert quality.ssim()[1] is None


def test_the_same_pictures_are_perfect():
    (psnr,), (ssim,) = measured(film(), film())
    assert psnr == BEST_PSNR and ssim == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image, i: noisy(image, 4 * i),
        lambda image, i: np.roll(image, i, axis=1),
        lambda image, i: cv2.GaussianBlur(image, (0, 0), i),
    ],
    ids=["noise", "shift", "blur"],
)
def test_both_worsen_steadily(spoil):
    reference = noisy(film(), 20)
    scores = [
        measured(reference, np.stack([spoil(image, i) for image in reference]))
        for i in (1, 2, 4)
    ]
    psnr, ssim = zip(*scores, strict=True)
    assert list(psnr) == sorted(psnr, reverse=True)
    assert list(ssim) == sorted(ssim, reverse=True)
