"""`lipsync sync` end to end on a drawn clip, and its parts."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lipsync_jax.demo.clip import write_clip
from lipsync_jax.faces.face import FaceRegion
from lipsync_jax.faces.track import TrackedFrame
from lipsync_jax.inference.prefetch import prefetch
from lipsync_jax.inference.source import Transform, play
from lipsync_jax.media.reader import VideoReader


def test_sync_writes_a_playable_video(sync, tmp_path):
    code, stdout, stderr = sync("--detector", "haar", box=False)
    assert code == 0
    assert stdout.strip() == str(tmp_path / "out.mp4")  # the only line
    assert "haar" in stderr
    info = VideoReader(tmp_path / "out.mp4").info
    assert (info.width, info.height, info.fps) == (320, 240, 25)
    assert info.has_audio
    # 1 s of speech: 81 mel columns, windows of 16 at 3.2 a frame, and the tail.
    assert info.frame_count == 22


def test_spaces_and_unicode_in_paths(sync, tmp_path, drawn):
    folder = tmp_path / "zwei Wörter ☺"
    folder.mkdir()
    face, audio = folder / "ein Gesicht.mp4", folder / "Ton 'x\".wav"
    face.write_bytes(drawn[0].read_bytes())
    audio.write_bytes(drawn[1].read_bytes())
    code, stdout, _ = sync(face=face, audio=audio, out=folder / "aus gabe.mp4")
    assert code == 0
    assert VideoReader(stdout.strip()).info.frame_count == 22


def test_longer_speech_repeats_the_video(sync, tmp_path, drawn):
    speech = write_clip(tmp_path, 3.0, 64, 64)[1]
    common = ("--lossless", "--box", 0, 8, 0, 8)  # a corner: the rest is untouched
    source = list(VideoReader(drawn[0]).frames())
    n = len(source)
    for loop, order in (
        ("restart", [i % n for i in range(72)]),
        ("pingpong", [min(i % (2 * n - 2), -i % (2 * n - 2)) for i in range(72)]),
    ):
        code, *_ = sync(*common, "--loop", loop, audio=speech, box=False)
        assert code == 0
        output = list(VideoReader(tmp_path / "out.mp4").frames())
        assert len(output) == 72
        for frame, index in zip(output, order, strict=True):
            np.testing.assert_array_equal(frame[8:], source[index][8:])


def test_static_and_images_repeat_one_frame(sync, tmp_path, drawn):
    import cv2

    first = next(VideoReader(drawn[0]).frames())
    picture = tmp_path / "face.v1.2.png"  # dots and no video suffix
    cv2.imwrite(str(picture), first[..., ::-1])
    corner = ("--lossless", "--box", 0, 8, 0, 8)
    for args, face in ((("--static",), drawn[0]), (("--fps", 20), picture)):
        code, *_ = sync(*corner, *args, face=face, box=False)
        assert code == 0
        reader = VideoReader(tmp_path / "out.mp4")
        assert reader.info.fps == (20 if face == picture else 25)
        for frame in reader.frames():
            np.testing.assert_array_equal(frame[8:], first[8:])


def test_frames_out_are_the_composited_frames(sync, tmp_path):
    import cv2

    folder = tmp_path / "frames"
    code, *_ = sync("--frames_out", folder, "--lossless")
    assert code == 0
    names = sorted(p.name for p in folder.iterdir())
    assert names[0] == "000000.png" and len(names) == 22
    frame = next(VideoReader(tmp_path / "out.mp4").frames())
    np.testing.assert_array_equal(
        cv2.imread(str(folder / "000000.png"))[..., ::-1], frame
    )


def test_bfloat16_and_hard_blend(sync, tmp_path):
    code, *_ = sync("--dtype", "bfloat16", "--blend", "hard", "--round")
    assert code == 0
    assert VideoReader(tmp_path / "out.mp4").info.frame_count == 22


def test_jobs_go_on_past_a_failure(model, drawn, tmp_path, monkeypatch, capsys):
    from lipsync_jax.cli.main import main

    monkeypatch.setenv("LIPSYNC_CACHE", str(tmp_path / "cache"))
    jobs = tmp_path / "jobs.csv"
    jobs.write_text(
        "face,audio,out\n"
        f"{drawn[0]},{drawn[1]},a.mp4\n"
        f"missing.mp4,{drawn[1]},b.mp4\n"
        f"{drawn[0]},{drawn[1]},c.mp4\n"
    )
    box = ["--box", "40", "220", "80", "240"]
    code = main(["sync", "--model", str(model), "--jobs", str(jobs), *box])
    stdout, stderr = capsys.readouterr()
    assert code == 2
    assert stdout.split() == [str(tmp_path / "a.mp4"), str(tmp_path / "c.mp4")]
    assert "line 3" in stderr and "missing.mp4" in stderr
    assert "1 of 3 jobs failed" in stderr
    assert VideoReader(tmp_path / "c.mp4").info.frame_count == 22
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize(
    "text,words",
    [
        ("face,out\na,b\n", "no column audio"),
        ("face,audio,out\n", "holds no jobs"),
        ("face,audio,out\na,,c.mp4\n", "line 2: audio is empty"),
        ("face,audio,out\na,b,c.mp4\nd,e,c.mp4\n", "lines 2 and 3 both write"),
    ],
)
def test_jobs_files_are_checked_first(text, words, model, tmp_path, capsys):
    from lipsync_jax.cli.main import main

    jobs = tmp_path / "jobs.csv"
    jobs.write_text(text)
    assert main(["sync", "--model", str(model), "--jobs", str(jobs)]) == 2
    assert words in capsys.readouterr().err


def test_options_that_exclude_each_other(model, capsys):
    from lipsync_jax.cli.main import main

    assert main(["sync", "--model", str(model), "--face", "a.mp4"]) == 2
    assert "--jobs" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_clip():
    """Frames are let go as they are used: few are alive at any time."""
    alive, most = 0, 0

    class Picture(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def read(start, stop):
        nonlocal alive, most
        for _ in range(10):
            alive += 1
            most = max(most, alive)
            yield np.zeros((4, 4, 3), np.uint8).view(Picture)

    def track(images):
        region = FaceRegion(np.array([0, 0, 4, 4]), None)
        return (TrackedFrame(i, image, region, None) for i, image in enumerate(images))

    count = sum(1 for _ in prefetch(play(read, 500, track), 3))
    assert count == 500
    assert most <= 8


def test_transform_follows_the_original():
    image = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    assert Transform(2).size(16, 12) == (8, 6)
    assert Transform(2)(image).shape == (6, 8, 3)
    turned = Transform(rotate=True)(image)
    np.testing.assert_array_equal(turned[0], image[::-1, 0])  # clockwise
    cut = Transform(crop=(2, -1, 3, 10))(image)
    np.testing.assert_array_equal(cut, image[2:, 3:10])


def test_prefetch_keeps_order_and_raises_in_place():
    def numbers():
        yield from range(5)
        raise ValueError("six")

    found = []
    with pytest.raises(ValueError, match="six"):
        for number in prefetch(numbers(), 2):
            found.append(number)
    assert found == [0, 1, 2, 3, 4]


def test_prefetch_stops_its_thread_when_left():
    closed = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    items = prefetch(endless(), 2)
    assert next(items) == 1
    items.close()
    deadline = time.monotonic() + 5
    while not closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert closed


def test_neither_tensorflow_nor_torch_is_imported():
    code = (
        "import sys, lipsync_jax.inference.sync, lipsync_jax.models_io, "
        "convert_torch_weights, lipsync_jax.cli.main; "
        "sys.exit(bool({'tensorflow', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_needs_no_heavy_library():
    code = (
        "import sys\n"
        "from lipsync_jax.cli.main import build_parser\n"
        "build_parser().format_help()\n"
        "sys.exit(bool({'jax', 'cv2', 'av', 'mediapipe', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_peak_memory_is_that_of_a_short_clip(model, tmp_path):
    """A whole run in its own process: ten times the length, the same memory."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc here; ru_maxrss would count the parent's memory, too")
    program = (
        "import sys; from lipsync_jax.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        f"print(open('{status}').read().split('VmHWM:')[1].split()[0])\n"
        "sys.exit(code)"
    )
    # One device, as for a user; the other tests see eight.
    environment = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    peak = []
    for seconds in (15, 150):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        video, speech = write_clip(folder, seconds, 640, 360)
        args = ["sync", "--model", str(model), "--face", str(video)]
        args += ["--audio", str(speech), "--out", str(folder / "out.mp4")]
        command = [sys.executable, "-c", program, *args, "--detector", "haar"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        )
        peak.append(int(done.stdout.split()[-1]))
    assert peak[1] < 1.1 * peak[0]
