"""CPBD of drawn edges, whose widths are known, and of ever more blurred pictures."""

import numpy as np
import pytest

from lipsync_jax.evaluation.image.sharpness import _edge_widths, cpbd
from lipsync_jax.opencv import cv2


def ramps(width, low=20, high=220):
    """Vertical edges `width` pixels wide, 40 apart (128, 256, 3)."""
    position = np.arange(256) % 40 - 15
    row = np.clip(position / width, 0, 1) * (high - low) + low
    return np.broadcast_to(row.astype(np.uint8)[:, None], (128, 256, 3)).copy()


@pytest.mark.parametrize("width", [2, 4, 6])
def test_widths_reach_from_extreme_to_extreme(width):
    widths = _edge_widths(ramps(width)[..., 0])
    rising = widths[:, 15 : 15 + width + 1]
    assert rising.max() == width
    assert (widths[widths > 0] <= width).all()


@pytest.mark.parametrize(
    ("width", "high", "sharp"),
    [(3, 220, True), (4, 220, False), (5, 60, True), (6, 60, False)],
)
def test_what_is_noticed_depends_on_contrast(width, high, sharp):
    # The falling edges are one pixel wide, and sharp in any case.
    score = cpbd(ramps(width, high=high))
    assert score == 1 if sharp else 0.3 < score < 0.7


def test_blur_lowers_it_steadily():
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (16, 24, 3)), np.ones((12, 12, 1)))
    image = image.astype(np.uint8)
    scores = [cpbd(cv2.GaussianBlur(image, (0, 0), sigma)) for sigma in (0.2, 1, 2, 4)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1 and scores[-1] < 0.1


@pytest.mark.parametrize(
    "image", [np.zeros((63, 200, 3), np.uint8), np.full((128, 128, 3), 90, np.uint8)]
)
def test_no_block_or_no_edge(image):
    assert cpbd(image) is None
