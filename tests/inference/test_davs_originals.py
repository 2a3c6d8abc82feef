"""Whole runs of DAVS equal the original test program's, without its fine-tuning."""

import jax
import numpy as np
import pytest
from davs_parity import GOLDENS, variables
from parity import channels_last, fill_inputs

from lipsync_jax.opencv import cv2
from lipsync_jax.systems.davs.model import GENERATORS
from lipsync_jax.systems.davs.synthesize import Synthesizer, VideoSynthesizer

STORED = [0, 3, 6]  # of the run's seven items


def picture(name: str, size: int) -> np.ndarray:
    """A golden picture (size, size, 3), RGB uint8: coarse noise, enlarged."""
    coarse = fill_inputs(name, (12, 12, 3), 0, 1).astype(np.float64)
    place = np.arange(size) * (11 / (size - 1))
    low = np.minimum(place.astype(int), 10)
    weights = np.zeros((size, 12))
    weights[np.arange(size), low] = 1 - (place - low)
    weights[np.arange(size), low + 1] = place - low
    fine = np.einsum("yi,xj,ijc->yxc", weights, weights, coarse)
    return np.floor(20 + 215 * fine).astype(np.uint8)[..., ::-1]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS / "inference.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def person(golden):
    """The golden's identity, cut and resized as the original's loader does."""
    whole = picture("davs_inf_A", 256).astype(np.float64) / 255
    face = cv2.resize(whole[2:258, 2:258], (256, 256))
    want = channels_last(golden["A_resized_sub"])
    np.testing.assert_allclose(face[::4, ::4], want, atol=1e-6)
    return (face * 255).astype(np.float32)


def drawn(synthesizer, person, driving):
    """The stored frames of a run (3, 256, 256, 3)."""
    network = synthesizer(GENERATORS["davs"], variables("davs"), batch_size=3)
    with jax.default_matmul_precision("highest"):
        return np.asarray(network(np.stack([person] * 3), driving))


def assert_truncated(found, want):
    """Levels are what is below the original's floats, to their noise."""
    rest = channels_last(want) * 255.0 - found[:, ::4, ::4]
    assert rest.min() > -0.01 and rest.max() < 1.01


def test_from_speech(golden, person):
    names = [f"davs_inf_mfcc_{item + 2}" for item in STORED]
    mfcc = np.stack([fill_inputs(name, (20, 12), -20, 20) for name in names])
    found = drawn(Synthesizer, person, mfcc)
    assert_truncated(found, golden["audio_nott_frames_sub"])
    difference = np.abs(found[-1, ::2, ::2].astype(int) - golden["audio_nott_u8"])
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_from_a_video(golden, person):
    """The original's last two items are driven by black pictures (Q8)."""
    faces = np.zeros((3, 256, 256, 3), np.uint8)
    for face, item in zip(faces[:2], STORED, strict=False):
        face[...] = picture(f"davs_inf_frame_{item + 2}", 260)[2:258, 2:258]
    found = drawn(VideoSynthesizer, person, faces)
    assert_truncated(found, golden["video_nott_frames_sub"])
