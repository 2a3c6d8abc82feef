import os
import subprocess
import sys
from contextlib import closing

import av
import numpy as np
import pytest
from PIL import Image

from lipsync_jax.errors import AssetError, EnvironmentProblem, OptionError
from lipsync_jax.faces.detect import make_detector
from lipsync_jax.faces.face import overlap
from lipsync_jax.faces.haar_detector import HaarDetector
from lipsync_jax.faces.mediapipe_detector import MediaPipeDetector
from lipsync_jax.faces.track import track

CLIPS = ("hdtf_khill", "latentsync_demo1", "retalk_2", "retalk_3")


def read(path, count, step=1):
    with av.open(str(path)) as video:
        decoded = zip(range(count * step), video.decode(video=0), strict=False)
        return [f.to_ndarray(format="rgb24") for i, f in decoded if i % step == 0]


@pytest.fixture(scope="module")
def landmarker(landmarker_model):
    with closing(MediaPipeDetector(landmarker_model)) as detector:
        yield detector


@pytest.fixture(scope="module")
def haar():
    return HaarDetector()


@pytest.mark.parametrize("clip", CLIPS)
def test_mediapipe_and_haar_agree_on_real_faces(clips, landmarker, haar, clip):
    for image in read(clips / f"{clip}.mp4", 3, step=20):
        (by_mesh,) = landmarker.search(image)
        (by_cascade,) = haar.search(image)
        assert overlap(by_mesh.box, by_cascade.box) > 0.65
        assert by_mesh.landmarks.shape == (478, 2)
        assert by_cascade.landmarks is None
        width, height = by_mesh.box[2:] - by_mesh.box[:2]
        assert 1.15 < height / width < 1.5
        for detector, first in ((landmarker, by_mesh), (haar, by_cascade)):
            (again,) = detector.near(image, first.box)
            assert overlap(again.box, first.box) > 0.85


def test_picture(clips, landmarker, haar):
    image = np.array(Image.open(clips / "sadtalker_happy.png").convert("RGB"))
    for detector in (landmarker, haar):
        (tracked,) = track([image], detector)
        x1, y1, x2, y2 = tracked.face.box
        assert 0 <= x1 < 128 < x2 <= 256 and 0 <= y1 < y2 <= 256


@pytest.mark.parametrize("share", [4, 6, 8, 10, 14])
def test_mediapipe_finds_small_faces(clips, landmarker, share):
    (source,) = read(clips / "retalk_3.mp4", 1)
    canvas = np.full((1080, 1920, 3), 90, np.uint8)
    side = round(1080 / share / 0.6)  # the face is 0.6 of the clip's height
    small = np.array(Image.fromarray(source).resize((side, side), Image.LANCZOS))
    canvas[500 : 500 + side, 1100 : 1100 + side] = small
    (found,) = landmarker.search(canvas)
    height = found.box[3] - found.box[1]
    assert 0.8 < height / (1080 / share) < 1.2
    assert np.abs(found.box.reshape(2, 2).mean(0) - [1100, 500] - side / 2).max() < side


def test_strided_images_are_read_right(clips, landmarker):
    (source,) = read(clips / "retalk_3.mp4", 1)
    wide = np.zeros((590, 700, 3), np.uint8)
    wide[:, :590] = source
    (expected,) = landmarker.search(source)
    (found,) = landmarker.search(wide[:, :590])
    np.testing.assert_array_equal(found.box, expected.box)


def test_two_people_side_by_side(clips, landmarker):
    left = read(clips / "retalk_3.mp4", 6)
    right = read(clips / "hdtf_khill.mp4", 6)
    both = [np.hstack([a[:512, :590], b]) for a, b in zip(left, right, strict=True)]
    boxes = {}
    for speaker in ("left", "right", "0", "1", "largest", "800,300"):
        tracked = list(track(both, landmarker, speaker=speaker))
        assert all(t.face is not None for t in tracked)
        boxes[speaker] = [t.face.box.tolist() for t in tracked]
        assert all((box[0] > 590) == (box[2] > 590) for box in boxes[speaker])
    assert boxes["left"] == boxes["0"] and boxes["left"][0][0] < 590
    for speaker in ("1", "largest", "800,300"):
        assert boxes[speaker] == boxes["right"]


def test_cut_between_real_shots(clips, landmarker):
    first = [image[:512, :512] for image in read(clips / "retalk_3.mp4", 7)]
    second = read(clips / "hdtf_khill.mp4", 7)
    alone = [t.face.box for part in (first, second) for t in track(part, landmarker)]
    joined = [t.face.box for t in track(first + second, landmarker)]
    np.testing.assert_array_equal(joined, alone)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (8, 400), (300, 300)])
def test_nothing_to_see(landmarker, haar, size):
    image = np.full((*size, 3), 127, np.uint8)
    far = np.array([-90.0, -90, -50, -40], np.float32)
    for detector in (landmarker, haar):
        assert detector.search(image) == []
        assert detector.near(image, far) == []
        assert next(iter(track([image], detector))).face is None


def test_mediapipe_keeps_the_error_stream_clean(landmarker_model):
    code = (
        "import sys; from lipsync_jax.faces.detect import make_detector;"
        f"from pathlib import Path; d, _ = make_detector('mediapipe', "
        f"Path({str(landmarker_model)!r})); d.close(); print('ours', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "ours\n"
    assert done.returncode == 0


def test_which_detector_and_why(tmp_path, landmarker_model):
    detector, why = make_detector("auto", None)
    assert (detector.name, why) == ("haar", "haar (no MediaPipe model; less precise)")
    detector, why = make_detector("auto", tmp_path / "no.task")
    assert detector.name == "haar" and "no.task" in why
    detector, why = make_detector("auto", landmarker_model)
    with closing(detector):
        assert detector.name == "mediapipe" and str(landmarker_model) in why


def test_unknown_detector_and_missing_model_are_errors():
    with pytest.raises(OptionError, match="'s3fd': expected one of auto, mediapipe"):
        make_detector("s3fd", None)
    with pytest.raises(OptionError, match=r"needs face_landmarker\.task"):
        make_detector("mediapipe", None)


@pytest.mark.parametrize("kind", ["auto", "mediapipe"])
@pytest.mark.parametrize(
    "content", [b"", b"<html>Not found</html>", b"PK\3\4 cut short"]
)
def test_damaged_model_is_an_error(tmp_path, kind, content):
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(content)
    with pytest.raises(AssetError, match=r"face_landmarker.task is not MediaPipe's"):
        make_detector(kind, path)


def test_truncated_model_is_an_error(tmp_path, landmarker_model):
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(landmarker_model.read_bytes()[:2_000_000])
    with pytest.raises(AssetError, match="2000000 bytes"):
        MediaPipeDetector(path)


def test_absent_model_is_an_error(tmp_path):
    with pytest.raises(AssetError, match=r"cannot read .*gone.task.*No such file"):
        MediaPipeDetector(tmp_path / "gone.task")


@pytest.mark.parametrize("package", ["cv2", "mediapipe"])
def test_missing_system_library_says_what_to_install(package, landmarker_model):
    broken = f"""
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r}:
            raise ImportError("libGL.so.1: cannot open shared object file")
sys.meta_path.insert(0, Broken())
from lipsync_jax.errors import EnvironmentProblem
try:
    from pathlib import Path
    from lipsync_jax.faces.mediapipe_detector import MediaPipeDetector
    MediaPipeDetector(Path({str(landmarker_model)!r}))
except EnvironmentProblem as problem:
    print(problem)
"""
    done = subprocess.run(
        [sys.executable, "-c", broken],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert "libGL.so.1" in done.stdout, done.stderr
    assert "apt-get install libgl1 libegl1 libgles2 libglib2.0-0 libxcb1" in done.stdout


def test_auto_falls_back_when_mediapipe_does_not_load(landmarker_model, monkeypatch):
    def fail(path):
        raise EnvironmentProblem("cannot load MediaPipe (libEGL.so.1)")

    monkeypatch.setattr("lipsync_jax.faces.detect.MediaPipeDetector", fail)
    detector, why = make_detector("auto", landmarker_model)
    assert detector.name == "haar" and "libEGL.so.1" in why
