"""DAVS's examples: the original loader's pictures, and its choice of frames."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from parity import channels_last, fill_inputs
from tiny_clips import make_clip, prepare

from data_builders.synthetic_talkers.clip import ClipRecipe
from data_builders.synthetic_talkers.clip import make_clip as make_talker
from lipsync_jax.data.pipeline import eval_batches, train_batches
from lipsync_jax.data.record import DamagedRecord
from lipsync_jax.data.schema import Clip, ClipMeta, meta_of
from lipsync_jax.data.source import open_split
from lipsync_jax.faces.align import IN_BOX, TARGETS, to_picture
from lipsync_jax.opencv import cv2
from lipsync_jax.systems.davs.examples import example, examples, starts
from lipsync_jax.systems.davs.features import blocks
from lipsync_jax.systems.davs.windows import Lengths, Starts, draw, take

GOLDENS = Path(__file__).parents[1] / "goldens" / "davs"


class Scripted:
    """Stands for a generator: gives what the original drew."""

    def __init__(self, mirrored, y, x):
        self.drawn = iter([mirrored, np.array([y, x])])

    def integers(self, *args, **kwargs):
        return next(self.drawn)


def landmarks_at(points):
    """A face mesh (478, 2) with eyes and mouth at points (3, 2)."""
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[[33, 133]], landmarks[[362, 263]], landmarks[[61, 291]] = points
    return landmarks


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS / "loader.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def clip():
    """The golden's clip: aligned pictures of 260 pixels, numbers 2 to 26 of 29."""
    frames = [b""] * 29
    for number in range(2, 27):
        coarse = fill_inputs(f"davs_ds_frame_{number}", (13, 13, 3), 0, 256)
        picture = np.floor(np.kron(coarse, np.ones((20, 20, 1)))).astype(np.uint8)
        frames[number] = cv2.imencode(".png", picture)[1].tobytes()
    matrix = to_picture(np.eye(2, 3))
    points = TARGETS @ matrix[:, :2].T + matrix[:, 2]
    return Clip(
        id="golden",
        frames=frames,
        box=np.tile(np.float32([0, 0, 260, 260]), (29, 1)),
        landmarks=np.tile(landmarks_at(points), (29, 1, 1)),
        valid=np.array([bool(frame) for frame in frames]),
        fps=25.0,
        audio=np.random.default_rng(0).integers(-900, 900, 29 * 640).astype(np.int16),
        label=4,
    )


@pytest.mark.parametrize(
    ("name", "draws"), [("val", None), ("train_flip1_cx4_cy1", (1, 4, 1))]
)
def test_the_originals_pictures(golden, clip, name, draws):
    (start,) = starts(meta_of(clip))
    assert start == 2
    augmented = draws is not None
    rng = Scripted(*draws) if augmented else None
    found = example(clip, start, rng, resolution=256, augmented=augmented)
    assert found["video"].shape == (25, 256, 256, 3) and found["label"] == 4
    want = channels_last(golden[f"loader_{name}_sub"])
    pictures = found["video"][::6, 5::50, 5::50] / 255
    np.testing.assert_allclose(pictures, want, atol=1e-6)
    stats = json.loads((GOLDENS / "loader.json").read_text())[f"loader_{name}"]
    assert found["video"].mean() / 255 == pytest.approx(stats["mean"], abs=1e-9)
    assert found["video"].std() / 255 == pytest.approx(stats["std"], abs=1e-9)


def test_the_sound_is_that_of_the_frames(clip):
    found = example(clip, 2, None, resolution=32, augmented=False)["mfcc"]
    assert found.shape == (25, 20, 12) and found.dtype == np.float32
    np.testing.assert_array_equal(found, blocks(clip.audio, 2, 25, 25.0))
    # Frame 2 begins with the clip's first column; only frame 26 lacks two.
    longer = np.concatenate([clip.audio, clip.audio])
    whole = blocks(longer, 2, 25, 25.0)
    np.testing.assert_allclose(found[:24], whole[:24], atol=1e-5)
    np.testing.assert_allclose(found[24, :18], whole[24, :18], atol=1e-5)
    assert (found[24, 17:] == found[24, 17]).all()


@pytest.mark.parametrize(
    ("frames", "first"), [(25, 0), (28, 1), (29, 2), (30, 2), (100, 37)]
)
def test_the_middle_of_a_clip(frames, first):
    meta = ClipMeta("", np.ones(frames, bool), frames * 640, 25.0, "", 3)
    assert starts(meta).tolist() == [first]


@pytest.mark.parametrize(
    "change",
    [
        {"label": -1},
        {"valid": np.ones(24, bool)},
        {"valid": np.zeros(0, bool)},
        {"valid": np.arange(29) != 2},
        {"valid": np.arange(29) != 26},
        {"samples": 27 * 640 - 1},
    ],
    ids=str,
)
def test_clips_that_cannot_be_used(change):
    meta = ClipMeta("", np.ones(29, bool), 27 * 640, 25.0, "", 0)
    assert len(starts(meta)) == 1
    assert starts(replace(meta, **change)).tolist() == []
    at_the_ends = ~np.isin(np.arange(29), (0, 1, 27, 28))
    assert len(starts(replace(meta, valid=at_the_ends))) == 1


def test_crops_are_put_where_the_face_was(clip):
    """Landmarks are in source pixels, and boxes of any shape become squares."""
    box = np.float32([60, 40, 160, 180])
    points = np.array([(90.0, 90.0), (130.0, 90.0), (110.0, 128.0)])
    source = np.full((260, 220, 3), 30, np.uint8)
    for point, colour in zip(points, np.eye(3) * 255, strict=True):
        cv2.circle(source, tuple(point.astype(int)), 5, colour.tolist(), -1)
    x1, y1, x2, y2 = box.astype(int)
    crop = cv2.resize(source[y1:y2, x1:x2], (160, 160))
    data = cv2.imencode(".png", crop[..., ::-1])[1].tobytes()
    moved = replace(
        clip,
        frames=[data] * 29,
        box=np.tile(box, (29, 1)),
        landmarks=np.tile(landmarks_at(points), (29, 1, 1)),
    )
    for resolution in (256, 64):
        found = example(moved, 2, None, resolution=resolution, augmented=False)
        picture = found["video"][12].astype(float) - 30
        y, x = (np.mgrid[:resolution, :resolution] + 0.5) * (256 / resolution) - 0.5
        for channel, want in enumerate([(91, 114), (169, 114), (130, 188)]):
            spot = picture[..., channel].clip(100) - 100
            centre = np.array([(spot * x).sum(), (spot * y).sum()]) / spot.sum()
            assert np.abs(centre - want).max() < 2


def test_mirrored_and_moved(clip):
    plain = example(clip, 2, None, resolution=256, augmented=False)["video"]
    moved = example(clip, 2, Scripted(0, 4, 0), resolution=256)["video"]
    np.testing.assert_array_equal(moved[:, :-2, 2:], plain[:, 2:, :-2])
    mirrored = example(clip, 2, Scripted(1, 2, 2), resolution=256)["video"]
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])
    seen = set()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        seen.add((int(rng.integers(2)), *rng.integers(0, 4, 2, endpoint=True).tolist()))
    assert len(seen) == 50


def test_a_broken_frame_is_reported(clip):
    frames = list(clip.frames)
    frames[9] = b"no picture"
    with pytest.raises(DamagedRecord, match="frame 9 of clip golden is no picture"):
        example(replace(clip, frames=frames), 2, None, resolution=32, augmented=False)


def test_drawn_talkers_are_aligned_by_their_boxes():
    talker = make_talker(ClipRecipe(0, "train", 0, 0, 1.16, 96, words=4))
    (start,) = starts(meta_of(talker))
    rng = np.random.default_rng(0)
    found = example(talker, start, rng, resolution=64)
    assert found["video"].shape == (25, 64, 64, 3)
    assert found["label"] == talker.label >= 0
    assert found["video"].std() > 20
    assert IN_BOX.shape == (3, 2)


def test_evaluations_see_pictures_as_they_are(tmp_path):
    clips = [replace(make_clip(name, frames=29), label=1) for name in ("a", "b", "c")]
    gradient = np.tile(np.arange(0, 248, 31, dtype=np.uint8), (8, 1))
    picture = cv2.imencode(".png", np.dstack([gradient] * 3))[1].tobytes()
    clips = [replace(clip, frames=[picture] * 29) for clip in clips]
    source = open_split(prepare(tmp_path, train=clips), "train")
    how = {"batch_size": 3, "seed": 0, "threads": 1}
    (held_out,) = eval_batches(source, examples(32), batches=1, **how)
    assert held_out["video"].shape == (3, 25, 32, 32, 3)
    assert (held_out["video"] == held_out["video"][0]).all()
    batches = train_batches(source, examples(32), **how)
    trained = np.concatenate([next(batches)["video"] for _ in range(3)])
    batches.close()
    assert len({row.tobytes() for row in trained[:, 0]}) > 3


def test_windows():
    """The original's frames; its first golden step drew these numbers."""
    frame = np.arange(25, dtype=np.float32)
    video = np.tile(frame[None, :, None, None, None], (2, 1, 4, 4, 3))
    mfcc = np.tile(frame[None, :, None, None], (2, 1, 20, 12))
    found = take(video, mfcc, Starts(2, 10, 1, 4), Lengths())
    assert found.person[1, :, 0, 0, 0].tolist() == list(range(2, 22))
    assert (found.identity == 10).all() and found.identity.shape == (2, 4, 4, 3)
    assert found.video[1, :, 3, 3, 2].tolist() == list(range(1, 24, 2))
    assert found.mfcc[0, :, 19, 11].tolist() == list(range(1, 24, 2))
    assert found.drawn == 4


def test_windows_are_drawn_from_the_originals_ranges():
    keys = jax.random.split(jax.random.key(0), 2000)
    found = jax.vmap(lambda key: draw(key, Lengths()))(keys)
    for values, last in zip(found, (4, 24, 1, 6), strict=True):
        assert sorted(set(values.tolist())) == list(range(last + 1))
