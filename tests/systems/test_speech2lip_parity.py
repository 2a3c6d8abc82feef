"""Speech2Lip's networks and fusion equal the original's under the golden parameters.

Tolerances are those the goldens came with, relative to the largest value.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from speech2lip_parity import (
    apply,
    channels_last,
    checkpoint,
    close,
    golden,
    inputs,
    stat,
    variables,
)

from convert_torch_weights.speech2lip_names import speech2lip_network
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.systems.speech2lip import fusion
from lipsync_jax.systems.speech2lip.embed import position_code, time_code
from lipsync_jax.systems.speech2lip.ensemble import pixel_grid, taps
from lipsync_jax.systems.speech2lip.model import MEL, Speech2Lip

MODULE = Speech2Lip(resolution=64, lip_height=16, lip_width=20)
PUBLISHED = Speech2Lip()


@pytest.fixture(scope="module")
def weights():
    return variables(MODULE)


def with_depth(weights, resolution):
    """The weights for a module with larger pictures; nothing drawn needs the depth."""
    depth = np.zeros((resolution, resolution), np.float32)
    return {**weights, "params": {**weights["params"], "canonical_depth_head": depth}}


def rows(picture):
    """The rows of a picture (..., H, W, C) that the goldens keep."""
    return picture[..., ::4, :, :]


def test_codes():
    given, want = inputs("embed"), golden("embed")
    close(position_code(given["uv"]), want["uv_embed"], 2e-5)
    close(position_code(given["audio"], 6), want["audio_embed_m6"], 2e-5)
    close(time_code(given["time_positions"]), want["time_embed"], 2e-5)
    close(pixel_grid(16, 20), want["coords_20x16"], 1e-6)
    close(stat(pixel_grid(80, 120)), want["stat/coords_120x80"], 1e-6)


def test_audio_network(weights):
    def listen(module, windows):
        return module.audio(windows)

    given, want = inputs("audio_net"), golden("audio_net")
    found = apply(MODULE, weights, listen, given["deepspeech"])
    close(found, want["ds_feature"], 2e-5)
    module = MODULE.clone(features=MEL)
    mel = given["mel"].swapaxes(1, 2)
    close(apply(module, variables(module), listen, mel), want["mel_feature"], 2e-5)


@pytest.mark.parametrize("frame", [0, 7, 597])
def test_colours(weights, frame):
    def colour(module, *args):
        return module.lip(*args)

    # One pixel for each of 64 things said: the diagonal of 64 by 64.
    given = inputs("rgb")
    frames = np.full(64, frame)
    found = apply(MODULE, weights, colour, given["uv"], given["audio_feature"], frames)
    pixels = np.arange(64)
    close(found[pixels, pixels], golden("rgb")[f"rgb_t{frame}"], 2e-5)


@pytest.mark.parametrize("shift", [0.37, 0.0, 0.93])
def test_lips_of_four_taps(weights, shift):
    given, want = inputs("lip"), golden("lip")
    found = apply(
        MODULE,
        weights,
        "paint_ensemble",
        given["w20h16/audio"],
        given["index_w20h16"],
        shift,
    )
    close(found[0], want[f"w20h16/ensemble_eps{shift}"], 5e-5)


def test_taps(weights):
    def colour(module, positions, windows, frame):
        return module.lip(positions, module.audio(windows), frame)

    given, want = inputs("lip"), golden("lip")
    positions, shares = taps(16, 20, jnp.float32(0.37))
    close(positions, want["w20h16/shift_coords"], 1e-6)
    close(shares.sum(axis=0), np.ones(320), 1e-6)
    found = apply(
        MODULE,
        weights,
        colour,
        positions.reshape(-1, 2),
        given["w20h16/audio"],
        given["index_w20h16"],
    )
    close(found.reshape(4, 320, 3), want["w20h16/shift_preds"], 5e-5)


@pytest.mark.parametrize("size", ["w20h16", "w120h80"])
def test_lips_of_one_tap(weights, size):
    given, want = inputs("lip"), golden("lip")
    module = MODULE if size == "w20h16" else MODULE.clone(lip_height=80, lip_width=120)
    found = apply(
        module, weights, "paint", given[f"{size}/audio"], given[f"index_{size}"]
    )
    if size == "w20h16":
        close(found[0], want["w20h16/inference"], 5e-5)
    else:
        patch = found[0, 30:46, 50:66]
        close(patch, want["w120h80/inference/patch_y30_x50_16x16"], 5e-5)
        close(stat(found), want["stat/w120h80/inference"], 5e-5)


def test_published_lips_of_four_taps(weights):
    given, want = inputs("lip"), golden("lip")
    module = MODULE.clone(lip_height=80, lip_width=120)
    windows, frame = given["w120h80/audio"], given["index_w120h80"]
    found = apply(module, weights, "paint_ensemble", windows, frame, 0.37)
    patch = found[0, 30:46, 50:66]
    close(patch, want["w120h80/ensemble_eps0.37/patch_y30_x50_16x16"], 5e-5)
    close(stat(found), want["stat/w120h80/ensemble_eps0.37"], 5e-5)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(("case", "size"), [("eval64", "x64"), ("eval37x50", "x37x50")])
def test_blending(weights, case, size, folded):
    module = MODULE.clone(folded=folded)
    if folded:
        weights = fold_batch_norm(weights)
    pictures = channels_last(inputs("unet")[size])
    found = apply(module, weights, "blend", pictures)
    close(rows(found), channels_last(golden("unet")[case]), 3e-5)


def test_blending_in_training(weights):
    want = golden("unet")
    pictures = channels_last(inputs("unet")["x37x50"])
    found, new = apply(
        MODULE, weights, "blend", pictures, train=True, mutable=["batch_stats"]
    )
    close(rows(found), channels_last(want["train37x50"]), 3e-5)
    unet = new["batch_stats"]["post_fusion_unet"]
    for block, layer, name in (
        ("inc", "double_conv_0", "inc.double_conv.1"),
        ("up2", "double_conv_3", "up2.conv.double_conv.4"),
        ("down1", "double_conv_0", "down1.maxpool_conv.1.double_conv.1"),
        ("down2", "double_conv_3", "down2.maxpool_conv.1.double_conv.4"),
    ):
        for moment in ("mean", "var"):
            stats = unet[block][layer]["norm"][moment]
            key = f"stat/after_train/{name}.running_{moment}"
            np.testing.assert_allclose(stat(stats), want[key], rtol=3e-5, atol=3e-5)


def fuse(weights, given, corner, offset=0, holes=False):
    """The fusion of a golden case: blended, and the composite in both views."""
    mask, canonical = given["mask_lip_canonical"][0], given["canonical"][0]
    lips, frame, grid = given["lip"], given["gt"], given["coord"]
    drawn = fusion.composite(lips, canonical, mask, corner + offset)
    rectangle = fusion.enlarged_rectangle(corner, lips.shape[1:3], frame.shape[1:3])
    seen, inside = fusion.observed(drawn, rectangle, grid)
    kept, mixed = seen, frame
    if holes:
        bits = np.unpackbits(given["blackaug_mask_face_observed"])
        region = channels_last(bits.reshape(1, 3, 64, 64) == 1)
        noise = [given[name][:, 0] for name in ("noise1", "noise2")]
        kept, mixed = fusion.with_holes(seen, frame, region, noise)
    merged = fusion.merge(kept, inside, mixed)
    module = MODULE.clone(resolution=frame.shape[1])
    weights = with_depth(weights, frame.shape[1])
    return apply(module, weights, "blend", merged), merged, drawn


@pytest.mark.parametrize(
    ("case", "offset"), [("may", 0), ("other", -1), ("blackaug", 0)]
)
def test_fusion(weights, case, offset):
    given, want = inputs("fusion"), golden("fusion")
    corner = given["lip_lefttop_xy"]
    recon, _, drawn = fuse(weights, given, corner, offset, case == "blackaug")
    for name, found in (("recon", recon), ("merged_canonical", drawn)):
        if f"{case}/{name}" in want:
            close(rows(found), want[f"{case}/{name}"], 2e-4, name)


def test_the_merged_picture(weights):
    given, want = inputs("fusion"), golden("fusion")
    _, merged, _ = fuse(weights, given, given["lip_lefttop_xy"])
    close(rows(merged), want["may/merged_observed"], 2e-4)


def published_inputs():
    """The golden case of the published size; its grid and mask are formulas."""
    given = inputs("fusion")
    ends = 2 * np.arange(500) / 499 - 1
    x, y = np.meshgrid(ends, ends)
    grid = np.stack(
        [
            x + 0.03 * np.sin(3 * y + 0.4) + 0.015,
            y + 0.03 * np.cos(2.5 * x - 0.4) - 0.009,
        ],
        axis=-1,
    )
    mask = np.zeros((1, 500, 500, 3), np.float32)
    mask[:, 330:410, 190:310] = 1
    return {
        "lip": given["lip_pub"],
        "canonical": given["canonical_pub"],
        "gt": given["gt_pub"],
        "mask_lip_canonical": mask,
        "coord": np.clip(grid, -1, 1).astype(np.float32)[None],
    }


def test_published_size(weights):
    want = golden("fusion")
    corner = inputs("fusion")["lip_lefttop_xy_pub"]
    found = fuse(weights, published_inputs(), corner)
    for name, picture in zip(
        ("recon", "merged_observed", "merged_canonical"), found, strict=True
    ):
        patch = picture[:, 350:382, 230:262]
        close(patch, want[f"pub/{name}/patch_y350_x230_32x32"], 2e-4, name)
        blocks = picture.reshape(1, 10, 50, 10, 50, 3).mean(axis=(2, 4))
        blocks = np.moveaxis(blocks, -1, 1)
        close(blocks, want[f"pub/{name}/block50_mean"], 2e-4, name)


def test_rounding_leaves_no_holes_in_the_region():
    """Q8: an exact comparison loses inner pixels of the face."""
    canonical = np.ones((24, 24, 3), np.float32)
    grid = inputs("fusion")["coord"][:, 16:48, 16:48] * 0.9
    assert fusion.face_region(canonical, grid).all()


def test_rectangle_at_the_edge_of_the_picture():
    rectangle = fusion.enlarged_rectangle(np.array([2, 40]), (16, 20), (64, 64))
    rows, columns = np.asarray(rectangle)[..., 0].nonzero()
    assert (columns.min(), columns.max()) == (0, 25)
    assert (rows.min(), rows.max()) == (36, 63)


def test_checkpoint_without_what_nothing_uses():
    tensors = {f"model.{name}": value for name, value in checkpoint().items()}
    found = speech2lip_network(tensors)
    assert len(found) == 75 + 20  # parameters and running statistics
    assert sum(value.size for value in found.values()) == 2_192_118 - 214_592 + 1920


def test_lips_learn_from_the_merged_picture():
    given = inputs("fusion")
    corner = given["lip_lefttop_xy"]

    def brightness(lips):
        drawn = fusion.composite(
            lips, given["canonical"][0], given["mask_lip_canonical"][0], corner
        )
        rectangle = fusion.enlarged_rectangle(corner, (16, 20), (64, 64))
        seen, inside = fusion.observed(drawn, rectangle, given["coord"])
        return fusion.merge(seen, inside, given["gt"]).sum()

    slope = jax.grad(brightness)(jnp.asarray(given["lip"]))
    assert (np.abs(slope) > 0).mean() > 0.9
