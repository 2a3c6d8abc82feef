"""The speaker encoder hears and embeds speech as the original does."""

import json

import jax
import numpy as np
import pytest
import torch
from lip2wav_parity import GOLDENS
from parity import _fill, fill_inputs

from convert_torch_weights import convert
from convert_torch_weights.names import torch_name
from lipsync_jax import models_io
from lipsync_jax.audio.speaker import (
    power_mel,
    raise_level,
    utterance_windows,
    window_starts,
)
from lipsync_jax.systems.lip2wav.speaker import SpeakerEncoder, embed_utterance

ENCODER = SpeakerEncoder()
WANT = dict(np.load(GOLDENS / "speaker.npz"))
FACTS = json.loads((GOLDENS / "speaker.json").read_text())
SHAPES = json.loads((GOLDENS / "manifest.json").read_text())["speaker_encoder"]


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """Converted from a checkpoint in the published layout."""
    tensors = {
        name: _fill.fill(name, shape, "bias" if "bias" in name else "kernel")
        for name, shape in SHAPES.items()
    }
    state = {name: torch.from_numpy(value) for name, value in tensors.items()}
    path = tmp_path_factory.mktemp("speaker") / "pretrained.pt"
    optimizer = {"state": {}, "param_groups": [{"lr": 1e-4}]}
    saved = {"step": 7, "model_state": state, "optimizer_state": optimizer}
    torch.save(saved, path, _use_new_zipfile_serialization=False)
    found = convert(path)
    assert found.network == "speaker_encoder"
    assert found.metadata["training"] == {"step": 7}
    return found.variables


@pytest.fixture(scope="module")
def wave():
    """The golden waveform: a voice with pauses."""
    t = np.arange(56000) / 16000
    voiced = sum((a <= t) & (t < b) for a, b in FACTS["waveform"]["on_intervals_s"])
    phase = 2 * np.pi * 120 * t * (1 + 0.02 * np.sin(2 * np.pi * 3 * t))
    voice = sum(np.sin(h * phase) / h for h in range(1, 21))
    noise = fill_inputs("speaker/noise", (56000,))
    return (0.05 * voiced * voice + 0.0005 * noise).astype(np.float32)


def close(found, want, atol=1e-5):
    np.testing.assert_allclose(found, want, rtol=0, atol=atol)


def test_every_weight_has_its_published_name():
    found = {torch_name(path) for path in models_io.shapes(ENCODER)}
    assert SHAPES.keys() - found == {"similarity_weight", "similarity_bias"}
    assert found <= SHAPES.keys()


def test_embeddings(variables):
    mel = fill_inputs("speaker/mels", (2, 160, 40), 0, 0.5)
    found, state = ENCODER.apply(variables, mel, capture_intermediates=True)
    close(found, WANT["encoder.embeds"])
    top = state["intermediates"]["lstm_2"]["__call__"][0]
    close(top[:, :8], WANT["encoder.lstm_out_first8frames"])
    mel = fill_inputs("speaker/ge2e", (12, 20, 40), 0, 0.5)
    close(ENCODER.apply(variables, mel), WANT["ge2e.embeds"])


def test_features(wave):
    close(power_mel(wave[:16000])[::4], WANT["audio.mel40"], atol=1e-4)
    windows = utterance_windows(wave[2000:18000])
    assert windows.shape == (1, 160, 40)
    # The golden has one frame more than the window takes.
    close(windows[0, ::4], WANT["audio.embed1s_mel"][:40], atol=1e-4)


@pytest.mark.parametrize("case", FACTS["partial_slices"])
def test_windows(case):
    starts = window_starts(case["n_samples"])
    assert [[start, start + 160] for start in starts] == case["mel"]
    wave = np.zeros(case["n_samples"], np.float32)
    assert utterance_windows(wave).shape == (len(case["mel"]), 160, 40)


def test_utterances(variables, wave):
    close(
        embed_utterance(ENCODER, variables, wave[2000:18000]), WANT["embed.one_second"]
    )
    found = embed_utterance(ENCODER, variables, wave)
    close(found, WANT["embed.long"])
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    parts = jax.jit(ENCODER.apply)(variables, utterance_windows(wave))
    close(parts, WANT["embed.long_partials"])


def test_level(wave):
    def rms(x):
        return float(np.sqrt(np.mean(x.astype(np.float64) ** 2)))

    assert rms(wave) == pytest.approx(FACTS["rms"]["rms_in"], rel=1e-5)
    np.testing.assert_array_equal(raise_level(wave), wave)
    quiet = raise_level(np.float32(0.01) * wave)
    assert rms(quiet) == pytest.approx(FACTS["rms"]["rms_quiet_norm"], rel=1e-5)
    np.testing.assert_array_equal(raise_level(np.zeros(5)), np.zeros(5))
