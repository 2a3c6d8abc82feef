"""Speech metrics equal the published scores of Lip2Wav's program, and behave."""

import json

import numpy as np
import pytest
from parity import GOLDENS, _fill

from lipsync_jax.errors import AudioError, EnvironmentProblem
from lipsync_jax.evaluation import speech

CASE = json.loads((GOLDENS.parent / "lip2wav" / "score.json").read_text())
METRICS = {
    "PESQ": speech.pesq,
    "STOI": speech.stoi,
    "ESTOI": lambda *waves: speech.stoi(*waves, extended=True),
}


def noise(k):
    return _fill.fill_inputs(f"score/noise{k}", (CASE["n"],)).astype(float)


def voice():
    t = np.arange(CASE["n"]) / CASE["sample_rate"]
    on = sum((t >= start) & (t < stop) for start, stop in CASE["on_intervals"])
    vibrato = CASE["f0"] * t * (1 + 0.02 * np.sin(2 * np.pi * 3 * t))
    return 0.12 * on * sum(np.sin(2 * np.pi * h * vibrato) / h for h in range(1, 21))


def waves(name):
    """(reference, generated) of a golden case, int16 levels."""
    base = voice()
    ref = base + 0.002 * noise(0)
    pairs = {
        "equal": (ref, base + 0.02 * noise(1)),
        "ref_longer": (ref, (base + 0.05 * noise(2))[:57000]),
        "deg_longer": (ref[:60000], base + 0.01 * noise(3)),
        "stereo_ref": (0.75 * ref, base + 0.02 * noise(4)),
    }
    return [np.clip(np.round(wave * 32767), -32768, 32767) for wave in pairs[name]]


@pytest.mark.parametrize("name", CASE["results"])
def test_scores_equal_the_published_programs(name):
    want = CASE["results"][name]
    pair = waves(name)
    # That program averages stereo after rounding: half a level apart.
    tolerance = 2e-3 if name == "stereo_ref" else 1e-6
    for metric, measure in METRICS.items():
        np.testing.assert_allclose(measure(*pair), want[metric], rtol=tolerance)


def test_the_same_speech_is_perfect():
    reference, _ = waves("equal")
    reference = reference / 32768
    assert speech.stoi(reference, reference) == pytest.approx(1)
    assert speech.stoi(reference, reference, extended=True) == pytest.approx(1)
    assert speech.pesq(reference, reference) == pytest.approx(4.549, abs=1e-3)
    assert speech.mel_cepstral_distortion(reference, reference) == 0


def test_every_metric_worsens_with_noise():
    reference = voice() + 0.002 * noise(0)
    worse = [reference + level * noise(1) for level in (0.003, 0.01, 0.03, 0.1)]
    for measure in METRICS.values():
        values = [measure(reference, wave) for wave in worse]
        assert values == sorted(values, reverse=True)
    values = [speech.mel_cepstral_distortion(reference, wave) for wave in worse]
    assert values == sorted(values)


def test_cepstral_distortion_is_the_difference_of_spectra_in_decibels():
    rng = np.random.default_rng(0)
    wave = rng.normal(size=16000)
    # Loudness does not count.
    assert speech.mel_cepstral_distortion(wave, 10 * wave) == pytest.approx(0, abs=1e-9)
    # Bands that differ by a cosine of 2 dB differ by sqrt(2) dB in the mean square.
    cepstra = speech.mel_cepstra(wave)
    assert cepstra.shape == (196, 14)
    curve = np.cos(3 * np.pi * (np.arange(80) + 0.5) / 80) * 2 * np.log(10) / 20
    apart = speech._cosines() @ curve
    decibels = 10 / np.log(10) * np.sqrt(2 * (apart[1:] ** 2).sum())
    assert decibels == pytest.approx(np.sqrt(2))


def test_what_cannot_be_compared_is_said(monkeypatch):
    quiet = np.zeros(16000)
    with pytest.raises(AudioError, match="no speech"):
        speech.pesq(quiet, quiet)
    burst = np.pad(voice()[8000:10000], (6000, 8000))
    with pytest.raises(AudioError, match=r"less than 0\.4 s of speech"):
        speech.stoi(burst, burst)
    with pytest.raises(AudioError, match=r"0\.25 s of sound in common"):
        speech.stoi(quiet, quiet[:4000])

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(speech, "import_module", missing)
    with pytest.raises(EnvironmentProblem, match=r"pip install 'lipsync_jax\[eval\]'"):
        speech.pesq(quiet, quiet)
