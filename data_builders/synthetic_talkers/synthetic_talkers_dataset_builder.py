"""TFDS builder of the synthetic talkers; needs neither a download nor TensorFlow."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow_datasets as tfds

from data_builders.synthetic_talkers.clip import SPLITS, ClipRecipe, make_clip
from lipsync_jax.data.schema import FPS, Clip, features, to_example
from lipsync_jax.errors import OptionError
from lipsync_jax.opencv import cv2


@dataclass(eq=False, kw_only=True)
class TalkersConfig(tfds.core.BuilderConfig):
    """What the dataset holds; its name says it all, so that no two collide.

    Attributes:
      name: made from the rest.
      speakers_train: people in the split "train".
      speakers_validation: people in the split "validation".
      speakers_test: people in the split "test".
      clips_per_speaker: clips of each person.
      seconds: length of a clip, rounded to whole video frames.
      size: height and width of the face crops in pixels.
      words: each clip says one of so many words, which is its label; 0 for running
        speech. LRW's clips are 1.16 seconds long, the word in the middle.
      same_people: "validation" and "test" show people of "train" who say other things,
        for networks that learn a person.
      seed: of everything random.

    Raises:
      OptionError: a value that makes no sense.
    """

    name: str = ""
    speakers_train: int = 64
    speakers_validation: int = 8
    speakers_test: int = 8
    clips_per_speaker: int = 4
    seconds: float = 4.0
    size: int = 160
    words: int = 0
    same_people: bool = False
    seed: int = 0

    def __post_init__(self):
        least = {f"speakers_{split}": 1 for split in SPLITS}
        least |= {"clips_per_speaker": 1, "seconds": 1 / FPS, "size": 32}
        least |= {"words": 0, "seed": 0}
        for option, value in least.items():
            if getattr(self, option) < value:
                raise OptionError(
                    f"{option} {getattr(self, option)}: must be at least {value:g}"
                )
        people = "-".join(str(self.speakers(split)) for split in SPLITS)
        words = f"_{self.words}words" if self.words else ""
        same = "_samepeople" if self.same_people else ""
        self.name = (
            f"{people}x{self.clips_per_speaker}_{self.seconds:g}s_{self.size}px"
            f"{words}{same}_seed{self.seed}"
        )

    def speakers(self, split: str) -> int:
        """People in a split."""
        return getattr(self, f"speakers_{split}")

    def recipes(self, split: str) -> list[ClipRecipe]:
        """The clips of a split."""
        return [
            ClipRecipe(
                *(self.seed, split, speaker, number),
                *(self.seconds, self.size, self.words, self.same_people),
            )
            for speaker in range(self.speakers(split))
            for number in range(self.clips_per_speaker)
        ]


class Builder(tfds.core.GeneratorBasedBuilder):
    """Drawn people who speak; in one split only, unless told otherwise."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        config: TalkersConfig | None = None,
        processes: int = 1,
        data_dir: Any = None,
        version: Any = None,
        file_format: str = "array_record",
        **content: Any,
    ):
        """Says what to build; `download_and_prepare` does it.

        Args:
          config: what the dataset holds; or give its attributes as arguments.
          processes: that draw clips side by side; no influence on the result.
          data_dir: where datasets are kept.
          version: of the dataset; None is the newest.
          file_format: of the records.
          **content: see `TalkersConfig`.

        Raises:
          OptionError: a value that makes no sense.
        """
        if processes < 1:
            raise OptionError(f"processes {processes}: must be at least 1")
        self._processes = processes
        super().__init__(
            config=config or TalkersConfig(**content),
            data_dir=data_dir,
            version=version,
            file_format=file_format,
        )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Drawn people who speak a synthetic language.",
            features=features(),
            license="Apache-2.0; generated, shows no real person",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for clip in _make_clips(self.builder_config.recipes(split), self._processes):
            yield clip.id, to_example(clip)


def _make_clips(recipes: list[ClipRecipe], processes: int) -> Iterator[Clip]:
    """The clips in the order of their recipes."""
    if processes == 1:
        yield from map(make_clip, recipes)
        return
    # New processes instead of forks: JAX's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, cv2.setNumThreads, (1,)) as pool:
        yield from pool.imap(make_clip, recipes)
