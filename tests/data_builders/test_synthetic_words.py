"""Drawn talkers that say single words, as LRW's speakers do."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from data_builders.synthetic_talkers.clip import SPLITS, ClipRecipe, lexicon, make_clip
from data_builders.synthetic_talkers.phonemes import SILENCE
from data_builders.synthetic_talkers.synthetic_talkers_dataset_builder import (
    TalkersConfig,
)
from lipsync_jax.audio.mel import mel_spectrogram
from lipsync_jax.cli.main import main
from lipsync_jax.data.source import open_split
from lipsync_jax.errors import OptionError

SECONDS = 1.16  # 29 frames, as in LRW
RECIPE = ClipRecipe(0, "train", 0, 0, SECONDS, 32, words=8)


def test_words_are_different_and_the_datasets_own():
    words = lexicon(0, 500)
    assert len(set(words)) == 500
    assert all(len([p for p in word if p.voice >= 0.7]) >= 2 for word in words)
    assert all(4 <= len(word) <= 9 and SILENCE not in word for word in words)
    assert lexicon(0, 8) == words[:8]
    assert lexicon(1, 8) != words[:8]


def test_a_label_is_the_same_word_in_all_clips():
    words = {}
    for split in SPLITS:
        for speaker in range(3):
            for number in range(8):
                recipe = replace(RECIPE, split=split, speaker=speaker, number=number)
                words.setdefault(recipe.label, set()).add(recipe.word)
    assert sorted(words) == list(range(8))
    assert {label: len(found) for label, found in words.items()} == {
        label: 1 for label in range(8)
    }


def test_everyone_says_every_word_in_an_own_order():
    orders = [
        tuple(replace(RECIPE, speaker=s, number=n).label for n in range(16))
        for s in range(6)
    ]
    assert all(sorted(order[:8]) == list(range(8)) for order in orders)
    assert all(order[:8] == order[8:] for order in orders)
    assert len(set(orders)) > 3


@pytest.mark.parametrize("number", range(8))
def test_the_word_is_in_the_middle_of_silence(number):
    recipe = replace(RECIPE, number=number)
    speech = recipe.speech
    first, *word, last = speech.phones
    assert first.phoneme == last.phoneme == SILENCE
    assert tuple(phone.phoneme for phone in word) == recipe.word
    assert (word[0].start + word[-1].stop) / 2 == pytest.approx(SECONDS / 2)
    assert first.start < 0 and last.stop > SECONDS
    assert all(a.stop == b.start for a, b in pairwise(speech.phones))
    # Where nothing is said, nothing moves, and next to nothing is heard.
    frames = (np.arange(29) + 0.5) / 25
    still = (frames < word[0].start - 0.12) | (frames > word[-1].stop + 0.12)
    if still.any():
        silent = np.repeat(still, 640)
        assert speech.mouth[still, 0].max() < 0.05
        assert speech.audio[silent].std() < 0.1 * speech.audio.std()


def test_a_clip_shorter_than_the_word():
    speech = replace(RECIPE, seconds=0.2).speech
    assert len(speech.mouth) == 5 and speech.audio.any()


def test_running_speech_is_unchanged():
    recipe = replace(RECIPE, words=0)
    clip = make_clip(recipe)
    assert recipe.word is None and clip.label == -1
    assert not np.array_equal(clip.audio, make_clip(RECIPE).audio)
    # As before there were words: datasets that exist stay what they are.
    assert clip.audio[:4000].astype(np.int64).sum() == 1198


def test_words_can_be_told_apart():
    """By their sound and by the mouth alone, from people never heard."""

    def features(recipe):
        speech = recipe.speech
        mel = mel_spectrogram(speech.audio / 32768)
        mel = mel - mel.mean(axis=1, keepdims=True)
        return mel[::4, ::4].ravel(), speech.mouth.ravel()

    def people(split, count):
        recipes = [
            replace(RECIPE, split=split, speaker=s, number=n)
            for s in range(count)
            for n in range(8)
        ]
        labels = np.array([recipe.label for recipe in recipes])
        return labels, *map(np.stack, zip(*map(features, recipes), strict=True))

    known, *templates = people("train", 10)
    labels, *heard = people("test", 5)
    for template, found in zip(templates, heard, strict=True):
        means = np.stack([template[known == label].mean(axis=0) for label in range(8)])
        distance = np.square(found[:, None] - means).sum(axis=-1)
        assert (distance.argmin(axis=1) == labels).mean() > 0.85


def test_the_command_stores_the_labels(tmp_path, capsys):
    options = {"clips_per_speaker": 3, "seconds": 0.4, "size": 32, "words": 3}
    options |= {f"speakers_{split}": 1 for split in SPLITS} | {"processes": 1}
    args = [word for pair in options.items() for word in (f"--{pair[0]}", str(pair[1]))]
    main(["build", "synthetic_talkers", "--data_dir", str(tmp_path), *args])
    folder = capsys.readouterr().out.strip()
    assert "1-1-1x3_0.4s_32px_3words_seed0" in folder
    clips = open_split(folder, "train")
    assert sorted(meta.label for meta in clips.meta) == [0, 1, 2]
    words = {" ".join(p.symbol for p in word) for word in lexicon(0, 3)}
    assert {clip.text.strip("- ") for clip in clips} == words


def test_the_name_without_words_is_as_before():
    assert TalkersConfig().name == "64-8-8x4_4s_160px_seed0"
    with pytest.raises(OptionError, match="words -1: must be at least 0"):
        TalkersConfig(words=-1)
