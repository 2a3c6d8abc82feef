"""`lipsync sync` with DAVS: faces are aligned, and follow speech or another video."""

from types import SimpleNamespace

import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from lipsync_jax import models_io
from lipsync_jax.audio.load import load_audio
from lipsync_jax.demo.clip import write_clip
from lipsync_jax.errors import FaceError
from lipsync_jax.faces.face import Face
from lipsync_jax.inference import redraw as redraw_module
from lipsync_jax.inference import sync as sync_module
from lipsync_jax.inference.driver import driving_faces
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.media.writer import VideoWriter
from lipsync_jax.opencv import cv2
from lipsync_jax.systems.davs.features import blocks

SIZES = {"width": 0.125}
BOX = np.array([80, 40, 240, 220])  # that of the `sync` fixture


@pytest.fixture(scope="module")
def davs(tmp_path_factory):
    """Model folder of a small, narrow network with random weights."""
    rng = np.random.default_rng(0)
    shapes = models_io.shapes(models_io.build("davs_64", SIZES))
    variables = unflatten_dict(
        {path: rng.uniform(0.01, 0.1, shape) for path, shape in shapes.items()}
    )
    folder = tmp_path_factory.mktemp("models") / "davs"
    return models_io.save(folder, "davs_64", variables, arguments=SIZES)


@pytest.fixture
def network_input(monkeypatch):
    """(faces, what drives them) that went through the network, in order."""
    kept = []
    submit = redraw_module._submit

    def watching(batch, synthesizer):
        kept.extend(
            (f.face.cut(f.image, synthesizer.size), driving) for f, driving in batch
        )
        return submit(batch, synthesizer)

    monkeypatch.setattr(redraw_module, "_submit", watching)
    return kept


class Seen:
    """A detector that sees one face, in the box, where `anybody(picture)`."""

    name = "seen"

    def __init__(self, anybody=lambda picture: True):
        self.anybody = anybody

    def search(self, image):
        return [Face(BOX.astype(np.float32), None)] * self.anybody(image)

    def near(self, image, box):
        return self.search(image)

    def close(self):
        pass


@pytest.fixture
def detector(monkeypatch):
    """Looks at drivers; a fixed box stays what it is."""
    stub = Seen()
    find = sync_module.find_faces

    def found(options, size):
        return find(options, size) if options.box else (stub, "a stub")

    monkeypatch.setattr(sync_module, "find_faces", found)
    return stub


def test_faces_are_aligned_and_the_speech_is_covered(
    sync, davs, tmp_path, drawn, network_input
):
    speech = write_clip(tmp_path, 1.5, 64, 64)[1]  # longer than the clip
    source = list(VideoReader(drawn[0]).frames())
    code, _, stderr = sync("--model", davs, "--lossless", audio=speech)
    assert code == 0, stderr
    output = list(VideoReader(tmp_path / "out.mp4").frames())
    assert len(output) == 38  # 37.5 frames
    for index, frame in enumerate(output):
        before = source[index % len(source)]
        np.testing.assert_array_equal(frame[:60], before[:60])
        assert not np.array_equal(frame[120:], before[120:])
    faces, driving = zip(*network_input, strict=True)
    assert faces[0].shape == (64, 64, 3) and driving[0].shape == (20, 12)
    want = blocks(load_audio(speech), 0, 38, 25.0)
    np.testing.assert_allclose(np.stack(driving), want, atol=1e-4)


def test_hard_paste_shows_all_that_was_drawn(sync, davs, tmp_path, drawn):
    assert sync("--model", davs, "--lossless", "--blend", "hard")[0] == 0
    before = next(VideoReader(drawn[0]).frames())
    after = next(VideoReader(tmp_path / "out.mp4").frames())
    changed = (before != after).any(axis=-1)
    x1, y1, x2, y2 = BOX
    assert changed[y1 + 20 : y2 - 10, x1:x2].mean() > 0.95


def test_a_picture_follows_a_video(
    sync, davs, tmp_path, drawn, network_input, detector
):
    picture = tmp_path / "face.png"
    first = next(VideoReader(drawn[0]).frames())
    cv2.imwrite(str(picture), first[..., ::-1])
    result = sync("--model", davs, "--driver", drawn[0], face=picture, audio=None)
    assert result[0] == 0, result[2]
    info = VideoReader(tmp_path / "out.mp4").info
    assert (info.frame_count, info.fps, info.has_audio) == (25, 25, True)
    faces, driving = (np.stack(part) for part in zip(*network_input, strict=True))
    assert (faces == faces[0]).all()
    assert driving.shape == (25, 64, 64, 3)
    assert np.abs(np.diff(driving.astype(int), axis=0)).max(axis=(1, 2, 3)).min() > 0
    # Both are the same speaker in the same place.
    assert np.abs(driving[0].astype(int) - faces[0]).mean() < 3


def test_the_sound_may_be_another(sync, davs, tmp_path, drawn, detector):
    speech = write_clip(tmp_path, 0.4, 64, 64)[1]
    assert sync("--model", davs, "--driver", drawn[0], audio=speech)[0] == 0
    assert len(list(VideoReader(tmp_path / "out.mp4").frames())) == 25
    assert len(load_audio(tmp_path / "out.mp4")) < 0.6 * 16000


def test_a_silent_driver(sync, davs, tmp_path, drawn, detector):
    driver = tmp_path / "silent.mp4"
    with VideoWriter(driver, 320, 240, 20) as writer:
        for image in list(VideoReader(drawn[0]).frames())[:8]:
            writer.write(image)
    assert sync("--model", davs, "--driver", driver, audio=None)[0] == 0
    info = VideoReader(tmp_path / "out.mp4").info
    assert not info.has_audio
    assert info.frame_count == 10  # 0.4 s at the face's rate


def test_mistakes_with_drivers(sync, davs, tmp_path, drawn, detector):
    def refused(*args, **inputs):
        code, stdout, stderr = sync(*args, **inputs)
        assert (code, stdout) == (2, "")
        assert not (tmp_path / "out.mp4").exists()
        return stderr.strip().splitlines()[-1]

    line = refused("--driver", drawn[0])
    assert "wav2lip" in line and "follows no video; --driver takes: davs" in line
    line = refused("--model", davs, audio=None)
    assert "give --face, --audio or --driver, and --out" in line
    with_jobs = ("--jobs", tmp_path / "jobs.csv", "--driver", drawn[0])
    assert "exclude each other" in refused("--model", davs, *with_jobs)
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), np.zeros((8, 8, 3), np.uint8))
    line = refused("--model", davs, "--driver", picture)
    assert "face.png: is a still image; a driver has to be a video" in line
    detector.anybody = lambda picture: False
    line = refused("--model", davs, "--driver", drawn[0])
    assert f"{drawn[0]}: no face in any frame of the driver" in line


def test_a_hidden_face_keeps_its_mouth():
    """Before it is seen it has the first mouth, afterwards the last one."""
    noise = np.random.default_rng(0).integers(0, 200, (240, 320, 3), np.uint8)
    frames = [noise + np.uint8(index) for index in range(40)]
    reader = SimpleNamespace(info=SimpleNamespace(path="a.mp4"), frames=lambda: frames)

    def shown(picture):
        return 5 <= int(picture[0, 0, 0]) - int(noise[0, 0, 0]) < 10

    found = list(driving_faces(reader, Seen(shown), 64))
    assert len(found) == 40 and found[0].shape == (64, 64, 3)
    mean = [face.mean() for face in found]
    assert mean[:6] == [mean[5]] * 6 and mean[9:] == [mean[9]] * 31
    assert np.diff(mean[5:10]).min() > 0.9
    with pytest.raises(FaceError, match=r"a.mp4: no face in any frame of the driver"):
        list(driving_faces(reader, Seen(lambda picture: False), 64))
