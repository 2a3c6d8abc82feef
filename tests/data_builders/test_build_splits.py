"""Who is in which split."""

from pathlib import Path

import pytest

from data_builders.splits import by_list, by_speaker, disjoint, find_videos
from data_builders.video import Video
from lipsync_jax.errors import DataError

SHARES = {"validation": 0.1, "test": 0.2}


def videos(*names):
    return [Video(Path(name), name, speaker=name.split("/")[0]) for name in names]


def splits(assigned):
    found = {}
    for video in assigned:
        found.setdefault(video.split, set()).add(video.speaker)
    return found


def test_speakers_are_divided_and_none_is_in_two_splits():
    many = videos(*(f"s{i % 20}/{i}.mp4" for i in range(100)))
    found = splits(by_speaker(many, SHARES, seed=0))
    assert {split: len(part) for split, part in found.items()} == {
        "train": 14,
        "validation": 2,
        "test": 4,
    }
    assert len(set.union(*found.values())) == 20
    assert found == splits(by_speaker(many[::-1], SHARES, seed=0))
    assert found != splits(by_speaker(many, SHARES, seed=1))
    assert splits(by_speaker(many, {}, seed=0)).keys() == {"train"}


def test_few_speakers():
    three = videos("a/1", "b/1", "c/1")
    assert {len(part) for part in splits(by_speaker(three, SHARES, 0)).values()} == {1}
    with pytest.raises(DataError, match=r"2 speakers .* too few for train, validation"):
        by_speaker(three[:2], SHARES, 0)


def test_finding_videos(tmp_path):
    for name in ("x/y z/ü.MP4", "x/b.webm", "top.mov", "x/._b.mp4", "x/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "x" / "gone.mp4").symlink_to(tmp_path / "nowhere")
    found = {video.name: video.speaker for video in find_videos(tmp_path)}
    assert found == {"top.mov": "top", "x/b.webm": "x", "x/y z/ü.MP4": "x/y z"}


def test_file_lists(tmp_path):
    known = videos("a/1.mp4", "a/2.mp4", "b c/3 4.mp4")
    path = tmp_path / "train.txt"
    path.write_text("a/1 extra tokens\n\na/2.mp4\nb c/3 4\na/1\n", "utf-8")
    chosen = by_list(path, "train", known)
    assert [video.name for video in chosen] == ["a/1.mp4", "a/2.mp4", "b c/3 4.mp4"]
    assert {video.split for video in chosen} == {"train"}
    path.write_text("a/1\n" + "".join(f"no/{i}\n" for i in range(5)))
    with pytest.raises(DataError) as error:
        by_list(path, "train", known)
    assert str(error.value) == (
        f"{path}: names 6 videos, 5 of them are not there: no/0, no/1, no/2, …; add "
        "them, or take them off the list"
    )


def test_a_video_in_two_lists(tmp_path):
    known = videos("a/1.mp4", "a/2.mp4")
    (tmp_path / "train").write_text("a/1\na/2")
    (tmp_path / "val").write_text("a/2")
    chosen = [
        *by_list(tmp_path / "train", "train", known),
        *by_list(tmp_path / "val", "validation", known),
    ]
    with pytest.raises(DataError, match=r"a/2\.mp4: is in the lists of both train and"):
        disjoint(chosen)


@pytest.mark.parametrize(
    "content, message",
    [(b"", "names no video"), (b"\xff\xfe\x00", "is not a text file in UTF-8")],
)
def test_lists_that_are_none(tmp_path, content, message):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        by_list(path, "train", [])
    with pytest.raises(DataError, match="file list cannot be read: No such file"):
        by_list(tmp_path / "absent", "train", [])
