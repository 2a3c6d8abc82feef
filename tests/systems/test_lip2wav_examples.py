"""Lip2Wav's windows: which there are, and where their sound lies; as the original."""

import json
from dataclasses import replace

import numpy as np
import pytest
from lip2wav_parity import GOLDENS
from tiny_clips import make_clip, shade

from lipsync_jax.audio.mel import mel_spectrogram
from lipsync_jax.audio.speaker import power_mel, raise_level
from lipsync_jax.data.schema import ClipMeta, meta_of
from lipsync_jax.errors import DataError
from lipsync_jax.systems.lip2wav.examples import example, examples, mel_start, starts
from lipsync_jax.systems.lip2wav.model import VARIANTS
from lipsync_jax.systems.lip2wav.windows import Window, runs, windows

WANT = json.loads((GOLDENS / "windows.json").read_text())
DL = VARIANTS["lip2wav_dl"]
SHORT = DL.clone(frames=5, resolution=8)  # 16 mel frames


@pytest.mark.parametrize("case", WANT["training"])
def test_the_originals_training_windows(case):
    frames, fps, mel_frames, count, mel_count = map(int, case.split(","))
    module = DL.clone(frames=frames, fps=fps)
    assert module.mel_frames(frames) == mel_frames
    samples = (mel_count - 1) * 200
    meta = ClipMeta("", np.ones(count, bool), samples, fps, "", -1)
    found = starts(meta, module=module)
    columns = mel_start(found, samples, fps)
    accepted = dict(zip((found + frames // 2).tolist(), columns.tolist(), strict=True))
    for centre, column in WANT["training"][case].items():
        assert accepted.get(int(centre)) == column, centre


def test_windows_have_all_faces():
    clip = make_clip("gap", frames=20, gaps=[7])
    assert starts(meta_of(clip), module=SHORT).tolist() == [0, 1, 2, *range(8, 16)]
    few = make_clip("few", frames=4)
    assert starts(meta_of(few), module=SHORT).tolist() == []


def test_windows_have_all_their_sound():
    # 26 mel frames for 8.1 frames of video.
    clip = make_clip("early end", frames=20, samples=5000)
    assert starts(meta_of(clip), module=SHORT).tolist() == [0, 1, 2, 3]


def test_another_frame_rate_is_refused():
    meta = replace(meta_of(make_clip("slow")), fps=24.0)
    with pytest.raises(DataError, match=r"clip slow has 24 .* network 25; set config"):
        starts(meta, module=SHORT)
    meta = replace(meta, fps=25.05)
    assert len(starts(meta, module=SHORT))


def test_example():
    clip = make_clip("clip", frames=20)
    found = example(clip, 4, np.random.default_rng(0), module=SHORT)
    assert found.keys() == {"faces", "mel"}
    assert found["faces"].shape == (5, 8, 8, 3)
    assert found["faces"][:, 0, 0, 0].tolist() == [shade(k) for k in range(4, 9)]
    column = int(mel_start(4, len(clip.audio), 25.0))
    mel = mel_spectrogram(clip.audio / 32768)[:, column : column + 16].T
    assert found["mel"].shape == (16, 80) and found["mel"].dtype == np.float32
    np.testing.assert_allclose(found["mel"], mel, rtol=0, atol=1e-5)


def test_voice():
    given = examples(SHORT, voice=True)
    clip = make_clip("clip", frames=40)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        found = given.example(clip, 0, rng)["voice"]
        first = int(np.random.default_rng(seed).integers(25600 - 16000 + 1))
        wave = raise_level(clip.audio / np.float32(32768))[first : first + 16000]
        want = power_mel(np.pad(wave, (0, 9600)))[:160]
        np.testing.assert_array_equal(found, want)
    assert len(given.starts(meta_of(clip)))
    assert len(given.starts(meta_of(make_clip("exact", samples=16000))))
    assert not len(given.starts(meta_of(make_clip("short", samples=15999))))


@pytest.mark.parametrize("case", WANT["runs"]["cases"], ids=lambda case: case["name"])
def test_runs(case):
    valid = np.zeros(max(last for _, last in case["ids_runs"]) + 3, bool)
    for first, last in case["ids_runs"]:
        valid[first : last + 1] = True
    want = [(run["first"], run["last"], run["n"]) for run in case["yields"]]
    found = runs(valid, WANT["runs"]["T"])
    assert [(run[0], run[-1], len(run)) for run in found] == want


def segments(found, whole):
    """As the goldens have them: number of the window, mel frames from, to."""
    return [[number, window.first, whole] for number, window in enumerate(found)]


@pytest.mark.parametrize("case", WANT["lectures"])
def test_windows_of_lectures(case):
    module = VARIANTS[f"lip2wav_{case['preset']}"]
    assert module.mel_frames(module.overlap) == case["mel_overlap"]
    found = windows(case["run_length"], module, tail=False)
    assert [window.start for window in found] == case["window_starts"]
    assert segments(found, 240) == case["segments"]


@pytest.mark.parametrize("case", WANT["words"])
def test_windows_of_words(case):
    found = windows(case["n_frames"], VARIANTS["lip2wav_lrw"])
    # The original computes a last window even where nothing is left to say.
    want = case["windows"][: len(case["segments"])]
    assert [[start, start + 24] for start, _ in found] == want
    assert segments(found, 80) == case["segments"]


@pytest.mark.parametrize("name", VARIANTS)
def test_all_faces_but_a_rest_are_heard(name):
    module = VARIANTS[name]
    size = module.mel_frames(module.frames)
    unit = 3 if module.fps == 30 else 5
    for count in range(module.frames, 5 * module.frames):
        at = 0
        for start, first in windows(count, module):
            assert start + module.frames <= count
            # Each goes on where the last one ended.
            assert module.mel_frames(start) + first == at
            at += size - first
        assert at == module.mel_frames(count - count % unit)


def test_one_window():
    assert windows(75, DL) == [Window(0, 0)]
