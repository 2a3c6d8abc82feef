"""The embedded dataset: drawn people whose mouths and voices belong together."""

import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.synthetic_talkers.clip import SPLITS, ClipRecipe, make_clip
from data_builders.synthetic_talkers.measure import mouth_opening
from data_builders.synthetic_talkers.phonemes import PHONEMES, random_phones
from data_builders.synthetic_talkers.recording import write_talker
from data_builders.synthetic_talkers.synthetic_talkers_dataset_builder import (
    Builder,
    TalkersConfig,
)
from data_builders.synthetic_talkers.talker import Speaker, film, talk
from lipsync_jax.audio.load import load_audio
from lipsync_jax.audio.mel import mel_spectrogram
from lipsync_jax.data.schema import from_example
from lipsync_jax.errors import OptionError
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.opencv import cv2

TINY = {"clips_per_speaker": 2, "seconds": 0.4, "size": 48}
PEOPLE = {"speakers_train": 2, "speakers_validation": 1, "speakers_test": 1}


def decode(frames) -> np.ndarray:
    """(T, H, W, 3) uint8 RGB."""
    images = [cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in frames]
    return np.stack(images)[..., ::-1]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@pytest.fixture(scope="module")
def clips():
    """Clips of held-out people at the size of Wav2Lip."""
    recipes = [ClipRecipe(3, "test", person, 0, 3.0, 96) for person in range(16)]
    return [make_clip(recipe) for recipe in recipes]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A prepared dataset, made in this process."""
    builder = Builder(data_dir=tmp_path_factory.mktemp("one"), **TINY, **PEOPLE)
    builder.download_and_prepare()
    return builder


def read(builder, split):
    """Clips of a split by id, read without the builder's code."""
    stored = tfds.builder_from_directory(str(builder.data_path))
    clips = map(from_example, stored.as_data_source(split))
    return {clip.id: clip for clip in clips}


def assert_same(a, b):
    for name, value in vars(a).items():
        np.testing.assert_array_equal(value, getattr(b, name), err_msg=name)


def test_a_clip_is_a_function_of_its_recipe():
    recipe = ClipRecipe(0, "train", 1, 2, 0.4, 48)
    first = make_clip(recipe)
    assert_same(make_clip(recipe), first)
    for change in ({"seed": 1}, {"split": "test"}, {"speaker": 2}, {"number": 0}):
        other = make_clip(replace(recipe, **change))
        assert not np.array_equal(other.audio, first.audio), change
        assert other.frames[0] != first.frames[0], change


def test_the_same_people_say_other_things_in_each_split():
    train, test = (ClipRecipe(0, s, 1, 0, 0.4, 48, 0, True) for s in ("train", "test"))
    assert train.person == test.person == replace(train, same_people=False).person
    assert replace(test, same_people=False).person != test.person
    clips = make_clip(train), make_clip(test)
    assert clips[0].speaker == clips[1].speaker and clips[0].id != clips[1].id
    assert not np.array_equal(clips[0].audio, clips[1].audio)
    config = TalkersConfig(same_people=True)
    assert config.name == "64-8-8x4_4s_160px_samepeople_seed0"
    assert all(recipe.same_people for recipe in config.recipes("test"))


def test_records_hold_what_was_made(built):
    clips = read(built, "validation")
    assert sorted(clips) == ["validation_0000_000", "validation_0000_001"]
    made = make_clip(ClipRecipe(0, "validation", 0, 1, 0.4, 48))
    stored = clips["validation_0000_001"]
    assert_same(stored, made)
    assert decode(stored.frames).shape == (10, 48, 48, 3)
    assert stored.audio.shape == (6400,)
    assert stored.mouth.shape == stored.box.shape == (10, 4)
    assert stored.landmarks.shape == (0, 478, 2)
    assert stored.valid.all() and stored.label == -1
    assert stored.speaker == "validation_0000"
    assert set(stored.text.split()) <= {phoneme.symbol for phoneme in PHONEMES}


def test_splits_share_no_person(built):
    names = {s: {clip.speaker for clip in read(built, s).values()} for s in SPLITS}
    assert {s: len(people) for s, people in names.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }
    assert len(set.union(*names.values())) == 4
    recipes = [ClipRecipe(0, s, n, 0, 0.04, 32) for s, n in product(SPLITS, range(20))]
    people = {recipe.person for recipe in recipes}
    assert len(people) == len(recipes)


def test_processes_do_not_change_the_records(built, tmp_path):
    parallel = Builder(data_dir=tmp_path, processes=2, **TINY, **PEOPLE)
    parallel.download_and_prepare()
    for split in SPLITS:
        expected, got = read(built, split), read(parallel, split)
        assert list(expected) == list(got)
        for name in expected:
            assert_same(got[name], expected[name])


def test_content_names_the_folder(tmp_path):
    small = Builder(data_dir=tmp_path, seconds=2.5, size=96, seed=7)
    assert small.data_path.parent.name == "64-8-8x4_2.5s_96px_seed7"
    assert pickle.loads(pickle.dumps(small)).data_path == small.data_path


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("size", 16, "size 16: must be at least 32"),
        ("speakers_test", 0, "speakers_test 0: must be at least 1"),
        ("seconds", -1.0, "seconds -1.0: must be at least 0.04"),
        ("processes", 0, "processes 0: must be at least 1"),
    ],
)
def test_senseless_options_are_refused(tmp_path, option, value, message):
    with pytest.raises(OptionError, match=message):
        Builder(data_dir=tmp_path, **{option: value})


def test_building_needs_neither_tensorflow_nor_jax(tmp_path):
    code = (
        "import sys\n"
        "from data_builders.synthetic_talkers.synthetic_talkers_dataset_builder "
        "import Builder\n"
        f"builder = Builder(data_dir={str(tmp_path)!r}, size=32, seconds=0.2,\n"
        "    speakers_train=1, speakers_validation=1, speakers_test=1)\n"
        "builder.download_and_prepare()\n"
        "assert len(builder.as_data_source('train')[0]['frames']) == 5\n"
        "assert not {'tensorflow', 'torch', 'jax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_sound_is_sane(clips):
    for clip in clips:
        sound = clip.audio.astype(np.float64) / 32767
        assert np.abs(sound).max() < 0.96  # no clipping
        assert abs(sound.mean()) < 1e-3
        assert -35 < 20 * np.log10(sound.std()) < -15
    levels = [clip.audio.std() for clip in clips]
    assert max(levels) > 1.5 * min(levels)


def test_phones_leave_no_gap():
    phones = random_phones(np.random.default_rng(0), 30.0)
    assert phones[0].start < 0 and phones[-1].stop > 30
    for a, b in pairwise(phones):
        assert a.stop == b.start and a.start < a.stop
    assert {phone.phoneme for phone in phones} == set(PHONEMES)


def test_the_mouth_reaches_its_targets():
    speech = talk(Speaker.random(0).voice, seed=1, seconds=20.0)
    frames = (np.arange(len(speech.mouth)) + 0.5) / 25
    assert speech.mouth.min() >= 0 and speech.mouth.max() <= 1
    reached = {"a": 1.0, "m": 0.0, "p": 0.0, "b": 0.0}
    found = dict.fromkeys(reached, 0)
    for phone in speech.phones[1:-1]:
        symbol = phone.phoneme.symbol
        # The lips are 15 ms ahead of the sound.
        middle = (phone.start + phone.stop) / 2 - 0.015
        nearest = np.abs(frames - middle).argmin()
        if symbol in reached and abs(frames[nearest] - middle) < 0.01:
            found[symbol] += 1
            assert abs(speech.mouth[nearest, 0] - reached[symbol]) < 0.12, phone
    assert min(found.values()) >= 1


def test_only_the_lower_face_depends_on_the_mouth():
    """Box, head, eyes, brows, light and noise tell nothing of what is said."""
    look = Speaker.random(5).look
    silent, loud = np.zeros((12, 4)), np.tile([1.0, 0.5, 0.0, 1.0], (12, 1))
    for a, b in zip(film(look, silent, 6), film(look, loud, 6), strict=True):
        np.testing.assert_array_equal(a.box, b.box)
        middle = round(float(a.box[1] + a.box[3]) / 2)
        np.testing.assert_array_equal(a.image[:middle], b.image[:middle])
        assert (a.image[middle:] != b.image[middle:]).mean() > 0.02


def test_motion_does_not_follow_the_speech(clips):
    found = [
        correlation(edge, clip.mouth[:, 0]) for clip in clips for edge in clip.box.T
    ]
    assert abs(np.mean(found)) < 0.1


def test_measured_opening_follows_the_drawn_one(clips):
    for clip in clips:
        crops, truth = decode(clip.frames), clip.mouth[:, 0]
        assert correlation(mouth_opening(crops), truth) >= 0.95
        blurred = np.stack([cv2.GaussianBlur(crop, (0, 0), 1.5) for crop in crops])
        assert correlation(mouth_opening(blurred), truth) >= 0.9


def test_measured_opening_ignores_motion():
    """Of a still mouth in a moving head the measure hardly changes."""
    changes, range_ = [], []
    for person in range(8):
        look = Speaker.random((2, person)).look

        def measure(opening, look=look, person=person):
            mouth = np.tile([opening, 0.5, 0.1, 0.3], (40, 1))
            crops = []
            for shot in film(look, mouth, (1, person)):
                x1, y1, x2, y2 = np.rint(shot.box).astype(int)
                crops.append(cv2.resize(shot.image[y1:y2, x1:x2], (96, 96)))
            return mouth_opening(np.stack(crops))

        closed, half, wide = map(measure, (0.0, 0.5, 1.0))
        assert closed.mean() < half.mean() < wide.mean()
        changes.append(half.std())
        range_.append(wide.mean() - closed.mean())
    assert np.mean(changes) < 0.06 * np.mean(range_)


def test_sound_tells_the_mouth_to_the_frame():
    """A linear map from mel windows finds the opening of people never heard."""

    def windows(split, person):
        speech = talk(Speaker.random((split, person)).voice, (split, person, 1), 5.0)
        mel = mel_spectrogram(speech.audio / 32768)
        # 16 columns about the middle of each frame; frames at the ends have fewer.
        starts = np.rint((np.arange(len(speech.mouth)) + 0.5) * 3.2).astype(int) - 8
        inside = (starts >= 0) & (starts + 16 <= mel.shape[1])
        rows = [mel[::2, start : start + 16].ravel() for start in starts[inside]]
        return np.stack(rows), speech.mouth[inside, 0]

    train = [windows(1, person) for person in range(24)]
    x, y = (np.concatenate(part) for part in zip(*train, strict=True))
    mean, centred = x.mean(axis=0), x - x.mean(axis=0)
    gram = centred.T @ centred + 1000 * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (y - y.mean()))
    shifts = []
    for person in range(8):
        x, truth = windows(2, person)
        guess = (x - mean) @ weights
        assert correlation(guess, truth) >= 0.8
        scores = [
            correlation(guess[15:-15], truth[15 + k : len(truth) - 15 + k])
            for k in range(-15, 16)
        ]
        shifts.append(int(np.argmax(scores)) - 15)
    assert shifts.count(0) >= 7


def test_a_recording_plays(tmp_path):
    recording = write_talker(tmp_path, 1, 2, seconds=0.6, width=160, height=128)
    frames = list(VideoReader(recording.video).frames())
    assert len(frames) == len(recording.boxes) == len(recording.mouth) == 15
    assert frames[0].shape == (128, 160, 3)
    assert (recording.boxes[:, :2] >= 0).all()
    assert (recording.boxes[:, 2:] <= (160, 128)).all()
    assert load_audio(recording.speech).shape == (9600,)


def test_default_sizes():
    """What the README promises of the default dataset."""
    config = TalkersConfig()
    assert len(config.recipes("train")) == 256
    assert config.name == "64-8-8x4_4s_160px_seed0"
