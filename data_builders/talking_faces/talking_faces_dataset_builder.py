"""talking_faces: any folder of videos of talking people.

The folder may have any depth and any names. Long videos are cut at shot changes,
where the face changes or is gone, and into clips of at most some seconds. Splits
come from file lists, or whole speakers are put into train, validation and test.

Terms: those of your videos; nothing is downloaded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_builders.builder import ClipBuilder
from data_builders.splits import by_list, by_speaker, disjoint, find_videos
from data_builders.video import Video

SHARES = {"validation": 0.05, "test": 0.05}


class Builder(ClipBuilder):
    """Clips of the largest face in each shot of any videos.

    Args:
        lists: split -> file list (see `splits.by_list`); None divides by speaker:
            the folder that a video lies in.
        shares: split -> share of the speakers, where they are divided.
        seed: for another division of the speakers.
        **options: see `ClipBuilder`.
    """

    def __init__(
        self,
        *,
        lists: Mapping[str, Path] | None = None,
        shares: Mapping[str, float] = SHARES,
        seed: int = 0,
        **options,
    ):
        self._lists = lists
        self._shares = shares
        self._seed = seed
        super().__init__(**options)

    def videos(self) -> list[Video]:
        """Every video of the folder, or those on the lists."""
        videos = find_videos(self.source)
        if not self._lists:
            return videos
        return disjoint(
            video
            for split, path in self._lists.items()
            for video in by_list(path, split, videos)
        )

    def assign(self, usable: Sequence[Video]) -> list[Video]:
        """Divides the speakers that have clips, unless lists say who goes where."""
        if self._lists:
            return list(usable)
        return by_speaker(usable, self._shares, self._seed)
