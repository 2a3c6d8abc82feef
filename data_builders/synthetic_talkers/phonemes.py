"""The sounds of the synthetic language, its words, and random sequences of sounds.

Formants are those of textbook tables for an average adult; mouths are what one sees
in a mirror. The language is made for lip sync: a third of the syllables begin with
closed lips, and neighbouring sounds differ in both spectrum and mouth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

import numpy as np

Formants = tuple[float, float, float]
Mouth = tuple[float, float, float, float]
Band = tuple[float, float]


@dataclass(frozen=True)
class Phoneme:
    """One sound and the mouth that makes it.

    Attributes:
      symbol: its name.
      formants: centre of the first three resonances in Hz.
      mouth: opening, width, rounding and teeth (`schema.MOUTH`), each in [0, 1].
      duration: shortest and longest, in seconds.
      grip: how firmly it holds its mouth against the neighbours' influence.
      voice: amplitude of the vibrating vocal folds.
      breath: amplitude of noise that passes through the formants.
      hiss: amplitude of noise made at the teeth or lips, in `band`.
      band: centre and width of that noise in Hz.
      closure: leading share of the duration during which the breath is stopped.
      hum: what remains of the voice during the closure.
    """

    symbol: str
    formants: Formants
    mouth: Mouth
    duration: tuple[float, float]
    grip: float = 1.0
    voice: float = 0.0
    breath: float = 0.0
    hiss: float = 0.0
    band: Band = (2000.0, 1000.0)
    closure: float = 0.0
    hum: float = 0.0


@dataclass(frozen=True)
class Phone:
    """A phoneme at its place in an utterance; times in seconds."""

    phoneme: Phoneme
    start: float
    stop: float


def _vowel(symbol: str, formants: Formants, mouth: Mouth, loudness: float) -> Phoneme:
    return Phoneme(symbol, formants, mouth, (0.10, 0.18), voice=loudness)


def _nasal(symbol: str, formants: Formants, mouth: Mouth, grip: float) -> Phoneme:
    return Phoneme(symbol, formants, mouth, (0.07, 0.10), grip, voice=0.3)


def _glide(symbol: str, formants: Formants, mouth: Mouth, grip: float) -> Phoneme:
    return Phoneme(symbol, formants, mouth, (0.07, 0.10), grip, voice=0.5)


def _fricative(
    symbol: str,
    formants: Formants,
    mouth: Mouth,
    grip: float,
    hiss: float,
    band: Band,
    voice: float = 0.0,
) -> Phoneme:
    duration = (0.09, 0.13)
    return Phoneme(symbol, formants, mouth, duration, grip, voice, hiss=hiss, band=band)


def _plosive(
    symbol: str,
    formants: Formants,
    mouth: Mouth,
    grip: float,
    band: Band,
    hum: float = 0.0,
) -> Phoneme:
    return Phoneme(
        symbol,
        formants,
        mouth,
        (0.08, 0.11),
        grip,
        hiss=0.5,
        band=band,
        closure=0.7,
        hum=hum,
    )


SILENCE = Phoneme("-", (500, 1500, 2500), (0.0, 0.45, 0.1, 0.0), (0.10, 0.25), 2.0)

VOWELS = (
    _vowel("a", (780, 1250, 2550), (1.00, 0.50, 0.10, 0.35), 1.0),
    _vowel("ae", (680, 1750, 2500), (0.80, 0.80, 0.00, 0.55), 1.0),
    _vowel("e", (480, 1950, 2600), (0.50, 0.80, 0.00, 0.60), 0.9),
    _vowel("i", (280, 2300, 3050), (0.25, 1.00, 0.00, 0.90), 0.7),
    _vowel("er", (480, 1350, 1750), (0.35, 0.40, 0.40, 0.35), 0.8),
    _vowel("o", (480, 850, 2450), (0.60, 0.20, 0.80, 0.05), 0.9),
    _vowel("u", (310, 700, 2300), (0.20, 0.05, 1.00, 0.00), 0.7),
)

LABIALS = (
    _nasal("m", (250, 1000, 2200), (0.00, 0.50, 0.15, 0.00), 5.0),
    _plosive("p", (400, 800, 2200), (0.00, 0.50, 0.10, 0.00), 5.0, (900, 700)),
    _plosive("b", (300, 800, 2200), (0.00, 0.50, 0.10, 0.00), 5.0, (700, 500), 0.15),
)

CONSONANTS = (
    _fricative("f", (350, 1100, 2300), (0.08, 0.55, 0, 0.8), 3.5, 0.15, (4500, 2500)),
    _fricative(
        "v", (300, 1100, 2300), (0.08, 0.55, 0, 0.8), 3.5, 0.1, (4500, 2500), 0.3
    ),
    _glide("w", (290, 650, 2200), (0.10, 0.00, 1.00, 0.00), 3.0),
    _glide("r", (330, 1150, 1600), (0.25, 0.25, 0.60, 0.30), 1.5),
    _glide("l", (360, 1250, 2800), (0.40, 0.50, 0.00, 0.40), 1.0),
    _glide("j", (260, 2200, 3000), (0.18, 0.95, 0.00, 0.80), 1.5),
    _nasal("n", (280, 1650, 2600), (0.22, 0.55, 0.00, 0.55), 1.0),
    _fricative("s", (300, 1700, 2600), (0.12, 0.80, 0, 1.0), 2.5, 0.4, (6200, 900)),
    _fricative(
        "z", (300, 1700, 2600), (0.12, 0.80, 0, 1.0), 2.5, 0.3, (6000, 900), 0.3
    ),
    _fricative("sh", (300, 1700, 2400), (0.2, 0.15, 0.75, 0.8), 2.5, 0.5, (3200, 800)),
    _fricative("th", (350, 1400, 2600), (0.2, 0.55, 0, 0.6), 1.5, 0.12, (5500, 3000)),
    _plosive("t", (350, 1700, 2700), (0.18, 0.60, 0.00, 0.75), 1.2, (4500, 1500)),
    _plosive("d", (300, 1700, 2700), (0.20, 0.60, 0.00, 0.65), 1.2, (4000, 1500), 0.15),
    _plosive("k", (350, 1500, 2200), (0.30, 0.50, 0.00, 0.30), 0.6, (1900, 500)),
    Phoneme("h", (550, 1500, 2500), (0.5, 0.5, 0, 0.3), (0.06, 0.09), 0.3, breath=0.3),
)

PHONEMES = (SILENCE, *VOWELS, *LABIALS, *CONSONANTS)


def random_phones(
    rng: np.random.Generator, seconds: float, rate: float = 1.0
) -> list[Phone]:
    """Syllables in phrases with short pauses, from a little before 0 to past the end.

    Args:
      rng: source of all choices.
      seconds: to be covered.
      rate: speed of speech; 1 is about 4.5 syllables a second.

    Returns:
      Phones without gaps between them.
    """
    phones: list[Phone] = []
    # Begin at any moment of a phrase, as a clip out of a longer recording does.
    time = -rng.uniform(0.2, 0.6)
    while time < seconds + 0.2:
        for phoneme in _phrase(rng):
            stop = time + rng.uniform(*phoneme.duration) / rate
            phones.append(Phone(phoneme, time, stop))
            time = stop
    return phones


def random_words(rng: np.random.Generator, count: int) -> list[tuple[Phoneme, ...]]:
    """Different words of two or three syllables; more of them begin with the fewer."""
    words: dict[tuple[Phoneme, ...], None] = {}
    while len(words) < count:
        syllables = [_syllable(rng) for _ in range(rng.integers(2, 4))]
        words[tuple(chain.from_iterable(syllables))] = None
    return list(words)


def word_phones(
    rng: np.random.Generator,
    word: Sequence[Phoneme],
    seconds: float,
    rate: float = 1.0,
) -> list[Phone]:
    """A word between silences.

    Args:
      rng: source of the sounds' durations.
      word: its sounds.
      seconds: to be covered; the word lies in the middle.
      rate: speed of speech.

    Returns:
      Phones without gaps between them.
    """
    durations = [rng.uniform(*phoneme.duration) / rate for phoneme in word]
    first = (seconds - sum(durations)) / 2
    times = [*accumulate(durations, initial=first)]
    spoken = [Phone(p, *span) for p, span in zip(word, pairwise(times), strict=True)]
    before = Phone(SILENCE, min(0.0, first) - 0.2, first)
    after = Phone(SILENCE, times[-1], max(seconds, times[-1]) + 0.2)
    return [before, *spoken, after]


def _phrase(rng: np.random.Generator) -> list[Phoneme]:
    """Four to nine syllables, then a pause."""
    syllables = [_syllable(rng) for _ in range(rng.integers(4, 10))]
    return [*chain.from_iterable(syllables), SILENCE]


def _syllable(rng: np.random.Generator) -> list[Phoneme]:
    """A consonant, a vowel and now and then another consonant."""
    onsets = LABIALS if rng.random() < 0.33 else CONSONANTS
    syllable = [_choose(rng, onsets), _choose(rng, VOWELS)]
    if rng.random() < 0.25:
        syllable.append(_choose(rng, CONSONANTS))
    return syllable


def _choose(rng: np.random.Generator, options: tuple[Phoneme, ...]) -> Phoneme:
    return options[rng.integers(len(options))]
