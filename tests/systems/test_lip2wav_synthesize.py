"""Longer videos are said window by window, and joined as the original does."""

import jax
import numpy as np
import pytest
from lip2wav_parity import TINY, variables
from parity import fill_inputs

from lipsync_jax.errors import FaceError
from lipsync_jax.systems.lip2wav.synthesize import Synthesizer

# Two mel frames a face, twenty a window.
NETWORK = TINY.clone(fps=40.0, overlap=3, n_mels=80)
FACES = fill_inputs("lip2wav/run", (31, 12, 12, 3), 0, 256).astype(np.uint8)


@pytest.fixture(scope="module")
def weights():
    return variables(NETWORK)


def test_joined_windows(weights):
    module = NETWORK.clone(dropout=0.5)
    with jax.default_matmul_precision("highest"):
        say = jax.jit(NETWORK.apply)
        faces = np.stack([FACES[s : s + 10] for s in (0, 7, 14, 18)]) / np.float32(255)
        said = np.concatenate(
            [say(weights, x[None], np.zeros((1, 16)))[0] for x in faces]
        )
        for tail in (False, True):
            synthesizer = Synthesizer(
                module, weights, batch_size=2, seed=None, tail=tail
            )
            mel = synthesizer.mel(FACES[:28])
            want = [said[0], said[1, 6:], said[2, 6:]]
            if tail:  # the last four faces
                want.append(said[3, 12:])
            np.testing.assert_allclose(mel.T, np.concatenate(want), rtol=0, atol=1e-4)
    assert (synthesizer.size, synthesizer.frames, synthesizer.fps) == (12, 10, 40)


def test_the_seed_decides_and_batches_make_no_difference(weights):
    module = NETWORK.clone(dropout=0.5)

    def say(batch_size=2, seed=3):
        return Synthesizer(module, weights, batch_size=batch_size, seed=seed).mel(FACES)

    np.testing.assert_allclose(say(), say(batch_size=3), rtol=0, atol=1e-5)
    assert abs(say() - say(seed=4)).max() > 1e-2
    one = Synthesizer(module, weights, seed=3)
    # Equal windows have other keys.
    still = one.mel(np.repeat(FACES[:1], 17, axis=0))
    assert abs(still[:, 6:20] - still[:, 20:]).max() > 1e-3


def test_speech(weights):
    synthesizer = Synthesizer(NETWORK, weights, batch_size=1)
    speech = synthesizer(FACES[:10])
    assert speech.shape == (19 * 200,) and speech.dtype == np.float32
    assert abs(speech).max() > 0
    np.testing.assert_array_equal(speech, synthesizer(FACES[:10]))
    other = synthesizer(FACES[:10], np.full(16, 0.25, np.float32))
    assert abs(speech - other).max() > 0


def test_too_few_faces(weights):
    with pytest.raises(FaceError, match=r"^9 faces in a row .* of 10 \(0\.2 s\)"):
        Synthesizer(NETWORK, weights)(FACES[:9])
