"""Scenes, tracks and crops equal those of the published evaluation."""

import json
from itertools import pairwise

import cv2
import numpy as np
import pytest
from parity import GOLDENS, golden, inputs

from lipsync_jax.evaluation.sync import tracks
from lipsync_jax.evaluation.sync.scenes import SceneCuts, change
from lipsync_jax.evaluation.sync.tracks import Rules, Track, crops, cut, find_tracks

CASES = json.loads((GOLDENS / "sync_cases.json").read_text())
SCENES = CASES["track_shot"]["scenes"]


def film():
    """The golden shots, RGB."""
    for number, (start, stop) in enumerate(CASES["scene_detect"]["shots"]):
        shot = np.floor(inputs(f"scene{number}", 6, 8, 3, low=0, high=256))
        for frame in range(start, stop):
            image = np.clip(shot + (frame - start) // 2, 0, 255).astype(np.uint8)
            yield image.repeat(8, 0).repeat(8, 1)[..., ::-1]


def test_scenes_begin_where_pyscenedetect_cuts():
    is_cut = SceneCuts()
    found = [index for index, image in enumerate(film()) if is_cut(image)]
    assert found == [scene[0] for scene in CASES["scene_detect"]["scenes"][1:]]


def test_changes_equal_pyscenedetects():
    hsv = [
        cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV).astype(np.int16)
        for image in film()
    ]
    want = golden("scene_detect")["metrics"]
    found = np.array([change(a, b) for a, b in pairwise(hsv)])
    np.testing.assert_allclose(found, want[-len(found) :, 1:], atol=1e-3)
    np.testing.assert_allclose(found.mean(1), want[-len(found) :, 0], atol=1e-3)


@pytest.mark.parametrize("number", range(len(SCENES)))
def test_tracks_equal_the_original_programs(number):
    want, case = golden("track_shot"), SCENES[number]
    scene = [[] for _ in range(case["n"])]
    for frame, *box in want[f"in{number}"]:
        scene[int(frame) - case["frame_offset"]].append(np.array(box, np.float32))
    rules = Rules(min_track=case["min_track"])
    found = find_tracks(scene, case["frame_offset"], rules)
    assert [[t.first, t.stop - 1] for t in found] == case["tracks"]
    for index, track in enumerate(found):
        boxes = want[f"bbox{number}_{index}"]
        np.testing.assert_allclose(track.boxes, boxes, atol=1e-4)


def test_crops_equal_the_original_programs():
    want, case = golden("crop_video"), CASES["crop_video"]
    width, height = case["frame_size_wh"]
    track = Track(1, want["bbox"].astype(float))
    squares = crops(track)
    np.testing.assert_allclose(
        squares, np.stack([want["s"], want["x"], want["y"]], 1), atol=1e-4
    )
    y, x, c = np.mgrid[:height, :width, :3]
    means = []
    for index, square in enumerate(squares):
        i = track.first + index
        image = (3 * x + 2 * y + 40 * c + 5 * i + x * y // 64) % 256
        seen = cut(image.astype(np.uint8), square)
        means.append(seen.mean(axis=(0, 1)))
        if index in case["kept"]:
            sub = want["crops_sub"][case["kept"].index(index)]
            np.testing.assert_array_equal(seen[::4, ::4], sub)
    np.testing.assert_allclose(means, want["crop_mean"], atol=1e-3)


def test_a_square_that_leaves_the_frame_is_grey_there():
    image = np.full((100, 100, 3), 255, np.uint8)
    seen = cut(image, np.array([40.0, 10.0, 90.0]))
    assert seen.shape == (224, 224, 3)
    assert (seen[:, 0] == tracks._BORDER).all() and (seen[-1] == tracks._BORDER).all()
    assert (seen[20, -20] == 255).all()
