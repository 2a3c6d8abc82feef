"""Landmark distance of meshes that are moved, opened and scaled by known amounts."""

import numpy as np
import pytest

from lipsync_jax.evaluation.image.landmarks import LIPS, landmark_distance
from lipsync_jax.evaluation.image.regions import region_boxes


@pytest.fixture
def mesh():
    points = np.random.default_rng(0).uniform(0, 200, (478, 2)).astype(np.float32)
    points[33], points[263] = (50, 80), (150, 80)  # eyes 100 pixels apart
    return points


def test_lips_are_forty_different_points():
    assert len(set(LIPS)) == len(LIPS) == 40


@pytest.mark.parametrize("lips", [True, False])
def test_the_same_face_elsewhere_is_perfect(mesh, lips):
    moved = mesh + np.array([12, -7])
    assert landmark_distance(mesh, moved, lips) == pytest.approx(0, abs=1e-5)


def test_percent_of_the_distance_of_the_eyes(mesh):
    opened = mesh.copy()
    opened[list(LIPS[:20]), 1] += 3
    opened[list(LIPS[20:]), 1] -= 3
    assert landmark_distance(mesh, opened, lips=True) == pytest.approx(3, rel=1e-5)
    assert landmark_distance(2 * mesh, 2 * opened, lips=True) == pytest.approx(3, 1e-5)
    assert landmark_distance(mesh, opened, lips=False) < 1


def test_noise_worsens_it(mesh):
    noise = np.random.default_rng(1).normal(size=mesh.shape)
    for lips in (True, False):
        scores = [landmark_distance(mesh, mesh + n * noise, lips) for n in (0, 1, 2, 4)]
        assert scores == sorted(scores) and scores[0] == 0


def test_regions_of_a_face_lie_in_it():
    frame, face, mouth = region_boxes((100, 200), np.array([40, 10, 80, 60]))
    assert frame.tolist() == [0, 0, 200, 100]
    assert face.tolist() == [40, 10, 80, 60]
    assert mouth.tolist() == [48, 38, 72, 60]
    assert not region_boxes((100, 200), None)[1:].any()
