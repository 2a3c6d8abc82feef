"""Builds that stop half way, and videos that cannot be used."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import work
from data_builders.settings import Settings
from data_builders.store import Store
from data_builders.talking_faces.talking_faces_dataset_builder import Builder
from data_builders.video import Rejection, Video
from lipsync_jax.data.schema import from_example
from lipsync_jax.errors import DataError, OutputError

SETTINGS = Settings(size=64, detector="haar")


def prepare(source, data_dir, **options):
    """Builds in this process; returns the lines a person would read."""
    notes = []
    builder = Builder(
        source=source,
        data_dir=data_dir,
        settings=options.pop("settings", SETTINGS),
        processes=1,
        note=notes.append,
        **options,
    )
    builder.download_and_prepare()
    return notes


def records(data_dir):
    """id -> clip of all splits, read without the builder."""
    builder = tfds.builder_from_directory(data_dir / "talking_faces" / "1.0.0")
    return {
        (split, clip.id): clip
        for split in builder.info.splits
        for clip in map(from_example, builder.as_data_source(split))
    }


def hidden(data_dir):
    return list(data_dir.glob("talking_faces/.partial-*"))


@pytest.fixture
def read_videos(monkeypatch):
    """Names of the videos that are read, in order."""
    names = []
    read_clips = work.read_clips

    def counted(video, *args):
        names.append(video.name)
        return read_clips(video, *args)

    monkeypatch.setattr(work, "read_clips", counted)
    return names


def test_a_stopped_build_continues_and_ends_the_same(people, tmp_path, read_videos):
    prepare(people, tmp_path / "once")
    assert sorted(read_videos) == sorted(set(read_videos)) and len(read_videos) == 3
    read_videos.clear()

    def stop(done, total, clips):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(people, tmp_path / "twice", progress=stop)
    assert len(read_videos) == 1
    assert not list(tmp_path.glob("twice/**/1.0.0")) and hidden(tmp_path / "twice")
    notes = prepare(people, tmp_path / "twice")
    assert "1 of 3 videos done before" in notes
    assert len(read_videos) == len(set(read_videos)) == 3
    assert not hidden(tmp_path / "twice")
    once, twice = records(tmp_path / "once"), records(tmp_path / "twice")
    assert once.keys() == twice.keys() and len(once) == 3
    for key, clip in once.items():
        assert list(clip.frames) == list(twice[key].frames)
        np.testing.assert_array_equal(clip.audio, twice[key].audio)


def test_a_killed_build_leaves_nothing_that_looks_finished(people, tmp_path):
    """SIGKILL while the second video is read; two worker processes."""
    for number in range(8):
        shutil.copy(people / "bob" / "ω.mp4", people / "bob" / f"{number}.mp4")
    data = tmp_path / "data"
    command = [sys.executable, "-m", "lipsync_jax.cli.main", "build", "talking_faces"]
    command += ["--source", people, "--data_dir", data, "--detector", "haar"]
    command += ["--size", "64", "--processes", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True)
    while process.poll() is None and not list(data.glob("*/.partial-*/*.json")):
        time.sleep(0.01)
    children = _children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while any(map(_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, children))  # workers end with their parent
    assert not (data / "talking_faces" / "1.0.0").exists()
    (data / "talking_faces" / "incomplete.ABC_1.0.0").mkdir()  # as TFDS leaves it
    notes = prepare(people, data)
    assert any("of 11 videos done before" in line for line in notes)
    assert len(records(data)) == 11
    assert sorted(p.name for p in (data / "talking_faces").iterdir()) == [
        ".lock",
        "1.0.0",
    ]


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_other_settings_do_not_share_finished_videos(people, tmp_path, read_videos):
    def stop(done, total, clips):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(people, tmp_path, progress=stop)
    prepare(people, tmp_path, settings=Settings(size=32, detector="haar"))
    assert len(read_videos) == 1 + 3


def test_a_prepared_dataset_is_kept_and_never_mixed(people, tmp_path, read_videos):
    prepare(people, tmp_path)
    read_videos.clear()
    assert "was prepared before" in prepare(people, tmp_path)[0]
    assert not read_videos
    with pytest.raises(DataError, match="was built with size 64, not 96; delete"):
        prepare(people, tmp_path, settings=Settings(size=96, detector="haar"))
    shutil.copy(people / "bob" / "ω.mp4", people / "bob" / "new.mp4")
    with pytest.raises(DataError, match="was built of other videos than there are"):
        prepare(people, tmp_path)
    (tmp_path / "talking_faces" / "1.0.0" / "report.json").unlink()
    with pytest.raises(DataError, match=r"without a readable report\.json; delete"):
        prepare(people, tmp_path)


def test_bad_videos_are_skipped_and_reported(people, tmp_path, monkeypatch):
    (people / "bob" / "text.mp4").write_text("not a video")
    (people / "bob" / "empty.mp4").touch()
    shutil.copy(people / "bob" / "ω.mp4", people / "bob" / "odd.mp4")
    read_clips = work.read_clips

    def surprised(video, *args):
        if video.name == "bob/odd.mp4":
            yield from read_clips(video, *args)  # what came before does not count
            raise ZeroDivisionError("odd")
        yield from read_clips(video, *args)

    monkeypatch.setattr(work, "read_clips", surprised)
    notes = "\n".join(prepare(people, tmp_path))
    assert "left out, unreadable: 2 (for example bob/empty.mp4)" in notes
    assert "left out, failed: 1 (for example bob/odd.mp4): ZeroDivisionError" in notes
    clips = records(tmp_path)
    assert len(clips) == 3
    path = tmp_path / "talking_faces" / "1.0.0" / "report.json"
    report = json.loads(path.read_text("utf-8"))
    assert report["videos"] == 6 and report["settings"]["size"] == 64
    assert {row["video"] for row in report["rejected"]} == {
        "bob/empty.mp4",
        "bob/odd.mp4",
        "bob/text.mp4",
    }
    assert {name: part["clips"] for name, part in report["splits"].items()} == {
        "train": 1,
        "validation": 1,
        "test": 1,
    }


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.mp4").write_text("not a video")
    with pytest.raises(DataError) as error:
        prepare(source, tmp_path)
    assert str(error.value).startswith(
        "no usable clip for talking_faces in 1 videos: left out, unreadable: 1 (for "
        "example a.mp4): "
    )


def test_one_build_at_a_time(people, tmp_path):
    def another(done, total, clips):
        if done == 1:
            with pytest.raises(OutputError, match="another build is writing there"):
                prepare(people, tmp_path)

    prepare(people, tmp_path, progress=another)


def test_two_videos_of_one_name(people, tmp_path, drawn_video):
    shutil.copy(drawn_video, people / "bob_ω.mp4")
    with pytest.raises(DataError, match=r"bob/ω\.mp4.*would have the same names"):
        prepare(people, tmp_path)


def test_store_keeps_nothing_of_an_unfinished_video(tmp_path, drawn_video):
    store, video = Store(tmp_path), Video(drawn_video, "v")

    def items():
        yield Rejection("v", "no face")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.save(video, items())
    assert store.outcome(video) is None and not list(tmp_path.iterdir())
