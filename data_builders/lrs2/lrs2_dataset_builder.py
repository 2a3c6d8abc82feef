"""lrs2: the LRS2-BBC dataset, sentences from British television.

Not downloadable: the BBC grants it to researchers on application, under an agreement
that forbids commercial use and passing it on; this covers what is built from it.

The folder as it comes from the BBC:

    mvlrs_v1/main/<programme>/<number>.mp4 and .txt
    mvlrs_v1/pretrain/<programme>/<number>.mp4 and .txt   (optional)
    train.txt, val.txt, test.txt, pretrain.txt            (beside mvlrs_v1 or in it)
"""

from pathlib import Path

from data_builders.builder import ClipBuilder
from data_builders.settings import Settings
from data_builders.splits import check_folder, contents, missing_message, read_lines
from data_builders.video import Video
from lipsync_jax.errors import DataError

# split -> file list, folder of the videos
LISTS = {
    "train": ("train.txt", "main"),
    "validation": ("val.txt", "main"),
    "test": ("test.txt", "main"),
    "pretrain": ("pretrain.txt", "pretrain"),
}


class Builder(ClipBuilder):
    """LRS2-BBC, one clip per video, with its text. See `ClipBuilder`."""

    # The original takes every video of more than 15 frames, cuts and gaps included.
    SETTINGS = Settings(whole=True, min_seconds=16 / 25, min_faces=0.0)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "LRS2-BBC is for research only and has to be applied for at "
        "https://www.robots.ox.ac.uk/~vgg/data/lip_reading/lrs2.html"
    )

    def videos(self) -> list[Video]:
        """The videos of each file list that is there; train.txt must be."""
        check_folder(self.source)
        root = self.source
        if root.name != "mvlrs_v1":
            root = root / "mvlrs_v1"
        if not (root / "main").is_dir():
            raise DataError(
                f"{self.source}: is not the LRS2 tree: expected mvlrs_v1/main in it, "
                f"found: {contents(self.source)}. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        videos = []
        for split, (name, folder) in LISTS.items():
            path = next(
                (p for p in (root.parent / name, root / name) if p.is_file()), None
            )
            if path is not None:
                videos += _listed(path, split, root / folder)
            elif split == "train":
                raise DataError(
                    f"{root.parent}: train.txt is missing, here and in {root.name}; "
                    f"found: {contents(root.parent)}. "
                    f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                )
        return videos


def _listed(path: Path, split: str, folder: Path) -> list[Video]:
    """The videos of one file list: lines of <programme>/<number> and other tokens."""
    names = list(dict.fromkeys(line.split()[0] for line in read_lines(path)))
    videos = {name: folder / f"{name}.mp4" for name in names}
    absent = [name for name, video in videos.items() if not video.is_file()]
    if absent:
        raise DataError(missing_message(path, absent, len(names) - len(absent)))
    return [
        Video(video, f"{folder.name}/{name}", split, text=_text(video))
        for name, video in videos.items()
    ]


def _text(video: Path) -> str:
    """What is said: the first line of the .txt beside a video, after "Text:"."""
    path = video.with_suffix(".txt")
    if not path.is_file():
        return ""
    first, _, _ = path.read_text("utf-8", errors="replace").partition("\n")
    return first.removeprefix("Text:").strip()
