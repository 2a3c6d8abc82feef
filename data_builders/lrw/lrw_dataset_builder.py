"""lrw: Lip Reading in the Wild, single words from British television.

Not downloadable: the BBC grants it to researchers on application, under an agreement
that forbids commercial use and passing it on; this covers what is built from it.

The folder as it comes from the BBC:

    lipread_mp4/<WORD>/<split>/<WORD>_<number>.mp4   500 words; train, val, test
"""

from data_builders.builder import ClipBuilder
from data_builders.settings import Settings
from data_builders.splits import check_folder, contents
from data_builders.video import Video
from lipsync_jax.errors import DataError

WORDS = 500
SPLITS = {"train": "train", "val": "validation", "test": "test"}


class Builder(ClipBuilder):
    """LRW, one clip per video; the label is the word's place in the sorted list."""

    SETTINGS = Settings(whole=True, min_seconds=16 / 25, min_faces=0.0)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "LRW is for research only and has to be applied for at "
        "https://www.robots.ox.ac.uk/~vgg/data/lip_reading/lrw1.html"
    )

    def videos(self) -> list[Video]:
        """The videos of every word."""
        check_folder(self.source)
        root = self.source
        if root.name != "lipread_mp4":
            root = root / "lipread_mp4"
        words = sorted({path.parts[-3] for path in root.glob("*/*/*.mp4")})
        videos = [
            Video(path, f"{word}/{path.name}", split, label=label, text=word)
            for label, word in enumerate(words)
            for folder, split in SPLITS.items()
            for path in sorted((root / word / folder).glob("*.mp4"))
        ]
        if not videos:
            raise DataError(
                f"{self.source}: is not the LRW tree: expected "
                f"lipread_mp4/WORD/train/WORD_00001.mp4 and the like, found: "
                f"{contents(self.source)}. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        if len(words) != WORDS:
            self.note(
                f"{root}: {len(words)} of {WORDS} words; labels count those found"
            )
        return videos
