"""Alignment equals DAVS's, does not breathe, and can be undone."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from parity import fill_inputs

from lipsync_jax.faces.align import (
    EYES_TWICE,
    SEEN,
    TARGETS,
    align_image,
    box_points,
    compose,
    landmark_points,
    middle,
    similarity,
    to_middle,
    to_picture,
)
from lipsync_jax.faces.aligned import AlignedFace, align, steady, zoom_jitter
from lipsync_jax.faces.face import FaceRegion
from lipsync_jax.faces.track import TrackedFrame
from lipsync_jax.opencv import cv2

# Left eye, right eye, mouth; of the golden's five points the nose is not used.
POINTS = (
    np.array([(250.3, 190.8), (352.6, 203.4), (299.8, 303.55)]),
    np.array([(20.0, 30.0), (90.0, 28.0), (56.0, 104.5)]),
)
# Where they are in the middle of an aligned picture of an average face.
IN_MIDDLE = np.array([(91.12, 114.40), (168.73, 114.40), (129.93, 188.13)])


@pytest.fixture(scope="module")
def golden():
    path = Path(__file__).parents[1] / "goldens" / "davs" / "align.npz"
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="module")
def image():
    """The golden's picture, BGR."""
    y, x = np.mgrid[:480, :640].astype(float)
    noise = fill_inputs("davs_align_noise", (480, 640, 3), 0, 1) * (30, 30, 45)
    waves = (
        120 + 60 * np.sin(x / 17) + 40 * np.cos(y / 23),
        110 + 70 * np.sin((x + y) / 29),
        130 + 50 * np.cos(x / 11) * np.sin(y / 13),
    )
    pixels = np.clip(np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)
    assert pixels.sum() == 126713185
    return pixels


def transformed(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


def assert_close(found, want):
    difference = np.abs(found.astype(int) - want)
    assert difference.max() <= 2 and difference.mean() <= 0.2


@pytest.mark.parametrize("case", [0, 1])
def test_equals_the_original(golden, image, case):
    matrix = similarity(POINTS[case])
    np.testing.assert_allclose(matrix, golden[f"M3_{case}"], atol=1e-9)
    step = (3, 4)[case]
    picture = align_image(image, matrix)
    assert picture.shape == (260, 260, 3)
    assert_close(picture[::step, ::step], golden[f"aligned260_{case}"])


def test_equals_the_original_of_training_data(golden, image):
    matrix = similarity(POINTS[0][EYES_TWICE], TARGETS[EYES_TWICE])
    np.testing.assert_allclose(matrix, golden["M5_0"], atol=1e-9)
    assert_close(align_image(image, matrix)[::4, ::4], golden["aligned260_5"])


def test_where_eyes_and_mouth_come_to_lie():
    middle_points = transformed(to_middle(np.eye(2, 3)), TARGETS)
    np.testing.assert_allclose(middle_points, IN_MIDDLE, atol=0.01)
    half = transformed(to_middle(np.eye(2, 3), SEEN // 2), TARGETS)
    np.testing.assert_allclose(half, IN_MIDDLE / 2 - 0.25, atol=0.01)


def test_points_of_the_mesh():
    landmarks = np.zeros((2, 478, 2), np.float32)
    landmarks[:, [33, 133, 362, 263, 61, 291]] = np.float32(
        [(10, 20), (30, 22), (50, 20), (70, 24), (25, 60), (55, 64)]
    )
    want = [(20, 21), (60, 22), (40, 62)]
    np.testing.assert_array_equal(landmark_points(landmarks), [want, want])


def test_an_average_box_gives_an_average_face():
    """Eyes and mouth are nearly as far apart as the canvas has them."""
    box = np.array([100.0, 50.0, 300.0, 300.0])
    points = box_points(box)
    matrix = similarity(points)
    off = transformed(to_middle(matrix), points) - IN_MIDDLE
    assert np.abs(off).max() < 4
    assert abs(matrix[0, 1]) < 1e-12  # upright


def talking(frames, seed=0):
    """A still head: noisy points, corners of the mouth that move with syllables.

    Returns points (T, 3, 2) and the true size, which drifts by a twentieth.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(frames) / 25
    size = 1 + 0.05 * np.sin(2 * np.pi * t / 12)
    points = 0.7 * size[:, None, None] * (TARGETS - 180) + 200
    points[:, 2, 1] += 4 * np.sin(2 * np.pi * 4 * t)
    return points + rng.normal(0, 0.8, points.shape), size


def test_steady_alignment_hardly_zooms():
    points, size = talking(250)
    alone = np.stack([similarity(p) for p in points])
    calm = np.stack(list(steady(points)))
    assert zoom_jitter(alone) > 0.015
    assert zoom_jitter(calm) < 0.001
    # It follows the head all the same.
    scale = np.hypot(*calm[:, :, 0].T)
    np.testing.assert_allclose(scale * size * 0.7, 1, atol=0.03)
    eyes = np.stack([transformed(m, p)[:2] for m, p in zip(calm, points, strict=True)])
    assert np.abs(eyes.mean(axis=1) - TARGETS[:2].mean(axis=0)).max() < 4


def test_zoom_jitter_is_about_changes():
    matrices = np.tile(np.eye(2, 3), (5, 1, 1))
    assert zoom_jitter(matrices) == 0
    matrices *= (1.1 ** np.arange(5))[:, None, None]  # an even zoom
    assert zoom_jitter(matrices) < 1e-12
    matrices[::2] *= 1.01
    assert zoom_jitter(matrices) == pytest.approx(np.log(1.01), rel=1e-6)


def tracked(index, points, track=0):
    """A frame with a face that has landmarks, or with none."""
    image = np.full((300, 400, 3), index, np.uint8)
    if points is None:
        return TrackedFrame(index, image, None, None, track)
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[[33, 133]], landmarks[[362, 263]], landmarks[[61, 291]] = points
    region = FaceRegion(np.array([100, 100, 300, 300], np.int32), None)
    return TrackedFrame(index, image, region, landmarks, track)


def test_stretches_are_aligned_by_themselves():
    near, far = TARGETS * 0.5, TARGETS
    script = [(near, 1)] * 20 + [(None, 1)] * 3 + [(far, 2)] * 20
    frames = [tracked(i, *row) for i, row in enumerate(script)]
    found = list(align(frames))
    assert [f.index for f in found] == list(range(43))
    assert [f.face is None for f in found] == [p is None for p, _ in script]
    for frame in found[:20]:
        np.testing.assert_allclose(frame.face.matrix, np.eye(2, 3) * 2, atol=1e-4)
    for frame in found[23:]:
        np.testing.assert_allclose(frame.face.matrix, np.eye(2, 3), atol=1e-4)


def test_frames_are_not_held_back():
    read = []

    def frames():
        for index in range(60):
            read.append(index)
            yield tracked(index, TARGETS)

    late = [len(read) - frame.index for frame in align(frames())]
    assert max(late) <= 15


def test_without_landmarks_the_box_will_do():
    frame = replace(tracked(0, TARGETS), landmarks=None)
    (found,) = align([frame])
    want = similarity(box_points(np.array([100.0, 100.0, 300.0, 300.0])))
    np.testing.assert_allclose(found.face.matrix, want, atol=1e-9)


@pytest.fixture
def turned():
    """A picture, and a face in it that is turned by 12 degrees."""
    y, x = np.mgrid[:300, :400]
    periods = pairwise((9, 14, 8, 11))
    waves = [128 + 90 * np.sin(x / a) * np.cos(y / b) for a, b in periods]
    image = np.stack(waves, axis=-1).astype(np.uint8)
    cos, sin = np.cos(np.deg2rad(12)), np.sin(np.deg2rad(12))
    rotation = np.array([(cos, -sin), (sin, cos)])
    points = (TARGETS - 200) @ rotation.T * 0.9 + (200, 110)
    face = AlignedFace(np.array([110, 40, 290, 260]), None, similarity(points))
    return image, face, points


def test_paste_undoes_cut(turned):
    image, face, _ = turned
    patch = face.cut(image, SEEN)
    assert patch.shape == (256, 256, 3)
    for blend in ("hard", "feather"):
        difference = np.abs(face.paste(image, patch, blend).astype(int) - image)
        assert difference.mean() < 1
    white = np.full_like(patch, 255)
    changed = (face.paste(image, white, "hard") != image).any(axis=-1)
    # A square of 256 pixels at this scale, less what is outside the frame.
    assert changed.sum() == pytest.approx((256 * 268 / 260 * 0.9) ** 2, rel=0.12)


def test_only_the_lower_face_is_shown(turned):
    image, face, points = turned
    white = np.full((SEEN, SEEN, 3), 255, np.uint8)
    shown = face.paste(image, white, "feather")

    def at(point):
        return tuple(np.rint(point).astype(int)[::-1])

    assert (shown[at(points[2])] == 255).all()
    for eye in points[:2]:
        np.testing.assert_array_equal(shown[at(eye)], image[at(eye)])
    # Nothing beside the face, though the patch is half as wide again.
    changed = (shown != image).any(axis=-1)
    assert 0.3 < changed.sum() / (180 * 220) < 0.5
    assert changed[:, 90:310].sum() == changed.sum()


def test_a_smaller_network_sees_the_same(turned):
    image, face, points = turned
    large, small = face.cut(image, SEEN), face.cut(image, 64)
    reduced = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(small, reduced)
    black = np.zeros((64, 64, 3), np.uint8)
    black[47, 32] = 255  # at the mouth
    shown = face.paste(np.zeros_like(image), black, "hard")[..., 0].astype(float)
    y, x = np.mgrid[:300, :400]
    spot = np.array([(shown * x).sum(), (shown * y).sum()]) / shown.sum()
    assert np.hypot(*(spot - points[2])) < 3


def test_a_face_at_the_border_and_one_outside():
    image = np.zeros((60, 80, 3), np.uint8)
    patch = np.full((SEEN, SEEN, 3), 200, np.uint8)
    for shift, inside in ((-20, True), (10, True), (900, False)):
        matrix = similarity(TARGETS * 0.2 + shift)
        face = AlignedFace(np.array([0, 0, 60, 60]), None, matrix)
        shown = face.paste(image, patch, "hard")
        assert shown.any() == inside
        assert face.cut(image, SEEN).shape == (256, 256, 3)
    assert (face.cut(image, SEEN) == 127).all()


def test_maps_are_composed_in_order():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 3))
    points = rng.normal(size=(7, 2))
    want = transformed(a, transformed(b, points))
    np.testing.assert_allclose(transformed(compose(a, b), points), want)


def test_one_warp_equals_the_originals_two_steps():
    y, x = np.mgrid[:300, :400]
    image = np.stack([x * 0.6, y * 0.8, (x + y) * 0.35], axis=-1).astype(np.uint8)
    matrix = similarity(TARGETS * 0.6 + (60, -30))
    once = cv2.warpAffine(image, to_picture(matrix), (260, 260))
    twice = align_image(image, matrix)
    inside = slice(70, 250), slice(40, 220)
    difference = np.abs(once[inside].astype(int) - twice[inside])
    assert difference.max() <= 2
    assert middle(twice).shape == (256, 256, 3)
