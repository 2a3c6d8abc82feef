"""The clip record: what every builder writes and every system reads.

One record is one talking clip: the face crop of each frame as JPEG bytes and the
sound that goes with them. Builders differ in where clips come from; everything
downstream reads this one schema.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SAMPLE_RATE = 16_000
FPS = 25.0
LANDMARKS = 478  # points of MediaPipe's face mesh
MOUTH = ("opening", "width", "rounding", "teeth")  # ground truth of drawn talkers


@dataclass(frozen=True)
class Clip:
    """One talking clip; T frames, S samples.

    Attributes:
      id: unique within its dataset; no more than a file name.
      frames: T JPEG byte strings, RGB, one square size per dataset; b"" where no face
        was found.
      box: (T, 4) float32, x1, y1, x2, y2 of each crop in source pixels; 0 where no
        face was found.
      landmarks: (T, 478, 2) float32 in source pixels, or (0, 478, 2) if unknown.
      valid: (T,) bool, whether a face was found.
      fps: frames per second.
      audio: (S,) int16, mono at 16 kHz; sample 0 is heard when frame 0 is shown.
      speaker: name of the person; "" if unknown.
      label: word class, or -1.
      text: what is said; "" if unknown.
      source: where the clip is from, for people; never opened as a path.
      mouth: (T, 4) float32, the drawn mouth (`MOUTH`), each in [0, 1], or (0, 4).
    """

    id: str
    frames: Sequence[bytes]
    box: np.ndarray
    landmarks: np.ndarray
    valid: np.ndarray
    fps: float
    audio: np.ndarray
    speaker: str = ""
    label: int = -1
    text: str = ""
    source: str = ""
    mouth: np.ndarray | None = None


@dataclass(frozen=True)
class ClipMeta:
    """What is known of a clip without reading its frames.

    Attributes:
      id: of the clip.
      valid: (T,) bool, whether a face was found in each frame.
      samples: S, of sound at 16 kHz.
      fps: frames per second.
      speaker: name of the person; "" if unknown.
      label: word class, or -1.
    """

    id: str
    valid: np.ndarray
    samples: int
    fps: float
    speaker: str
    label: int


def features() -> Any:
    """The record as TFDS features (usable without TensorFlow)."""
    from tensorflow_datasets import features as f

    def array(*shape: int | None, dtype: type = np.float32) -> Any:
        return f.Tensor(shape=shape, dtype=dtype, encoding="bytes")

    return f.FeaturesDict(
        {
            "id": f.Text(),
            "frames": f.Sequence(f.Text()),
            "box": array(None, 4),
            "landmarks": array(None, LANDMARKS, 2),
            "valid": array(None, dtype=np.uint8),
            "fps": np.float32,
            "audio": array(None, dtype=np.int16),
            "speaker": f.Text(),
            "label": np.int32,
            "text": f.Text(),
            "source": f.Text(),
            "mouth": array(None, len(MOUTH)),
        }
    )


def to_example(clip: Clip) -> dict[str, Any]:
    """What a TFDS builder yields for a clip."""
    mouth = np.zeros((0, len(MOUTH))) if clip.mouth is None else clip.mouth
    return {
        "id": clip.id,
        "frames": list(clip.frames),
        "box": np.asarray(clip.box, np.float32),
        "landmarks": np.asarray(clip.landmarks, np.float32),
        "valid": np.asarray(clip.valid, np.uint8),
        "fps": np.float32(clip.fps),
        "audio": np.asarray(clip.audio, np.int16),
        "speaker": clip.speaker,
        "label": np.int32(clip.label),
        "text": clip.text,
        "source": clip.source,
        "mouth": np.asarray(mouth, np.float32),
    }


def from_example(example: Mapping[str, Any]) -> Clip:
    """The clip of a record as TFDS reads it."""

    def text(name: str) -> str:
        value = example[name]
        return value.decode() if isinstance(value, bytes) else str(value)

    return Clip(
        id=text("id"),
        frames=example["frames"],
        box=example["box"],
        landmarks=example["landmarks"],
        valid=np.asarray(example["valid"]).astype(bool),
        fps=float(example["fps"]),
        audio=example["audio"],
        speaker=text("speaker"),
        label=int(example["label"]),
        text=text("text"),
        source=text("source"),
        mouth=example["mouth"],
    )


def meta_of(clip: Clip) -> ClipMeta:
    """The part of a clip that example selection needs."""
    return ClipMeta(
        clip.id, clip.valid, len(clip.audio), clip.fps, clip.speaker, clip.label
    )
