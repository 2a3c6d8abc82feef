"""Small clip datasets, prepared as `lipsync build` does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from lipsync_jax.data import schema
from lipsync_jax.data.schema import Clip
from lipsync_jax.opencv import cv2


def shade(index: int) -> int:
    """Grey value of a frame."""
    return 3 * index + 1


def make_clip(
    name: str, frames: int = 24, samples: int | None = None, gaps: Sequence[int] = ()
) -> Clip:
    """Frame k is grey `shade(k)`, 8x8, lossless; frames in `gaps` have no face."""
    pictures = [np.full((8, 8, 3), shade(k), np.uint8) for k in range(frames)]
    encoded = [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]
    valid = ~np.isin(np.arange(frames), gaps)
    rng = np.random.default_rng(sum(name.encode()))
    samples = frames * 640 if samples is None else samples
    return Clip(
        id=name,
        frames=[
            data if good else b"" for data, good in zip(encoded, valid, strict=True)
        ],
        box=np.tile(np.float32([2, 3, 42, 53]), (frames, 1)) * valid[:, None],
        landmarks=np.zeros((0, schema.LANDMARKS, 2), np.float32),
        valid=valid,
        fps=25.0,
        audio=rng.integers(-9000, 9000, samples).astype(np.int16),
        speaker=f"speaker of {name}",
        label=len(name),
    )


class TinyClips(tfds.core.GeneratorBasedBuilder):
    """Clips given by the test."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, splits: Mapping[str, Sequence[Clip]], **kwargs: Any):
        self._splits = splits
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, features=schema.features())

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(name) for name in self._splits}

    def _generate_examples(self, split: str) -> Any:
        for clip in self._splits[split]:
            yield clip.id, schema.to_example(clip)


def prepare(folder: Path, shards: int = 1, **splits: Sequence[Clip]) -> Path:
    """Writes splits; returns the version folder."""
    builder = TinyClips(data_dir=folder, file_format="array_record", splits=splits)
    config = tfds.download.DownloadConfig(num_shards=shards)
    builder.download_and_prepare(download_config=config)
    return Path(builder.data_path)
