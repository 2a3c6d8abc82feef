"""What the demo's networks have learnt, measured on people they never saw."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from data_builders.synthetic_talkers.measure import mouth_opening
from lipsync_jax.data.frames import read_frames
from lipsync_jax.data.pipeline import eval_batches
from lipsync_jax.data.schema import Clip
from lipsync_jax.data.source import ClipSource
from lipsync_jax.evaluation.offset import av_offset
from lipsync_jax.models_io import Model
from lipsync_jax.nn.pixels import from_levels
from lipsync_jax.systems.expert import examples as expert_examples
from lipsync_jax.systems.expert.losses import cosine
from lipsync_jax.systems.expert.model import mouths
from lipsync_jax.systems.wav2lip import examples as wav2lip_examples
from lipsync_jax.systems.wav2lip.synthesize import Synthesizer

MAX_SHIFT = 10  # frames by which sound is shifted, either way
TRAINED_SHIFT = -1  # training shows frame j with the sound of frame j - 1


def mouth_following(
    synthesizer: Synthesizer, source: ClipSource
) -> tuple[float, float]:
    """Whether redrawn mouths do what the speech that drives them asks for.

    Every clip is driven by the speech of another speaker's clip, whose true mouth
    opening is known. The opening of the redrawn mouth is measured in its pixels
    (`synthetic_talkers.measure`).

    Returns:
      Correlation of the measured with the true opening over time, averaged over clips:
      for the redrawn mouths, and for the mouths as they were.
    """
    ours, before = [], []
    for clip, driver in _strangers(source):
        crops = read_frames(clip, 0, len(clip.frames), synthesizer.size)
        drawn = _redraw(synthesizer, crops, _sound(driver), clip.fps)
        wanted = driver.mouth[: len(drawn), 0]
        ours.append(_correlation(mouth_opening(drawn), wanted))
        before.append(_correlation(mouth_opening(crops[: len(drawn)]), wanted))
    return float(np.mean(ours)), float(np.mean(before))


def mouth_l1_ratio(generator: Model, source: ClipSource, batches: int = 16) -> float:
    """Error of redrawn mouths over that of copying the reference's mouth.

    Mean absolute difference to the true pixels around the mouth, in training's own
    examples: a masked window, a reference from elsewhere in the clip, and the window's
    sound.
    """
    examples = wav2lip_examples.examples(generator.module.resolution)

    @jax.jit
    def errors(variables, batch):
        target, reference = (
            from_levels(batch["target"]),
            from_levels(batch["reference"]),
        )
        size = target.shape[2]
        masked = target.at[:, :, size // 2 :].set(0)
        mouth = slice(round(0.58 * size), None), slice(size // 4, 3 * size // 4)
        face = jnp.concatenate([masked, reference], axis=-1)
        drawn = generator.module.apply(variables, batch["mels"][..., None], face)
        return jnp.stack(
            [
                jnp.abs(picture - target)[:, :, *mouth].mean()
                for picture in (drawn, reference)
            ]
        )

    stream = eval_batches(source, examples, batch_size=4, batches=batches, seed=1)
    total = sum(np.asarray(errors(generator.variables, batch)) for batch in stream)
    stream.close()
    return float(total[0] / total[1])


def expert_accuracy(expert: Model, source: ClipSource, batches: int = 16) -> float:
    """Share of windows, half of them out of sync, that the expert judges rightly."""
    examples = expert_examples.examples(expert.module.resolution)

    @jax.jit
    def right(variables, batch):
        inputs = batch["mel"][..., None], mouths(from_levels(batch["face"]))
        probable = cosine(*expert.module.apply(variables, *inputs)) > 0.5
        return (probable == (batch["label"] > 0.5)).mean()

    stream = eval_batches(source, examples, batch_size=32, batches=batches, seed=1)
    shares = [float(right(expert.variables, batch)) for batch in stream]
    stream.close()
    return float(np.mean(shares))


def offsets_recovered(expert: Model, source: ClipSource, seed: int = 0) -> float:
    """Share of clips whose sound, shifted by whole frames, is found out exactly."""
    rng = np.random.default_rng(seed)
    exact = []
    for clip in source:
        crops = read_frames(clip, 0, len(clip.frames), expert.module.resolution)
        shift = int(rng.integers(-MAX_SHIFT, MAX_SHIFT + 1))
        sound = _delayed(_sound(clip), round(shift * 16000 / clip.fps))
        found = av_offset(expert.module, expert.variables, crops, sound, clip.fps)
        exact.append(found.frames == shift)
    return float(np.mean(exact))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; a mouth that does not move correlates with nothing."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _strangers(source: ClipSource) -> Iterator[tuple[Clip, Clip]]:
    """Every clip, with one of another speaker."""
    speakers = [meta.speaker for meta in source.meta]
    for index, speaker in enumerate(speakers):
        others = [i for i, other in enumerate(speakers) if other != speaker]
        yield source[index], source[others[index % len(others)]]


def _redraw(
    synthesizer: Synthesizer, crops: np.ndarray, sound: np.ndarray, fps: float
) -> np.ndarray:
    windows = synthesizer.windows([sound], fps, TRAINED_SHIFT)
    mels = np.stack(list(windows))[: len(crops)]
    size = synthesizer.batch_size
    drawn = [
        np.asarray(
            synthesizer(crops[i : i + size][: len(mels) - i], mels[i : i + size])
        )
        for i in range(0, len(mels), size)
    ]
    return np.concatenate(drawn)[: len(mels)]


def _sound(clip: Clip) -> np.ndarray:
    return clip.audio.astype(np.float32) / 32768


def _delayed(sound: np.ndarray, samples: int) -> np.ndarray:
    """The sound `samples` later (earlier if negative), of the same length."""
    if samples >= 0:
        return np.pad(sound, (samples, 0))[: len(sound)]
    return np.pad(sound[-samples:], (0, -samples))
