"""`lipsync build`: what goes wrong, and real clips."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.jpeg import decode
from lipsync_jax.cli.main import main
from lipsync_jax.data.schema import from_example


def test_splits_by_list(people, build, tmp_path):
    (tmp_path / "train.txt").write_text(
        "Anna Müller/take 1.mp4\nÇelik/c.mov\n", "utf-8"
    )
    (tmp_path / "val.txt").write_text("bob/ω\n", "utf-8")
    lists = ("--train_list", tmp_path / "train.txt", "--val_list", tmp_path / "val.txt")
    code, out, err = build("talking_faces", people, *lists)
    assert code == 0, err
    builder = tfds.builder_from_directory(out.strip())
    found = {
        split: sorted(from_example(r).speaker for r in builder.as_data_source(split))
        for split in builder.info.splits
    }
    assert found == {"train": ["Anna Müller", "Çelik"], "validation": ["bob"]}
    report = json.loads((Path(out.strip()) / "report.json").read_text("utf-8"))
    assert report["splits"]["train"] == {"clips": 2, "seconds": 3.2, "speakers": 2}


@pytest.mark.parametrize(
    "more, message",
    [
        (["--val_list", "x"], "--val_list and --test_list need --train_list"),
        (["--train_list", "/no/x"], "/no/x: file list cannot be read: No such file"),
        (["--test_share", "1"], "must not be negative, and leave something to train"),
        (["--validation_share", "-0.1"], "must not be negative"),
        (["--processes", "0"], "--processes 0: must be at least 1"),
        (["--size", "7"], "size 7: must be between 32 and 1024 pixels"),
        (["--max_seconds", "0.5"], "max_seconds 0.5: must not be below min_seconds 1"),
        (["--min_seconds", "2"], "3 (for example Anna Müller/take 1.mp4 from 0.00 to"),
        (["--detector", "mediapipe", "--landmarker", "/no/x"], "/no/x"),
    ],
)
def test_options_that_make_no_sense(people, build, more, message):
    code, out, err = build("talking_faces", people, *more)
    assert code == 2 and not out
    assert err.splitlines()[-1].startswith("lipsync build: ") and message in err


def test_sources_that_are_none(build, tmp_path):
    for source, message in (
        (tmp_path / "absent", "absent: no such folder; --source takes the dataset's"),
        (Path(__file__), "is a file; --source takes the dataset's folder"),
        (Path(__file__).parent, "no video in it or below (.3gp, .avi, "),
    ):
        for dataset in ("talking_faces", "lrs2", "lrw"):
            code, _, err = build(dataset, source)
            assert code == 2
            if dataset == "talking_faces" or "video" not in message:
                assert message in err


def test_too_few_speakers_say_what_a_speaker_is(people, build):
    code, _, err = build("talking_faces", people / "bob")
    assert code == 2
    assert "1 speakers with usable clips (ω) are too few for train, validation" in err
    assert "--train_list" in err


def test_unknown_dataset(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["build", "voxceleb"])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert "invalid choice: 'voxceleb'" in err and "'talking_faces', 'lrs2'" in err


def test_data_dir_that_cannot_be_written(people, build, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = build("talking_faces", people, data_dir=tmp_path / "file")
    assert code == 2 and "file/talking_faces: cannot be written: Not a dir" in err


@pytest.mark.parametrize(
    "limit, place",
    [(20_000, ".partial-"), (150_000, "talking_faces")],
    ids=["storing a video", "writing records"],
)
def test_disk_full(people, tmp_path, drawn_video, limit, place):
    """A limit on the size of files stands in for the disk's end."""
    data = tmp_path / "data"
    args = ["build", "talking_faces", "--source", str(people), "--data_dir", str(data)]
    args += ["--detector", "haar", "--size", "64", "--processes", "1"]
    (tmp_path / "all").write_text(
        "".join(f"{path.relative_to(people)}\n" for path in people.rglob("*.mp4"))
    )
    args += ["--train_list", str(tmp_path / "all")]
    program = f"""
import resource, sys
from lipsync_jax.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.exit(main({args}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 2 and not done.stdout
    message = done.stderr.splitlines()[-1]
    assert place in message and message.endswith("cannot be written: File too large")
    assert not list(data.glob("**/1.0.0")) and not list(data.glob("**/incomplete*"))
    assert main(args) == 0


def test_synthetic_talkers(tmp_path, capsys):
    args = ["build", "synthetic_talkers", "--data_dir", str(tmp_path), "--size", "32"]
    for split in ("train", "validation", "test"):
        args += [f"--speakers_{split}", "1"]
    args += ["--clips_per_speaker", "1", "--seconds", "0.4", "--processes", "1"]
    assert main(args) == 0
    out = capsys.readouterr().out
    builder = tfds.builder_from_directory(out.strip())
    assert set(builder.info.splits) == {"train", "validation", "test"}
    assert [path.name for path in tmp_path.iterdir()] == ["synthetic_talkers"]
    with pytest.raises(SystemExit):
        main([*args, "--source", "x"])


def test_real_clips(clips, landmarker_model, tmp_path, capsys):
    args = ["build", "talking_faces", "--source", str(clips), "--processes", "2"]
    args += ["--data_dir", str(tmp_path), "--landmarker", str(landmarker_model)]
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert "left out" not in err and "faces: mediapipe" in err
    builder = tfds.builder_from_directory(out.strip())
    found = {
        clip.id: clip
        for split in builder.info.splits
        for clip in map(from_example, builder.as_data_source(split))
    }
    assert {id: len(clip.frames) for id, clip in found.items()} == {
        "hdtf_khill.mp4-000000": 200,
        "latentsync_demo1.mp4-000000": 250,
        "retalk_2.mp4-000000": 125,
        "retalk_3.mp4-000000": 125,
    }
    for clip in found.values():
        assert clip.valid.all() and len(clip.audio) == 640 * len(clip.frames)
        assert clip.landmarks.shape == (len(clip.frames), 478, 2)
        # The lips (points 13 and 14 of the mesh) are in the crop's lower half.
        corner, size = clip.box[:, :2], clip.box[:, 2:] - clip.box[:, :2]
        lips = (clip.landmarks[:, 13:15] - corner[:, None]) / size[:, None]
        assert (lips[..., 1] > 0.5).all() and (abs(lips[..., 0] - 0.5) < 0.3).all()
        red, _, blue = decode(clip.frames[60]).mean((0, 1))
        assert red > blue + 10  # skin
        assert np.abs(clip.audio).max() > 1000
