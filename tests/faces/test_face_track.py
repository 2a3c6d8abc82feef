import weakref

import numpy as np
import pytest
from faces.scenes import HEIGHT, WIDTH, Script, face, frames

from lipsync_jax.errors import FaceError, OptionError
from lipsync_jax.faces.detect import FixedBox
from lipsync_jax.faces.track import track

NO_PADS = (0, 0, 0, 0)


def run(script, count, shot_of=lambda index: 0, **options):
    options = {"pads": NO_PADS, "smoothing": "none", "every": 1} | options
    detector = Script(script)
    return list(track(frames(count, shot_of), detector, **options)), detector


def centres(tracked):
    """Horizontal centre of each frame's box, nan where there is none."""
    return np.array(
        [np.nan if t.face is None else t.face.box[[0, 2]].mean() for t in tracked]
    )


@pytest.mark.parametrize("smoothing", ["gaussian", "original", "none"])
@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 20])
def test_every_frame_comes_out_once_in_order_with_a_face(smoothing, every, count):
    tracked, _ = run(lambda i: [face(200)], count, smoothing=smoothing, every=every)
    assert [t.index for t in tracked] == list(range(count))
    for t, image in zip(tracked, frames(count), strict=True):
        np.testing.assert_array_equal(t.image, image)
        np.testing.assert_array_equal(t.face.box, [180, 34, 220, 86])
        assert t.face.box.dtype == np.int32


def test_every_second_frame_is_interpolated():
    tracked, detector = run(lambda i: [face(100 + 4 * i)], 21, every=2)
    assert detector.looked == list(range(2, 21, 2))
    np.testing.assert_array_equal(centres(tracked), 100 + 4 * np.arange(21))


def test_a_skipped_frame_before_a_cut_is_looked_at_after_all():
    shot_of = lambda i: int(i >= 10)  # noqa: E731
    place = lambda i: [face(300 if i >= 10 else 100)]  # noqa: E731
    tracked, detector = run(place, 20, shot_of, every=2, smoothing="gaussian")
    assert 9 in detector.looked
    assert detector.searched == [0, 10]
    np.testing.assert_array_equal(centres(tracked), [100] * 10 + [300] * 10)


def test_gap_is_bridged_by_a_straight_line_boxes_and_landmarks_alike():
    def script(i):
        mesh = np.full((478, 2), 10 * i, np.float32)
        return [] if 5 <= i < 10 else [face(100 + 4 * i, landmarks=mesh)]

    tracked, _ = run(script, 20, max_gap=5)
    np.testing.assert_array_equal(centres(tracked), 100 + 4 * np.arange(20))
    np.testing.assert_allclose([t.landmarks[0, 0] for t in tracked], np.arange(20) * 10)
    assert all(t.face.outline.shape == (20, 2) for t in tracked)


@pytest.mark.parametrize(
    "absent, why",
    [
        (range(5, 11), "longer than max_gap"),
        (range(0, 4), "at the start"),
        (range(16, 20), "at the end"),
    ],
)
def test_gaps_that_stay(absent, why):
    tracked, _ = run(lambda i: [] if i in absent else [face(200)], 20, max_gap=5)
    without = [t.index for t in tracked if t.face is None]
    # While nobody is in sight the whole frame is searched now and then only.
    assert without[: len(absent)] == list(absent), why
    assert len(without) <= len(absent) + 4


def test_gap_with_a_cut_inside_is_not_bridged():
    script = lambda i: [] if 8 <= i < 11 else [face(200)]  # noqa: E731
    tracked, _ = run(script, 20, shot_of=lambda i: int(i >= 9))
    assert {8, 9, 10} <= {t.index for t in tracked if t.face is None}


def test_smoothing_stops_at_a_cut():
    shot_of = lambda i: int(i >= 10)  # noqa: E731
    place = lambda i: [face(200 if i < 10 else 210)]  # noqa: E731
    tracked, _ = run(place, 20, shot_of, smoothing="gaussian")
    np.testing.assert_array_equal(centres(tracked), [200] * 10 + [210] * 10)
    tracked, _ = run(place, 20, shot_of, smoothing="original")
    assert 200 < centres(tracked)[7] < 210


def test_without_any_face_frames_pass_and_searches_are_rare():
    tracked, detector = run(lambda i: [], 50)
    assert all(t.face is None and t.landmarks is None for t in tracked)
    assert len(detector.searched) == 10


@pytest.mark.parametrize(
    "speaker, expected",
    [
        ("largest", 200),
        ("left", 50),
        ("right", 350),
        ("0", 50),
        ("1", 200),
        ("2", 350),
        ("340,60", 350),
    ],
)
def test_speaker_is_chosen_by_rule(speaker, expected):
    people = [face(350), face(50), face(200, width=60)]
    tracked, _ = run(lambda i: people, 5, speaker=speaker)
    np.testing.assert_array_equal(centres(tracked), expected)


def test_speaker_who_is_not_there_leaves_frames_alone():
    tracked, _ = run(lambda i: [face(50), face(200)], 5, speaker="2")
    assert np.isnan(centres(tracked)).all()


def test_the_largest_is_kept_when_another_becomes_larger():
    script = lambda i: [face(100, width=40), face(300, width=30 + 4 * i)]  # noqa: E731
    tracked, _ = run(script, 10)
    np.testing.assert_array_equal(centres(tracked), 100)


def test_crossing_faces_are_not_swapped():
    script = lambda i: [face(100 + 8 * i), face(300 - 8 * i)]  # noqa: E731
    tracked, _ = run(script, 25, speaker="left", every=2)
    np.testing.assert_array_equal(centres(tracked), 100 + 8 * np.arange(25))


def test_nobody_takes_the_place_of_a_speaker_who_is_briefly_gone():
    script = lambda i: [face(300)] + ([] if 5 <= i < 12 else [face(100)])  # noqa: E731
    tracked, _ = run(script, 20, speaker="left", max_gap=12)
    np.testing.assert_array_equal(centres(tracked), 100)


def test_after_a_long_absence_the_rule_applies_anew():
    script = lambda i: [face(380)] + ([face(100)] if i < 5 else [])  # noqa: E731
    tracked, _ = run(script, 40, speaker="left", max_gap=2)
    found = centres(tracked)
    np.testing.assert_array_equal(found[:5], 100)
    assert np.isnan(found[5:8]).all()
    np.testing.assert_array_equal(found[10:], 380)


def test_pads_and_clipping():
    tracked, _ = run(lambda i: [face(10, y=20)], 3, pads=(5, 10, 3, 4))
    np.testing.assert_array_equal(tracked[1].face.box, [0, 0, 34, 56])
    tracked, _ = run(lambda i: [face(390, y=110)], 3, pads=(0, 10, 0, 0))
    np.testing.assert_array_equal(tracked[1].face.box, [370, 84, WIDTH, HEIGHT])


def test_negative_pads_that_leave_nothing_mean_no_face():
    tracked, _ = run(lambda i: [face(200)], 3, pads=(0, -60, 0, 0))
    assert all(t.face is None for t in tracked)


def test_smoothing_original_is_wav2lip_on_padded_whole_pixel_boxes():
    rng = np.random.default_rng(1)
    x = 200 + rng.normal(0, 5, 12)
    tracked, _ = run(
        lambda i: [face(x[i])], 12, smoothing="original", pads=(0, 10, 0, 0)
    )
    boxes = np.array([face(v).box for v in x]).astype(int)
    boxes[:, 3] += 10
    for i in range(12):
        window = boxes[i : i + 5] if i + 5 <= 12 else boxes[-5:]
        boxes[i] = window.mean(0)
    np.testing.assert_array_equal([t.face.box for t in tracked], boxes)


def test_fixed_box_takes_no_pads():
    box = FixedBox(top=10, bottom=50, left=20, right=60)
    tracked = list(track(frames(3), box))
    assert [t.face.box.tolist() for t in tracked] == [[20, 10, 60, 50]] * 3
    assert tracked[0].face.outline is None


@pytest.mark.parametrize("box", [(-1, 50, 20, 60), (10, 121, 20, 60), (0, 9, 0, 401)])
def test_fixed_box_outside_the_frame_is_an_error(box):
    with pytest.raises(FaceError, match=r"lies outside the 400x120 frame"):
        next(iter(track(frames(1), FixedBox(*box))))


def test_empty_fixed_box_is_an_error():
    with pytest.raises(OptionError, match="top < bottom and left < right"):
        FixedBox(50, 10, 20, 60)


def test_unknown_options_are_errors_before_the_first_frame():
    with pytest.raises(OptionError, match="smoothing 'median': expected one of gauss"):
        track(frames(1), Script(list), smoothing="median")
    with pytest.raises(OptionError, match="speaker 'middle'"):
        track(frames(1), Script(list), speaker="middle")


@pytest.mark.parametrize(
    "visible", [lambda i: True, lambda i: False, lambda i: i % 13 == 0]
)
def test_only_a_few_frames_are_held(visible):
    made = []

    class Pixels(np.ndarray):
        pass

    def watched():
        for image in frames(80):
            image = image.view(Pixels)
            made.append(weakref.ref(image))
            yield image
            del image

    detector = Script(lambda i: [face(200)] if visible(i) else [])
    most = 0
    for _ in track(watched(), detector, max_gap=12, every=2):
        most = max(most, sum(ref() is not None for ref in made))
    assert most <= 12 + 2 + 5 + 2
