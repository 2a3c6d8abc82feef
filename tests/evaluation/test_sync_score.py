"""LSE-D, LSE-C and offset equal the published scorer's; properties of the score."""

import json

import cv2
import numpy as np
import pytest
from parity import GOLDENS, converted, golden, inputs

from lipsync_jax.audio.mfcc import mfcc
from lipsync_jax.errors import DataError
from lipsync_jax.evaluation.sync.judges import SyncNetJudge, score
from lipsync_jax.evaluation.sync.shifts import ShiftDistances


def distances(seen, heard, beyond=0.0, parts=(5,)):
    shifts = ShiftDistances(beyond)
    for a, b in zip(np.split(seen, parts), np.split(heard, parts), strict=True):
        shifts.add(a, b)
    return shifts.score()


@pytest.mark.parametrize("parts", [(), (1,), (5, 6), (11,)])
def test_distances_equal_the_original_scorers(parts):
    want = golden("calc_pdist")
    pd1 = inputs("pd1", 12, 64, low=None, high=None)
    pd2 = inputs("pd2", 12, 64, low=None, high=None)
    found = distances(pd1, pd2, parts=parts)
    np.testing.assert_allclose(found.distances, want["pdist_v15"].mean(0), rtol=1e-5)
    assert found.windows == 12


def test_shifted_features_equal_the_original_scorers():
    want = golden("calc_pdist")
    pd1 = inputs("pd1", 12, 64, low=None, high=None)
    heard = np.roll(pd1, 3, axis=0) + 0.1 * inputs("pd2", 12, 64, low=None, high=None)
    found = distances(pd1, heard)
    # The golden run shifted by up to 10 frames, this one by 15.
    mean = want["pdist_shift"].mean(0)
    np.testing.assert_allclose(found.distances[5:26], mean, rtol=1e-5)
    assert found.offset == want["shift_offset"]
    np.testing.assert_allclose(found.distance, want["shift_min"], rtol=1e-5)


@pytest.fixture(scope="module")
def judge():
    network = converted("S", "syncnet_v2")
    return SyncNetJudge(network.module, network.variables)


def test_a_video_scores_as_in_the_original_program(judge):
    want = golden("lse_evaluate")
    case = json.loads((GOLDENS / "sync_cases.json").read_text())["lse_evaluate"]
    frames = inputs("lse_frames", *case["frames"]["shape"], low=0, high=256)
    frames = np.floor(frames).astype(np.uint8)[..., ::-1].repeat(8, 1).repeat(8, 2)
    faces = [cv2.resize(frame, (224, 224)) for frame in frames]
    sound = golden("mfcc")["pcm"].astype(np.float32) / 32768
    found = score(judge, faces, np.split(sound, [100, 9000]))
    assert found.windows == case["n_windows"]
    assert found.offset == want["offset"]
    np.testing.assert_allclose(found.distances, want["dists"].mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.distance, want["min_distance"], rtol=1e-4)
    np.testing.assert_allclose(found.confidence, want["confidence"], rtol=1e-3)


def test_sounds_are_columns_of_the_whole_signals_mfcc(judge):
    pcm = golden("mfcc")["pcm"]
    whole = mfcc(pcm).T
    windows = list(judge.sounds(np.split(pcm / 32768, [1, 3000, 3001])))
    assert len(windows) == len(pcm) // 640 - 5
    for frame, window in enumerate(windows):
        np.testing.assert_allclose(
            window, whole[:, 4 * frame :][:, :20], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("late", [-12, -1, 0, 7, 15])
@pytest.mark.parametrize("beyond", [0.0, np.nan])
def test_a_late_sound_has_a_negative_offset(late, beyond):
    rng = np.random.default_rng(0)
    words = rng.normal(size=(100, 8))
    found = distances(words, np.roll(words, late, axis=0), beyond, parts=(30, 71))
    assert found.offset == -late
    assert found.distance < 0.5 < found.confidence


def test_noise_in_the_embeddings_worsens_both_scores():
    rng = np.random.default_rng(0)
    words, noise = rng.normal(size=(2, 100, 8))
    scores = [distances(words, words + level * noise) for level in (0, 0.2, 0.5, 1)]
    far = [score.distance for score in scores]
    sure = [score.confidence for score in scores]
    assert far == sorted(far) and sure == sorted(sure, reverse=True)
    assert far[0] < 1e-5


def test_windows_without_a_face_take_no_part():
    rng = np.random.default_rng(0)
    words = rng.normal(size=(60, 8))
    seen = words.copy()
    seen[20:30] = np.nan
    found = distances(seen, words)
    assert found.windows == 50 and found.offset == 0 and found.distance < 1e-5


def test_where_nothing_overlaps_there_is_no_distance():
    words = np.random.default_rng(0).normal(size=(8, 4))
    found = distances(words, words, beyond=np.nan)
    assert np.isfinite(found.distances).sum() == 15
    assert found.offset == 0


def test_too_short(judge):
    faces = [np.zeros((224, 224, 3), np.uint8)] * 5
    with pytest.raises(DataError, match=r"0\.24 s"):
        score(judge, faces, [np.zeros(16000, np.float32)])
    with pytest.raises(DataError, match="nowhere a face"):
        score(judge, [None] * 30, [np.zeros(32000, np.float32)])
