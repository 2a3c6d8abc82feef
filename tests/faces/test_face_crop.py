import numpy as np
import pytest
from faces.scenes import face

from lipsync_jax.faces.crop import crop, padded_box
from lipsync_jax.faces.face import around, distinct, overlap

FRAME = (100, 200)


@pytest.mark.parametrize(
    "pads, expected",
    [
        ((0, 0, 0, 0), [50, 20, 90, 70]),
        ((1, 2, 3, 4), [47, 19, 94, 72]),
        ((30, 40, 60, 200), [0, 0, 200, 100]),
        ((-5, -5, -5, -5), [55, 25, 85, 65]),
        ((-30, -30, 0, 0), None),
        ((-25, -25, 0, 0), None),
    ],
)
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_padded_box(pads, expected, dtype):
    result = padded_box(np.array([50, 20, 90, 70], dtype), pads, FRAME)
    if expected is None:
        assert result is None
    else:
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected)


def test_box_beside_the_frame_is_none():
    assert padded_box(np.array([210, 20, 250, 70]), (0, 10, 0, 0), FRAME) is None


def test_crop_of_the_wanted_size_copies_pixels():
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)
    np.testing.assert_array_equal(
        crop(image, np.array([40, 10, 72, 42]), 32), image[10:42, 40:72]
    )


def test_overlap():
    a = np.array([0.0, 0, 10, 10])
    assert overlap(a, a) == 1
    assert overlap(a, a + 20) == 0
    assert overlap(a, a + np.array([5, 0, 5, 0])) == pytest.approx(1 / 3)
    assert overlap(a * 0, a * 0) == 0


def test_distinct_keeps_the_first_of_a_heap():
    first, second, other = face(100), face(104), face(200)
    assert distinct([first, second, other]) == [first, other]


def test_around_is_clipped_and_may_be_empty():
    box = np.array([10.0, 40, 30, 60])
    assert around(box, 2, FRAME) == (0, 30, 40, 70)
    x1, _, x2, _ = around(box - 500, 2, FRAME)
    assert x1 == x2
