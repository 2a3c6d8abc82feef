"""The baseline of the loader benchmark: files re-read and sound re-analysed each time.

What the published training scripts do for each item, in a single process: list the
clip's folder, read and resize whole JPEG crops, load the sound, resample it, take the
mel spectrogram of all of it and keep sixteen columns.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import librosa
import numpy as np
import scipy.signal
import soundfile

from lipsync_jax.audio.mel import WAV2LIP, mel_basis
from lipsync_jax.data.frames import decode
from lipsync_jax.data.schema import SAMPLE_RATE, Clip
from lipsync_jax.opencv import cv2

WINDOW, MEL_STEPS, MIN_FRAMES = 5, 16, 16


def write_files(clips: Sequence[Clip], folder: Path, wav_rate: int) -> None:
    """Writes clips as the published preprocessing leaves them.

    Crops are enlarged to their size in the video; the sound is brought to `wav_rate`.
    """
    for clip in clips:
        target = folder / clip.id
        target.mkdir(parents=True)
        for index in np.flatnonzero(clip.valid):
            x1, y1, x2, y2 = np.rint(clip.box[index]).astype(int)
            crop = cv2.resize(decode(clip.frames[index]), (x2 - x1, y2 - y1))
            path = str(target / f"{index}.jpg")
            cv2.imwrite(path, cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
        sound = clip.audio.astype(np.float32) / 32768
        sound = librosa.resample(sound, orig_sr=SAMPLE_RATE, target_sr=wav_rate)
        soundfile.write(target / "audio.wav", sound, wav_rate, subtype="PCM_16")


def naive_batches(
    folder: Path, system: str, batch_size: int, resolution: int, resampler: str
) -> Iterator[dict[str, np.ndarray]]:
    """Endless batches of float32 arrays, channels first, as the originals feed them.

    Args:
      folder: what `write_files` has written.
      system: "expert" or "wav2lip".
      batch_size: items per batch.
      resolution: side of the network's pictures.
      resampler: `res_type` of librosa.
    """
    rng = np.random.default_rng(0)
    item = {"expert": _expert_item, "wav2lip": _wav2lip_item}[system]
    clips = sorted(folder.iterdir())
    while True:
        items: list[dict[str, np.ndarray]] = []
        while len(items) < batch_size:
            clip = clips[rng.integers(len(clips))]
            if (found := item(clip, resolution, resampler, rng)) is not None:
                items.append(found)
        yield {name: np.stack([i[name] for i in items]) for name in items[0]}


def _expert_item(
    clip: Path, resolution: int, resampler: str, rng: np.random.Generator
) -> dict[str, np.ndarray] | None:
    if (draw := _draw(clip, rng)) is None:
        return None
    start, wrong = draw
    in_sync = bool(rng.integers(2))
    pixels = _window(clip, start if in_sync else wrong, resolution)
    mel = _mel(clip / "audio.wav", resampler)
    piece = _piece(mel, start)
    if pixels is None or piece is None:
        return None
    face = pixels.transpose(0, 3, 1, 2).reshape(-1, resolution, resolution)
    return {
        "face": face[:, resolution // 2 :].astype(np.float32),
        "mel": piece.astype(np.float32)[None],
        "label": np.float32(in_sync),
    }


def _wav2lip_item(
    clip: Path, resolution: int, resampler: str, rng: np.random.Generator
) -> dict[str, np.ndarray] | None:
    if (draw := _draw(clip, rng)) is None:
        return None
    start, wrong = draw
    target = _window(clip, start, resolution)
    reference = _window(clip, wrong, resolution)
    mel = _mel(clip / "audio.wav", resampler)
    pieces = [_piece(mel, frame) for frame in range(start - 1, start + WINDOW - 1)]
    if target is None or reference is None or start < 1:
        return None
    if any(piece is None for piece in pieces):
        return None
    target = target.transpose(3, 0, 1, 2)
    masked = target.copy()
    masked[:, :, resolution // 2 :] = 0
    inputs = np.concatenate([masked, reference.transpose(3, 0, 1, 2)])
    mels = np.stack(pieces).astype(np.float32)[:, None]
    return {
        "x": inputs.astype(np.float32),
        "mels": mels,
        "mel": mels[1],
        "y": target.astype(np.float32),
    }


def _draw(clip: Path, rng: np.random.Generator) -> tuple[int, int] | None:
    """Two different frames of a clip."""
    names = list(clip.glob("*.jpg"))
    if len(names) < MIN_FRAMES:
        return None
    first, second = rng.choice(len(names), 2, replace=False)
    return int(names[first].stem), int(names[second].stem)


def _window(clip: Path, start: int, resolution: int) -> np.ndarray | None:
    """(5, H, W, 3) float64 in [0, 1], or None if a frame is missing."""
    paths = [clip / f"{frame}.jpg" for frame in range(start, start + WINDOW)]
    if not all(path.is_file() for path in paths):
        return None
    images = [cv2.imread(str(path)) for path in paths]
    return np.stack([cv2.resize(i, (resolution, resolution)) for i in images]) / 255.0


def _mel(path: Path, resampler: str) -> np.ndarray:
    """Spectrogram (80, T) of a whole file."""
    spec = WAV2LIP
    wav, _ = librosa.load(path, sr=spec.sample_rate, res_type=resampler)
    wav = scipy.signal.lfilter([1, -spec.preemphasis], [1], wav)
    spectrum = librosa.stft(
        wav, n_fft=spec.n_fft, hop_length=spec.hop, pad_mode="reflect"
    )
    mel = mel_basis(spec) @ np.abs(spectrum)
    scaled = (20 * np.log10(np.maximum(1e-5, mel)) - spec.ref_db + 100) / 100
    return np.clip(8 * scaled - 4, -4, 4)


def _piece(mel: np.ndarray, frame: int) -> np.ndarray | None:
    column = int(80 * (frame / 25.0))
    piece = mel[:, column : column + MEL_STEPS] if frame >= 0 else mel[:, :0]
    return piece if piece.shape[1] == MEL_STEPS else None
