"""`lipsync sync` takes a LipGAN as it takes any model."""

import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from lipsync_jax import models_io
from lipsync_jax.demo.clip import write_clip
from lipsync_jax.inference import redraw as redraw_module
from lipsync_jax.media.reader import VideoReader

SIZES = {"width": 0.125, "audio_offset": -4}


@pytest.fixture(scope="module")
def lipgan(tmp_path_factory):
    """Model folder of a narrow generator with random weights and centred windows."""
    rng = np.random.default_rng(0)
    shapes = models_io.shapes(models_io.build("lipgan_48", SIZES))
    variables = unflatten_dict(
        {path: rng.uniform(0.01, 0.1, shape) for path, shape in shapes.items()}
    )
    folder = tmp_path_factory.mktemp("models") / "lipgan"
    return models_io.save(folder, "lipgan_48", variables, arguments=SIZES)


@pytest.fixture
def heard(monkeypatch):
    """The windows that went through the network, in order."""
    kept = []
    submit = redraw_module._submit

    def listening(batch, synthesizer):
        kept.extend(window for _, window in batch)
        return submit(batch, synthesizer)

    monkeypatch.setattr(redraw_module, "_submit", listening)
    return kept


def test_the_whole_speech_is_covered(sync, lipgan, tmp_path, drawn):
    speech = write_clip(tmp_path, 1.5, 64, 64)[1]  # longer than the clip
    source = list(VideoReader(drawn[0]).frames())
    code, _, stderr = sync("--model", lipgan, "--lossless", audio=speech)
    assert code == 0, stderr
    output = list(VideoReader(tmp_path / "out.mp4").frames())
    assert len(output) == 38  # 37.5 frames
    for index, frame in enumerate(output):
        before = source[index % len(source)]
        np.testing.assert_array_equal(frame[:40], before[:40])
        assert not np.array_equal(frame[40:], before[40:])


def test_the_model_folder_says_when_windows_start(sync, lipgan, heard):
    assert sync("--model", lipgan)[0] == 0
    centred = list(heard)
    assert len(centred) == 25
    assert (centred[0][:, :12] == -4).all() and (centred[0] != -4).any()
    heard.clear()
    assert sync("--model", lipgan, "--mel_shift", 4)[0] == 0
    np.testing.assert_array_equal(heard[3], centred[7])


def test_an_image_speaks_at_the_rate_asked_for(sync, lipgan, tmp_path, drawn):
    import cv2

    picture = tmp_path / "face.PNG"
    first = next(VideoReader(drawn[0]).frames())
    cv2.imwrite(str(picture), first[..., ::-1])
    assert sync("--model", lipgan, "--fps", 20, face=picture)[0] == 0
    info = VideoReader(tmp_path / "out.mp4").info
    assert (info.fps, info.frame_count) == (20, 20)


def test_hard_paste_replaces_the_whole_box(sync, lipgan, tmp_path, drawn):
    first = next(VideoReader(drawn[0]).frames())
    box = slice(40, 220), slice(80, 240)
    changed = {}
    for blend in ("hard", "feather"):
        assert sync("--model", lipgan, "--lossless", "--blend", blend)[0] == 0
        frame = next(VideoReader(tmp_path / "out.mp4").frames())
        different = (frame != first).any(-1)
        outside = different.copy()
        outside[box] = False
        assert not outside.any()
        changed[blend] = different[40:100, 80:240].mean()  # the upper third
    assert changed["hard"] > 0.9 and changed["feather"] == 0


def test_speech_shorter_than_a_window(sync, lipgan, tmp_path):
    import wave

    path = tmp_path / "click.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(np.ones(4800, "<i2").tobytes())
    code, _, stderr = sync("--model", lipgan, audio=path)
    assert code == 2
    assert "0.30 s" in stderr and "0.325 s" in stderr
