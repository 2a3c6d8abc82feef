"""Which videos are for training, which for validation and test."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from data_builders.video import Video
from lipsync_jax.errors import DataError

VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"),
        *(".ts", ".mts", ".m2ts", ".flv", ".wmv", ".ogv"),
    )
)
FIRST_FEW = 3


def find_videos(source: Path) -> list[Video]:
    """Every video file below a folder, in alphabetical order.

    The speaker is the folder that the file lies in; files right in `source` are
    taken for one speaker each.

    Raises:
        DataError: there is no such folder, or no video in it.
    """
    check_folder(source)
    found = []
    for path in sorted(source.rglob("*")):
        hidden = path.name.startswith(".")  # macOS leaves "._name.mp4" on disks
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not hidden:
            name = path.relative_to(source)
            speaker = path.stem if name.parent == Path() else name.parent.as_posix()
            found.append(Video(path, name.as_posix(), speaker=speaker))
    if not found:
        raise DataError(
            f"{source}: no video in it or below ({', '.join(sorted(VIDEO_SUFFIXES))}); "
            f"found: {contents(source)}"
        )
    return found


def check_folder(source: Path) -> None:
    """Raises DataError if there is no such folder."""
    if not source.is_dir():
        what = "is a file" if source.exists() else "no such folder"
        raise DataError(f"{source}: {what}; --source takes the dataset's folder")


def contents(folder: Path) -> str:
    """The first few names in a folder, for error messages."""
    names = sorted(os.listdir(folder))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "nothing") + more


def by_list(path: Path, split: str, videos: Sequence[Video]) -> list[Video]:
    """The videos that a file list names, assigned to a split.

    Each line names a file below the source folder, with or without its extension.
    As in the original, a line counts up to its first space, unless all of it is a
    name.

    Raises:
        DataError: the list cannot be read, is empty, or names absent files.
    """
    known = {video.name: video for video in videos}
    for video in videos:
        known.setdefault(Path(video.name).with_suffix("").as_posix(), video)
    chosen: dict[str, Video] = {}
    absent = []
    for line in read_lines(path):
        video = known.get(line) or known.get(line.split()[0])
        if video is None:
            absent.append(line.split()[0])
        else:
            chosen[video.name] = replace(video, split=split)
    if absent:
        raise DataError(missing_message(path, absent, len(chosen)))
    return list(chosen.values())


def read_lines(path: Path) -> list[str]:
    """The lines of a file list, without blank ones.

    Raises:
        DataError: it cannot be read, or names nothing.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not a text file in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: file list cannot be read: {error.strerror}") from None
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise DataError(f"{path}: names no video; expected one name a line")
    return lines


def missing_message(path: Path, absent: Sequence[str], present: int) -> str:
    """What to say of a list that names files that are not there."""
    few = ", ".join(absent[:FIRST_FEW])
    more = ", …" if len(absent) > FIRST_FEW else ""
    return (
        f"{path}: names {present + len(absent)} videos, {len(absent)} of them are not "
        f"there: {few}{more}; add them, or take them off the list"
    )


def disjoint(splits: Iterable[Video]) -> list[Video]:
    """The videos of all lists together.

    Raises:
        DataError: one is in two lists.
    """
    seen: dict[str, Video] = {}
    for video in splits:
        before = seen.setdefault(video.name, video)
        if before.split != video.split:
            raise DataError(
                f"{video.name}: is in the lists of both {before.split} and "
                f"{video.split}; no model can be judged by what it has learnt from"
            )
    return list(seen.values())


def by_speaker(
    videos: Sequence[Video], shares: dict[str, float], seed: int
) -> list[Video]:
    """Assigns whole speakers to splits; who goes where depends on the seed.

    Args:
        videos: with speakers.
        shares: split -> share of the speakers; at least one each. The rest is
            "train".
        seed: for another division.

    Raises:
        DataError: there are fewer speakers than splits.
    """
    order = sorted(
        {video.speaker for video in videos},
        key=lambda name: sha256(f"{seed} {name}".encode()).digest(),
    )
    split_of: dict[str, str] = {}
    for split, share in shares.items():
        first = len(split_of)
        chosen = order[first : first + max(1, round(share * len(order)))]
        split_of |= dict.fromkeys(chosen, split)
    if len(split_of) >= len(order):
        raise DataError(
            f"{len(order)} speakers with usable clips ({', '.join(order[:FIRST_FEW])}) "
            f"are too few for train, {', '.join(shares)}; a folder of videos is one "
            "speaker: add some, set the share of a split to 0, or give --train_list "
            "and --val_list"
        )
    return [replace(v, split=split_of.get(v.speaker, "train")) for v in videos]
