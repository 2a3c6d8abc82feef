import cv2
import numpy as np
import pytest

from lipsync_jax.faces.blend import lower_face_mask, paste
from lipsync_jax.faces.face import FaceRegion

FRAME = (300, 400)
BOX = np.array([100, 50, 200, 190], np.int32)


def outline(box, chin=0.93):
    """20 points: a jaw in the box and the tip of a nose."""
    angle = np.linspace(0, np.pi, 19)
    x = 0.5 + 0.48 * np.cos(angle)
    y = 0.5 + (chin - 0.5) * np.sin(angle)
    unit = np.vstack([np.stack([x, y], 1), [[0.5, 0.52]]])
    return (box[:2] + unit * (box[2:] - box[:2])).astype(np.float32)


@pytest.mark.parametrize("known", [True, False], ids=["landmarks", "no landmarks"])
def test_mask_shows_mouth_and_chin_and_ends_inside_the_box(known):
    mask = lower_face_mask(FaceRegion(BOX, outline(BOX) if known else None), FRAME)
    assert mask.shape == (140, 100)
    assert mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
        assert edge.max() == 0
    assert mask[: 140 // 2].max() < 0.01, "the upper half is the original's"
    assert mask[91:119, 30:70].min() > 0.99, "mouth"
    assert mask[int(0.9 * 140), 50] > 0.9, "chin"


def test_mask_only_falls_from_the_mouth_outwards():
    mask = lower_face_mask(FaceRegion(BOX, outline(BOX)), FRAME)
    mouth_row, middle = 105, 50
    assert (np.diff(mask[mouth_row, middle:]) <= 1e-6).all()
    assert (np.diff(mask[mouth_row, middle::-1]) <= 1e-6).all()
    assert (np.diff(mask[mouth_row:, middle]) <= 1e-6).all()
    assert (np.diff(mask[mouth_row::-1, middle]) <= 1e-6).all()
    steps = max(np.abs(np.diff(mask, axis=k)).max() for k in (0, 1))
    assert steps < 0.4, "soft everywhere"


def test_mask_reaches_the_border_of_the_frame():
    box = np.array([0, 160, 100, 300], np.int32)
    mask = lower_face_mask(FaceRegion(box, outline(box, chin=1.1)), FRAME)
    assert mask[-1, 50] > 0.99
    assert mask[110, 0] > 0.5
    assert mask[110, -1] == 0
    other = np.array([300, 160, 400, 300], np.int32)
    mask = lower_face_mask(FaceRegion(other, outline(other, chin=1.1)), FRAME)
    assert mask[110, -1] > 0.5
    assert mask[110, 0] == 0


def test_hard_paste_is_the_original_rectangle():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*FRAME, 3), np.uint8)
    patch = rng.integers(0, 256, (96, 96, 3), np.uint8)
    expected = image.copy()
    expected[50:190, 100:200] = cv2.resize(patch, (100, 140))
    before = image.copy()
    np.testing.assert_array_equal(paste(image, patch, BOX, None), expected)
    np.testing.assert_array_equal(image, before)


def test_a_float_patch_is_truncated_once_it_has_its_size():
    image = np.zeros((*FRAME, 3), np.uint8)
    patch = np.random.default_rng(0).uniform(0, 255.5, (96, 96, 3)).astype(np.float32)
    pasted = paste(image, patch, BOX, None)[50:190, 100:200]
    np.testing.assert_array_equal(pasted, np.floor(cv2.resize(patch, (100, 140))))
    mixed = paste(image, patch, BOX, np.ones((140, 100), np.float32))[50:190, 100:200]
    assert np.abs(mixed.astype(int) - pasted).max() <= 1


def test_soft_paste_mixes_by_the_mask_and_leaves_the_rest():
    image = np.full((*FRAME, 3), 200, np.uint8)
    patch = np.full((96, 96, 3), 100, np.uint8)
    mask = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (140, 1))
    result = paste(image, patch, BOX, mask)
    inside = result[50:190, 100:200]
    expected = np.rint(200 - 100 * mask)[..., None]
    assert np.abs(inside - expected).max() <= 1
    result[50:190, 100:200] = 200
    np.testing.assert_array_equal(result, image)


def test_soft_paste_of_the_same_pixels_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (*FRAME, 3), np.uint8)
    mask = lower_face_mask(FaceRegion(BOX, outline(BOX)), FRAME)
    same = image[50:190, 100:200]
    np.testing.assert_array_equal(paste(image, same, BOX, mask), image)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_tiny_boxes_work(size):
    image = np.zeros((8, 8, 3), np.uint8)
    box = np.array([0, 0, size, size], np.int32)
    mask = lower_face_mask(FaceRegion(box, None), (8, 8))
    assert paste(image, np.zeros((96, 96, 3), np.uint8), box, mask).shape == (8, 8, 3)
