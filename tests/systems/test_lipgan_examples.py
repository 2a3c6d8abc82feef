"""LipGAN's examples: the original's items and index rules, and windows of sound."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from parity import fill_inputs
from tiny_clips import make_clip, shade

from lipsync_jax.audio.htk_mfcc import htk_mfcc
from lipsync_jax.audio.mel import mel_spectrogram
from lipsync_jax.data.schema import Clip, ClipMeta, meta_of
from lipsync_jax.opencv import cv2
from lipsync_jax.systems.lipgan.examples import example, examples, starts
from lipsync_jax.systems.lipgan.features import (
    CENTRED,
    MEL,
    MFCC,
    window_start,
    windows,
)

INDEXING = json.loads(
    (Path(__file__).parents[1] / "goldens" / "lipgan" / "indexing.json").read_text()
)
DATAGEN = INDEXING["datagen"]
# Without video_c, whose mel has a NaN: no sound of a record gives one.
VIDEOS = ["video_a", "video_b", "video_d", "video_e"]
ORIGINAL = {"features": MEL, "audio_offset": -8}  # as its mel training aligns them
FIRST = 4  # the original's picture 0 is the clip's frame 4


class Scripted:
    """Stands for a generator: chooses what the original chose."""

    def __init__(self, wanted):
        self.wanted = wanted

    def choice(self, candidates):
        assert self.wanted in candidates
        return self.wanted


def golden_clip(ids, mel_columns):
    """A clip whose frame `id + FIRST` is the golden's picture `id`; lossless."""
    frames = [b""] * (max(ids) + FIRST + 1)
    for number in ids:
        pixels = fill_inputs(f"lipgan/datagen/img{number}", (96, 96, 3), 0, 256)
        picture = np.floor(pixels).astype(np.uint8)  # BGR
        frames[number + FIRST] = cv2.imencode(".png", picture)[1].tobytes()
    return Clip(
        id="golden",
        frames=frames,
        box=np.zeros((len(frames), 4), np.float32),
        landmarks=np.zeros((0, 478, 2), np.float32),
        valid=np.array([bool(frame) for frame in frames]),
        fps=25.0,
        audio=np.zeros((mel_columns - 1) * 200, np.int16),
    )


@pytest.mark.parametrize("video", VIDEOS)
def test_the_original_accepts_these_pictures(video):
    case = DATAGEN[video]
    valid = np.isin(np.arange(21), np.array(case["ids"]) + FIRST)
    samples = ((case["mel_cols"] or 1) - 1) * 200
    found = starts(ClipMeta("", valid, samples, 25.0, "", -1), **ORIGINAL)
    columns = window_start(found, 25.0, MEL, -8)
    accepted = [[frame - FIRST, c] for frame, c in zip(found, columns, strict=True)]
    assert accepted == case["accepted_id_and_start"]


def test_the_originals_references():
    clip = make_clip("references", frames=21, gaps=(0, 1, 2, 3, 7 + FIRST))
    for number, wanted in DATAGEN["reference_candidates"].items():
        frame = int(number) + FIRST
        if frame not in starts(meta_of(clip)):
            continue
        shown = {
            int(example(clip, frame, rng, resolution=8)["reference"][0, 0, 0])
            for rng in map(np.random.default_rng, range(120))
        }
        assert shown == {shade(number + FIRST) for number in wanted}


def test_the_originals_batch():
    """Its pictures, in its order; each golden row is target, reference, mean mel."""
    clip = golden_clip(DATAGEN["video_a"]["ids"], 60)
    want = DATAGEN["batch_seed1234"]
    x, y = [], []
    for target, reference, _ in want["gt_ref_melmean"]:
        rng = Scripted(reference + FIRST)
        found = example(clip, target + FIRST, rng, resolution=96, **ORIGINAL)
        masked = found["target"].copy()
        masked[48:] = 0
        x.append(np.concatenate([found["reference"], masked], -1) / 255)
        y.append(found["target"] / 255)
        assert found["mel"].shape == (80, 27)
    assert [len(x), *x[0].shape] == want["shapes"]["x"]
    np.testing.assert_allclose(np.mean(x), want["x_mean"], atol=1e-7)
    np.testing.assert_allclose(np.mean(y), want["y_mean"], atol=1e-7)


@pytest.mark.parametrize(
    "columns,count",
    INDEXING["preprocess"]["preprocess_chunks_vs_mfcc_columns"].items(),
)
def test_the_originals_mfcc_windows(columns, count):
    """As many as its preparation cuts from a clip with more pictures than sound."""
    samples = (int(columns) - 1) * 160 + 400
    meta = ClipMeta("", np.ones(80, bool), samples, 25.0, "", -1)
    assert starts(meta, features=MFCC).tolist() == list(range(4, 4 + count))


@pytest.mark.parametrize("features", [MEL, MFCC])
@pytest.mark.parametrize("audio_offset", [CENTRED, 0, -8])
def test_the_window_is_cut_from_the_whole(features, audio_offset):
    clip = make_clip("sound", frames=30)
    wav = clip.audio / 32768
    whole = mel_spectrogram(wav) if features is MEL else htk_mfcc(wav)
    how = {"features": features, "audio_offset": audio_offset}
    allowed = starts(meta_of(clip), **how)
    step = features.rate / 25
    last = whole.shape[1] - features.width
    heard = range(-audio_offset, 30)
    assert allowed.tolist() == [
        f for f in heard if int(step * (f + audio_offset)) <= last
    ]
    for frame in allowed[[0, 5, -1]]:
        rng = np.random.default_rng(0)
        found = example(clip, int(frame), rng, resolution=8, **how)["mel"]
        first = int(step * (frame + audio_offset))
        want = whole[:, first : first + features.width]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.parametrize("features,hop", [(MEL, 200), (MFCC, 160)])
def test_centred_windows_are_centred(features, hop):
    frames = np.arange(4, 300)
    columns = window_start(frames, 25.0, features, CENTRED)
    half = 0 if features is MEL else 200  # samples from a column to its middle
    middle = (columns + (features.width - 1) / 2) * hop + half
    assert np.abs(middle - (frames + 0.5) * 640).max() < 640


def test_twelve_pictures_are_needed():
    def count(valid):
        meta = ClipMeta("", np.array(valid, bool), 40 * 640, 25.0, "", -1)
        return len(starts(meta))

    assert count([1] * 11) == 0 and count([1] * 12) == 8
    assert count([1] * 6 + [0] * 9 + [1] * 6) == 8
    assert count([]) == count([0] * 40) == 0


def test_examples_say_where_they_are_from():
    how = examples(8)
    one, two = make_clip("one"), make_clip("two")
    rng = np.random.default_rng(0)
    a, b = how.example(one, 5, rng), how.example(one, 9, rng)
    c = how.example(two, 5, rng)
    assert a["clip"] == b["clip"] != c["clip"]
    assert (a["frame"], b["frame"]) == (5, 9)
    assert a["target"][0, 0, 0] == shade(5)
    assert all(x.dtype == np.int32 for x in (a["clip"], a["frame"]))


def ramp(features, count, size):
    """A front end whose `count` columns are their numbers, in pieces of `size`."""
    whole = np.tile(np.arange(count, dtype=np.float32), (features.rows, 1))
    pieces = [whole[:, i : i + size] for i in range(0, count, size)]
    return replace(features, stream=lambda blocks: iter(pieces))


RUNS = [
    (MEL if branch == "fully_pythonic" else MFCC, run)
    for branch, runs in INDEXING["inference"].items()
    for run in runs
]


@pytest.mark.parametrize("features,run", RUNS)
def test_windows_in_use_are_the_originals(features, run):
    fps, columns, want = run["fps"], run["audio_cols"], run["starts_all"]
    # The original adds up milliseconds for MFCCs; rounding costs it a column (10 ms)
    # here and there at some rates.
    slack = 1 if features is MFCC and fps in (24, 30, 60) else 0
    for size in (1, 7, 1000):
        found = islice(windows([], fps, ramp(features, columns, size)), len(want))
        found = np.array([int(w[0, 0]) for w in found])
        assert (np.abs(found - want) <= slack).all()
    if run["max_sec"] * fps > len(want) + 1:  # and the next one is not whole
        following = window_start(len(want), fps, features)
        assert following + features.width > columns


@pytest.mark.parametrize("run", [r for kind, r in RUNS if kind is MFCC])
def test_mfcc_windows_go_with_the_pictures_they_went_with(run):
    """The original shows frame j + 4 (at 25 fps) with window j, at the time of j."""
    first = run["frames_first"][0]
    frames, fps = first + np.arange(len(run["starts_all"])), run["fps"]
    ours = window_start(frames, fps, MFCC, CENTRED)
    # first / fps is 0.16 s at 25 frames per second only.
    allowed = 0 if fps == 25 else 2
    assert np.abs(ours - run["starts_all"]).max() <= allowed


@pytest.mark.parametrize("features", [MEL, MFCC])
@pytest.mark.parametrize("fps", [1.0, 12.5, 25.0, 60.0])
@pytest.mark.parametrize("offset,shift", [(0, 0), (-4, 0), (-8, -3), (0, 5), (-4, 40)])
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_silence_lies_around_the_speech(features, fps, offset, shift, size):
    count = 50
    found = windows([], fps, ramp(features, count, size), offset, shift)
    for frame, window in enumerate(islice(found, 40)):
        start = int(window_start(frame + shift, fps, features, offset))
        numbers = np.arange(start, start + features.width)
        inside = (numbers >= 0) & (numbers < count)
        want = np.where(inside, numbers, features.silence).astype(np.float32)
        assert window.shape == (features.rows, features.width)
        np.testing.assert_array_equal(window, np.tile(want, (features.rows, 1)))
