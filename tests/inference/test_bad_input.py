"""Every mistake gets one plain line, exit code 2, and leaves nothing behind."""

import json
import shutil
import wave

import numpy as np
import pytest

from lipsync_jax import models_io
from lipsync_jax.demo.clip import write_clip
from lipsync_jax.media import writer as writer_module


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return path


def write_float_wav(path, samples):
    """A WAV of 32-bit floats (format tag 3), which Python's module cannot write."""
    data = np.asarray(samples, "<f4").tobytes()
    head = np.array([16, 1 << 16 | 3, 16000, 64000, 32 << 16 | 4], "<u4").tobytes()
    sizes = [(36 + len(data)).to_bytes(4, "little"), len(data).to_bytes(4, "little")]
    path.write_bytes(
        b"RIFF" + sizes[0] + b"WAVEfmt " + head + b"data" + sizes[1] + data
    )
    return path


@pytest.fixture
def refused(sync, tmp_path):
    """Asserts that a run is refused with these words and leaves no file."""

    def check(*words, args=(), **inputs):
        code, stdout, stderr = sync(*args, **inputs)
        assert code == 2
        assert stdout == ""
        line = stderr.strip().splitlines()[-1]
        assert line.startswith("lipsync sync: ")
        assert "Traceback" not in stderr
        for word in words:
            assert word in line
        left = [p.name for p in tmp_path.iterdir() if p.suffix in (".mp4", ".part")]
        assert [name for name in left if name.startswith((".", "out"))] == []

    return check


def test_not_a_video(refused, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("Dear diary, " * 100)
    refused("notes.mp4", "not a video", face=path)


def test_zero_bytes(refused, tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    refused("empty.mp4", "empty", face=path)


def test_missing_file(refused, tmp_path):
    refused("nowhere.mp4", "no such file", face=tmp_path / "nowhere.mp4")


def test_truncated_video(refused, tmp_path, drawn):
    path = tmp_path / "cut.mp4"
    path.write_bytes(drawn[0].read_bytes()[:-3000])
    refused("cut.mp4", face=path)


def test_no_audio_stream(refused, tmp_path, drawn):
    from fractions import Fraction

    path = tmp_path / "mute.mp4"
    with writer_module.VideoWriter(path, 64, 64, Fraction(25)) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
    refused("mute.mp4", "no audio stream", audio=path)


def test_audio_shorter_than_one_window(refused, tmp_path):
    path = write_wav(tmp_path / "click.wav", np.ones(1600))
    refused("click.wav", "0.10 s", "too short", audio=path)


def test_audio_without_samples(refused, tmp_path):
    refused("none.wav", audio=write_wav(tmp_path / "none.wav", []))


def test_not_finite_audio(refused, tmp_path):
    samples = np.zeros(16000, np.float32)
    samples[8000] = np.nan
    path = write_float_wav(tmp_path / "nan.wav", samples)
    refused("nan.wav", "0.5", audio=path)


def test_no_face_anywhere(refused, tmp_path, drawn):
    from fractions import Fraction

    path = tmp_path / "wall.mp4"
    with writer_module.VideoWriter(path, 160, 120, Fraction(25)) as writer:
        for _ in range(5):
            writer.write(np.full((120, 160, 3), 90, np.uint8))
    refused("wall.mp4", "no face", "--box", args=("--detector", "haar"), face=path)


def test_frame_without_face_can_be_an_error(refused, tmp_path, drawn):
    from fractions import Fraction

    path = tmp_path / "wall.mp4"
    with writer_module.VideoWriter(path, 160, 120, Fraction(25)) as writer:
        writer.write(np.full((120, 160, 3), 90, np.uint8))
    args = ("--detector", "haar", "--on_no_face", "error")
    refused("no face in output frame 0", args=args, face=path)


def test_box_outside_the_frame(refused):
    box = ("--box", "0", "500", "0", "100")
    refused("0 500 0 100", "320x240", args=box, box=False)


def test_unwritable_output(refused, tmp_path):
    refused("no/such", out=tmp_path / "no" / "such" / "out.mp4")
    (tmp_path / "folder.mp4").mkdir()
    refused("folder.mp4", out=tmp_path / "folder.mp4")


def test_output_must_be_mp4(refused, tmp_path):
    refused("out.avi", "MP4", out=tmp_path / "out.avi")


def test_disk_full_while_encoding(refused, monkeypatch):
    written = []
    real = writer_module.VideoWriter.write

    def fill(self, frame):
        written.append(1)
        if len(written) > 5:
            with self._output_errors():
                raise OSError(28, "No space left on device")
        real(self, frame)

    monkeypatch.setattr(writer_module.VideoWriter, "write", fill)
    refused("out.mp4", "No space left")


def test_crop_that_leaves_nothing(refused):
    refused("--crop", args=("--crop", "100", "100", "0", "-1"))


@pytest.mark.parametrize(
    "option", [("--crf", "99"), ("--batch_size", "0"), ("--resize_factor", "0")]
)
def test_numbers_out_of_range(refused, option):
    refused(option[0], "must be between", args=option)


def test_model_folder_missing_or_not_one(refused, tmp_path, model):
    refused("nowhere", "no such model", args=("--model", tmp_path / "nowhere"))
    (tmp_path / "stuff").mkdir()
    refused("not a model folder", args=("--model", tmp_path / "stuff"))
    file = tmp_path / "weights.pth"
    file.write_bytes(b"x")
    refused("lipsync convert", args=("--model", file))


def test_model_folder_damaged(refused, tmp_path, model):
    def copy(name):
        return shutil.copytree(model, tmp_path / name)

    folder = copy("no_weights")
    (folder / "weights.safetensors").unlink()
    refused("weights.safetensors is missing", args=("--model", folder))

    folder = copy("flipped")
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-10] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    refused("checksum", args=("--model", folder))

    folder = copy("no_json")
    (folder / "model.json").write_text("{")
    refused("damaged", args=("--model", folder))

    folder = copy("newer")
    text = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(text | {"format": 99}))
    refused("format 99", args=("--model", folder))

    folder = copy("other_sizes")
    (folder / "model.json").write_text(json.dumps(text | {"arguments": {}}))
    refused("do not fit", args=("--model", folder))

    folder = copy("unknown")
    (folder / "model.json").write_text(json.dumps(text | {"network": "gan9000"}))
    refused("gan9000", args=("--model", folder))


def test_model_of_another_system(refused, tmp_path):
    import jax

    module = models_io.build("expert", {"width": 0.125})
    variables = jax.jit(module.init)(
        jax.random.key(0), *models_io.example_inputs(module)
    )
    folder = models_io.save(
        tmp_path / "expert", "expert", variables, arguments={"width": 0.125}
    )
    refused("holds a expert network", args=("--model", folder))


def test_silence_is_allowed_and_said(sync, tmp_path):
    path = write_wav(tmp_path / "silence.wav", np.zeros(16000))
    code, _, stderr = sync(audio=path)
    assert code == 0
    assert "silent throughout" in stderr


def test_face_leaving_the_frame_passes_through(sync, tmp_path, drawn):
    """Half of the clip shows a wall: those frames stay as they are, in place."""
    from fractions import Fraction

    from lipsync_jax.media.reader import VideoReader

    frames = list(VideoReader(drawn[0]).frames())
    path = tmp_path / "leaves.mp4"
    with writer_module.VideoWriter(path, 320, 240, Fraction(25), lossless=True) as out:
        for index in range(24):
            wall = np.full((240, 320, 3), 90, np.uint8)
            out.write(frames[index] if index < 12 else wall)
    code, _, stderr = sync("--detector", "haar", "--lossless", face=path, box=False)
    assert code == 0
    assert "no face in" in stderr and "left as they are" in stderr
    result = list(VideoReader(tmp_path / "out.mp4").frames())
    assert not np.array_equal(result[3], frames[3])
    assert (result[20] == 90).all()


def test_tiny_and_single_frame_videos(sync, tmp_path):
    from fractions import Fraction

    from lipsync_jax.media.reader import VideoReader

    path = tmp_path / "tiny.mp4"
    with writer_module.VideoWriter(path, 8, 8, Fraction(25)) as out:
        out.write(np.full((8, 8, 3), 90, np.uint8))
    code, stdout, _ = sync("--box", 0, 8, 0, 8, face=path, box=False)
    assert code == 0 and stdout.strip().endswith("out.mp4")
    result = VideoReader(tmp_path / "out.mp4")
    assert (result.info.width, result.info.height) == (8, 8)
    assert len(list(result.frames())) == 22


def test_two_faces_one_speaks(sync, tmp_path):
    from fractions import Fraction

    from lipsync_jax.media.reader import VideoReader

    pair = []
    video, _ = write_clip(tmp_path, 1.0, 320, 240)
    single = list(VideoReader(video).frames())
    path = tmp_path / "pair.mp4"
    with writer_module.VideoWriter(path, 640, 240, Fraction(25), lossless=True) as out:
        for frame in single:
            pair.append(np.hstack([frame, frame]))
            out.write(pair[-1])
    for speaker, still in (("left", slice(320, 640)), ("right", slice(0, 320))):
        out = tmp_path / f"{speaker}.mp4"
        code, *_ = sync(
            "--detector",
            "haar",
            "--speaker",
            speaker,
            "--lossless",
            face=path,
            out=out,
            box=False,
        )
        assert code == 0
        frame = next(VideoReader(out).frames(5, 6))
        np.testing.assert_array_equal(frame[:, still], pair[5][:, still])
        assert not np.array_equal(frame, pair[5])
