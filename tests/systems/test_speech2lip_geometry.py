"""Poses, projections and warps equal the original's (Speech2Lip, section 4)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from speech2lip_parity import channels_last, close, golden, inputs

from lipsync_jax.systems.speech2lip import geometry

FOCAL = 190.0
TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def case():
    """The golden inputs with the poses that they stand for."""
    given = inputs("warp")
    away = np.array([0, 0, -7], np.float32)
    given["trans"] = given["trans_offset"] + away
    given["canonical_trans"] = given["canonical_trans_offset"] + away
    return given


def motions(case):
    """From the canonical pose to each of the four, and back."""
    canonical = case["canonical_euler"], case["canonical_trans"]
    poses = case["euler"], case["trans"]
    return geometry.motion(*canonical, *poses), geometry.motion(*poses, *canonical)


def rows(picture):
    """The rows of a picture (H, W, C) that the goldens keep."""
    return picture[::4]


def test_poses(case):
    want = golden("warp")
    close(geometry.rotation(case["euler"]), want["euler2rot"], 1e-6)
    flipped = case["euler"] * np.float32([1, -1, -1])
    close(geometry.rotation(flipped), want["euler2rot_change_hand"], 1e-6)
    matrices = geometry.camera_matrix(case["euler"], case["trans"])
    close(matrices, want["transform_matrix"], 1e-6)
    to_observed, to_canonical = motions(case)
    close(to_observed, want["rel_can2obs"], 1e-6)
    close(to_canonical, want["rel_obs2can"], 1e-6)
    close(geometry.inverse(to_observed), want["rel_pose_inverse"], 1e-6)


def test_points(case):
    want = golden("warp")["full/cam_points"][0, :3]
    points = geometry.back_project(case["depth_full"], FOCAL)
    close(np.moveaxis(rows(points), -1, 0), want, 1e-6)


def test_depths_after_a_motion(case):
    points = geometry.back_project(case["depth_full"], FOCAL)
    _, depth = geometry.project(points, motions(case)[0][1], FOCAL)
    close(rows(depth), golden("warp")["full/z"][0, 0], 1e-6)


@pytest.mark.parametrize("depth", ["full", "masked"])
def test_grids(case, depth):
    want = golden("warp")
    to_observed, to_canonical = motions(case)
    there = case[f"depth_{depth}"][::4] > 0
    for moved, name in (
        (to_observed[1], "pix_coords"),
        (to_canonical[1], "coords_clamped_obs2can"),
    ):
        grid = geometry.warp_grid(case[f"depth_{depth}"], moved, FOCAL)
        if name != "pix_coords":
            grid = np.clip(grid, -1, 1)
        close(rows(grid)[there], want[f"{depth}/{name}"][0][there], TOLERANCE, name)


@pytest.mark.parametrize(
    ("name", "padding", "forth"),
    [
        ("inverse_warping_can2obs", "border", True),
        ("inverse_warping_training_pose", "border", False),
        ("zeros_padding", "zeros", True),
    ],
)
def test_warps(case, name, padding, forth):
    moved = geometry.motion(
        case["canonical_euler"], case["canonical_trans"], case["euler"], case["trans"]
    )[1]
    moved = moved if forth else geometry.inverse(moved)
    grid = geometry.warp_grid(case["depth_full"], moved, FOCAL)
    warped = geometry.sample(case["src"], grid[None], padding)[0]
    want = channels_last(golden("warp")[f"full/{name}"][0])
    close(rows(warped), want, TOLERANCE)


@pytest.mark.parametrize(("name", "forth"), [("can2obs", True), ("training_pose", 0)])
def test_gradient_of_depth(case, name, forth):
    moved = motions(case)[0][1]
    moved = moved if forth else geometry.inverse(moved)

    def energy(depth):
        grid = geometry.warp_grid(depth, moved, FOCAL)
        return (geometry.sample(case["src"], grid[None], "border") ** 2).mean()

    slope = jax.grad(energy)(jnp.asarray(case["depth_full"]))
    close(rows(slope), golden("warp")[f"full/grad_depth_{name}"], 1e-3)


def test_nothing_moves_without_a_motion():
    depth = jnp.full((20, 30), 6.0)
    grid = geometry.warp_grid(depth, jnp.eye(4), FOCAL)
    x, y = np.meshgrid(np.linspace(-1, 1, 30), np.linspace(-1, 1, 20))
    close(grid, np.stack([x, y], axis=-1), 1e-5)
