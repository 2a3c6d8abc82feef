"""Training examples of the expert and Wav2Lip: the original's items and index rules."""

import json

import numpy as np
import pytest
from parity import GOLDENS, golden, inputs
from tiny_clips import make_clip, shade

from lipsync_jax.audio.mel import mel_spectrogram
from lipsync_jax.data.schema import Clip, ClipMeta, meta_of
from lipsync_jax.opencv import cv2
from lipsync_jax.systems.expert import examples as expert
from lipsync_jax.systems.wav2lip import examples as wav2lip

CASES = json.loads((GOLDENS / "dataset_index.json").read_text())
DRAWS = list(enumerate(map(tuple, CASES["draws"])))


class Scripted:
    """Stands for a generator: gives the numbers that the original drew."""

    def __init__(self, coin, wrong):
        self.coin = coin
        self.wrong = wrong

    def integers(self, high):
        assert high == 2
        return self.coin

    def choice(self, candidates):
        assert self.wrong in candidates
        return self.wrong


def waveform(samples):
    """The goldens' test waveform, int16."""
    t = np.arange(samples) / 16_000
    noise = inputs("wave_noise", samples, low=-1, high=1).astype(np.float64)
    tones = 0.3 * np.sin(2 * np.pi * (200 * t + 400 * t**2))
    tones += 0.2 * np.sin(2 * np.pi * (3000 * t - 500 * t**2))
    wave = tones * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)) + 0.02 * noise
    wave[(t >= 0.5) & (t < 0.6)] = 0
    return np.rint(32767 * wave).astype(np.int16)


@pytest.fixture(scope="module")
def items():
    return golden("dataset_items")


@pytest.fixture(scope="module")
def clip():
    """The clip of the golden items; lossless, 88 x 72 pixels."""
    blocks = np.floor(inputs("ds_frames", 20, 11, 9, 3, low=0, high=256))
    pixels = blocks.astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)  # BGR
    return Clip(
        id="golden",
        frames=[cv2.imencode(".png", picture)[1].tobytes() for picture in pixels],
        box=np.zeros((20, 4), np.float32),
        landmarks=np.zeros((0, 478, 2), np.float32),
        valid=np.ones(20, bool),
        fps=25.0,
        audio=waveform(20_000),
    )


def as_original(frames):
    """(T, H, W, 3) RGB uint8 -> (3, T, H, W) BGR in [0, 1]."""
    return frames[..., ::-1].transpose(3, 0, 1, 2).astype(np.float64) / 255


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("number,draw", DRAWS)
def test_expert_items_equal_the_original(items, clip, number, draw, label):
    start, wrong = draw
    assert start in expert.starts(meta_of(clip))
    found = expert.example(clip, start, Scripted(label, wrong), resolution=96)
    name = f"expert{number}_{label}"
    assert found["face"].shape == (5, 96, 96, 3) and found["face"].dtype == np.uint8
    # Frames on channels, frame by frame; the lower half; every fourth pixel.
    face = as_original(found["face"]).transpose(1, 0, 2, 3).reshape(15, 96, 96)
    face = face[:, 48:][..., ::4, ::4]
    np.testing.assert_array_equal(np.rint(items[f"{name}_x_sub"] * 255), face * 255)
    np.testing.assert_allclose(found["mel"], items[f"{name}_mel"][0], atol=5e-6)
    assert found["mel"].dtype == np.float32
    assert found["label"] == items[f"{name}_y"][0] == label


@pytest.mark.parametrize("number,draw", DRAWS)
def test_wav2lip_items_equal_the_original(items, clip, number, draw):
    start, wrong = draw
    assert start in wav2lip.starts(meta_of(clip))
    found = wav2lip.example(clip, start, Scripted(None, wrong), resolution=96)
    target = as_original(found["target"])[..., ::4, ::4] * 255
    reference = as_original(found["reference"])[..., ::4, ::4] * 255
    want = np.rint(items[f"gen{number}_x_sub"] * 255)
    np.testing.assert_array_equal(want[:3, :, :12], target[:, :, :12])
    assert (want[:3, :, 12:] == 0).all()
    np.testing.assert_array_equal(want[3:], reference)
    np.testing.assert_array_equal(np.rint(items[f"gen{number}_y_sub"] * 255), target)
    indiv = items[f"gen{number}_indiv"][:, 0]
    np.testing.assert_allclose(found["mels"], indiv, atol=5e-6)
    np.testing.assert_allclose(found["mel"], items[f"gen{number}_mel"][0], atol=5e-6)
    assert found["mels"].shape == (5, 80, 16) and found["mel"].dtype == np.float32


@pytest.mark.parametrize("start,wrong,rejected", CASES["rejected_draws"])
def test_the_original_rejects_what_cannot_be_drawn(clip, start, wrong, rejected):
    allowed = start in wav2lip.starts(meta_of(clip))
    allowed &= wrong in expert.windows(clip.valid)
    assert allowed != rejected


def test_mel_columns_of_frames():
    case = CASES["dataset_index"]
    found = expert.mel_start(np.array(case["frames"]), 25.0)
    assert found.tolist() == case["crop_audio_window_start"]
    assert found.tolist() == case["expert_crop_audio_window_start"]


def test_sound_of_each_frame_starts_one_frame_earlier():
    case = CASES["dataset_index"]
    clip = make_clip("long", frames=40)
    whole = mel_spectrogram(np.float32(clip.audio / 32768))
    for start, want in zip(
        case["frames"], case["get_segmented_mels_starts"], strict=True
    ):
        assert (start in wav2lip.starts(meta_of(clip))) == (want is not None)
        if want is None:
            continue
        rng = np.random.default_rng(0)
        found = wav2lip.example(clip, start, rng, resolution=8)
        for mel, column in zip(found["mels"], want, strict=True):
            np.testing.assert_array_equal(mel, whole[:, column : column + 16])


def test_windows_at_the_end_of_the_sound():
    case = CASES["dataset_index_short"]
    samples = (case["spec_len"] - 1) * 200
    meta = ClipMeta("short", np.ones(40, bool), samples, 25.0, "", -1)
    heard = [
        f for f, n in zip(case["frames"], case["crop_len"], strict=True) if n == 16
    ]
    assert [f for f in expert.starts(meta) if f <= 30] == heard
    redrawn = [
        frame
        for frame, none in zip(case["frames"], case["segmented_is_none"], strict=True)
        if not none and frame in heard
    ]
    assert [f for f in wav2lip.starts(meta) if f <= 30] == redrawn


@pytest.mark.parametrize("system", [expert, wav2lip])
def test_fifteen_pictures_are_too_few(system):
    def meta(valid):
        return ClipMeta("", np.array(valid, bool), 30_000, 25.0, "", -1)

    assert len(system.starts(meta([1] * 15))) == 0
    assert len(system.starts(meta([1] * 16))) == 12 - (system is wav2lip)
    assert len(system.starts(meta([1] * 10 + [0] * 9 + [1] * 5))) == 0
    assert len(system.starts(meta([0] * 40))) == len(system.starts(meta([]))) == 0


@pytest.mark.parametrize(
    "system,allowed",
    [
        (expert, [*range(3), *range(8, 16), *range(22, 36)]),
        (wav2lip, [1, 2, *range(8, 16), *range(22, 33)]),
    ],
)
def test_no_window_reaches_into_a_gap(system, allowed):
    clip = make_clip("gaps", frames=40, gaps=(7, 20, 21))
    assert system.starts(meta_of(clip)).tolist() == allowed
    missing = {shade(7), shade(20), shade(21)}
    for start in allowed:
        rng = np.random.default_rng(start)
        for frames in system.example(clip, start, rng, resolution=8).values():
            if frames.dtype == np.uint8:
                assert not missing & set(frames[:, 0, 0, 0].tolist())


@pytest.mark.parametrize("system", [expert, wav2lip])
def test_the_other_window_is_another_one_of_the_clip(system):
    clip = make_clip("other", frames=20)
    name = "face" if system is expert else "reference"
    shown = set()
    for seed in range(150):
        found = system.example(clip, 6, np.random.default_rng(seed), resolution=8)
        if found.get("label", 0) == 0:
            shown.add(int(found[name][0, 0, 0, 0]))
    assert shown == {shade(k) for k in range(16) if k != 6}


@pytest.mark.parametrize("system", [expert, wav2lip])
def test_a_distance_may_be_asked_for(system):
    clip = make_clip("far", frames=20)
    examples = system.examples(8, min_distance=9)
    starts = examples.starts(meta_of(clip))
    assert set(starts) <= {*range(7), *range(9, 16)} and 10 in starts and 6 in starts
    name = "face" if system is expert else "reference"
    for seed in range(40):
        found = examples.example(clip, 6, np.random.default_rng(seed))
        if found.get("label", 0) == 0:
            assert found[name][0, 0, 0, 0] == shade(15)
    assert len(system.examples(8, min_distance=16).starts(meta_of(clip))) == 0


def test_labels_are_a_fair_coin():
    clip = make_clip("coin")
    rng = np.random.default_rng(0)
    labels = [expert.example(clip, 5, rng, resolution=4)["label"] for _ in range(400)]
    assert 160 < sum(labels) < 240


def test_an_example_in_sync_shows_its_own_window():
    clip = make_clip("sync")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = expert.example(clip, 5, rng, resolution=4)
        if found["label"]:
            assert found["face"][:, 0, 0, 0].tolist() == [
                shade(k) for k in range(5, 10)
            ]
