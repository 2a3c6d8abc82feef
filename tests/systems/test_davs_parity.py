"""DAVS's networks equal the original's outputs under the golden parameters.

Tolerances are those the goldens came with: float32 noise of the original. Its arrays
are thinned out; `[:, :, ::8]` says how much of ours is compared.
"""

import json
from functools import partial

import jax
import numpy as np
import pytest
from davs_parity import GOLDENS, NETWORKS, golden, manifest, variables
from flax.traverse_util import flatten_dict
from parity import channels_last, fill_inputs

from convert_torch_weights.davs_names import davs_name, davs_networks
from lipsync_jax import models_io
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.nn.resize import upsample
from lipsync_jax.systems.davs.layers import Hourglass
from lipsync_jax.systems.davs.model import Davs, Identity
from lipsync_jax.systems.davs.model_judges import Discriminator, WordsOfIdentity

STAGES = json.loads((GOLDENS / "stages.json").read_text())


@pytest.fixture(scope="module")
def want():
    return golden("forward")


def run(module, weights, *args, **kwargs):
    """Applies a network as one compiled program, in full float32 precision."""
    with jax.default_matmul_precision("highest"):
        apply = jax.jit(lambda v, *a: module.apply(v, *a, **kwargs))
        return jax.tree.map(np.asarray, apply(weights, *args))


def run_with_stages(network, key, *args, method=None):
    """The output, and each module's (N, C, H, W), compared to golden statistics."""
    output, state = run(
        NETWORKS[network],
        variables(network),
        *args,
        method=method,
        capture_intermediates=True,
        mutable="intermediates",
    )
    found = {
        path[:-1]: np.asarray(value, np.float64)
        for path, (value, *_) in flatten_dict(state["intermediates"]).items()
        if len(path) > 1 and not isinstance(value, tuple)
    }
    found = {
        path: np.moveaxis(value, -1, 1) if value.ndim > 2 else value
        for path, value in found.items()
    }
    # A block shares the name of its convolution, which comes later and stays.
    layers = {
        davs_name(("params", *path, "kernel"))
        .removesuffix(".weight")
        .removeprefix(f"{key}."): found[path]
        for path in sorted(found, key=len)
    }
    compared = 0
    for stage, (mean, std, *first) in STAGES[key].items():
        stage = stage + ".2" if stage.endswith("downsample") else stage
        if stage in layers:
            ours = [layers[stage].mean(), layers[stage].std()]
            scale = 1e-4 * (abs(mean) + std)
            np.testing.assert_allclose(ours, [mean, std], atol=scale, err_msg=stage)
            ours = layers[stage].ravel()[:8]
            scale = 1e-4 * max(std, 1e-3)
            np.testing.assert_allclose(ours, first[: ours.size], atol=scale)
            compared += 1
    assert compared >= 0.4 * len(STAGES[key])
    return output, {"/".join(path): value for path, value in found.items()}


def close(ours, golden, atol=None):
    """Compares; the bound grows with the values unless it is given."""
    atol = atol or 1e-5 * max(1, np.abs(golden).max())
    np.testing.assert_allclose(ours, golden, rtol=0, atol=atol)


def channels_first(x):
    return np.moveaxis(x, -1, -3)


def faces():
    return channels_last(fill_inputs("davs_image", (2, 3, 256, 256), 0, 1))


def lips():
    video = fill_inputs("davs_lip_video", (1, 2, 3, 256, 256), 0, 1)
    return channels_last(video[0])


def heard():
    mfcc = fill_inputs("davs_mfcc", (2, 3, 1, 20, 12), -20, 20)
    return mfcc.reshape(6, 20, 12, 1)


def to_draw():
    skip = channels_last(fill_inputs("davs_dec_id3", (2, 160, 32, 32)))
    identity = Identity(fill_inputs("davs_dec_id0", (2, 256)), skip, None)
    return identity, fill_inputs("davs_mouth", (2, 256), -8, 8)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_identity_encoder(want):
    identity, found = run_with_stages(
        "davs", "ID_encoder", faces(), method="encode_identity"
    )
    close(identity.code, want["id_feature"])
    close(found["identity_encoder/block42"][:, ::8], want["id_net4"])
    close(found["identity_encoder/block34"][0, ::16], want["id_net3"])
    skip, early = map(channels_first, (identity.skip, identity.early))
    close(skip[0, ::8, ::3, ::3], want["id_net2"])
    close(early[:, ::16, ::3, ::3], want["id_net1_sub"])


def test_lip_encoder(want):
    codes, found = run_with_stages(
        "davs", "lip_feature_encoder", lips(), method="encode_lips"
    )
    close(codes[None], want["lip_embedding"])
    maps = found["lip_encoder/model/l0/conv"][0, ::16, ::2, ::2]
    close(maps, want["lip_heatmap68_sub"])


def test_audio_encoder(want):
    codes, found = run_with_stages(
        "davs", "mfcc_encoder", heard(), method="encode_audio"
    )
    close(codes.reshape(2, 3, 256), want["mfcc_embedding"])
    close(found["audio_encoder/model1_conv4"], want["mfcc_branch1"])
    close(found["audio_encoder/model2_conv3"], want["mfcc_branch2"])


def test_decoder(want):
    identity, said = to_draw()
    drawn, found = run_with_stages("davs", "Decoder", identity, said, method="decode")
    close(found["decoder/deconv1_1_new/norm"][:, ::8], want["decoder_deconv_bn"])
    block3 = found["decoder/convblock3_conv3_3"]
    close(block3[:, ::64], want["decoder_block3_sub"])
    larger = upsample(channels_last(block3).astype(np.float32))
    joined = np.concatenate([identity.skip, larger], axis=-1)
    joined = channels_first(joined)[:, ::104, ::2, ::2]
    close(joined, want["decoder_block4_in_sub"])
    close(found["decoder/conv7_2"][..., ::8, ::8], want["decoder_pretanh_sub"])
    close(channels_first(drawn)[0, :, ::4, ::4], want["decoder_image"], 2e-5)


def test_folded_generation(want):
    module = NETWORKS["davs"].clone(folded=True)
    weights = fold_batch_norm(variables("davs"), module.norm_epsilon)

    def draw(module):
        identity = module.encode_identity(faces()[:1])
        seen, said = module.encode_lips(lips()[:1]), module.encode_audio(heard()[:1])
        return [module.decode(identity, said) for said in (0.8 * seen, 1.5 * said)]

    drawn = run(module, weights, method=draw)
    for (picture,), name in zip(drawn, ("video", "audio"), strict=True):
        thinned = channels_first(picture)[:, ::6, ::6]
        close(thinned, want[f"chain_{name}_image_sub"], 2e-5)


@pytest.mark.parametrize(
    "network,key", [("davs_disc", "netD"), ("davs_sequence_disc", "netD_mul")]
)
def test_discriminator(want, network, key):
    frames = NETWORKS[network].frames
    shape = (2, 3 * frames, 256, 256)
    pictures = channels_last(fill_inputs(f"davs_{key}_image", shape, 0, 1))
    mfcc = fill_inputs(f"davs_{key}_mfcc", (2, frames, 20, 12), -2, 2)
    (patches, joint), _ = run_with_stages(network, key, channels_last(mfcc), pictures)
    close(sigmoid(patches)[:, None], want[f"{key}_patch"])
    close(sigmoid(joint)[:, None], want[f"{key}_joint"])
    close(joint[:, None], want[f"{key}_joint_logit"])


def test_classifiers(want):
    early = fill_inputs("davs_iddis_feat", (1, 1280, 64, 64))
    early = channels_last(early.reshape(1, 20, 64, 64, 64))
    words, _ = run_with_stages("davs_identity_words", "ID_lip_discriminator", early)
    close(words, want["iddis_logits"])
    said = fill_inputs("davs_fusion_in", (3, 12, 256))
    words, _ = run_with_stages("davs_words", "model_fusion", said)
    close(words, want["fusion_logits"])
    said = fill_inputs("davs_disaudio_in", (2, 3, 256))
    is_heard = run(NETWORKS["davs_modality"], variables("davs_modality"), said)
    close(sigmoid(is_heard).reshape(6, 1), want["disaudio_prob"])
    codes = fill_inputs("davs_idfc_in", (2, 20, 256))
    words = run(NETWORKS["davs_identity_fc"], variables("davs_identity_fc"), codes)
    close(words, want["idfc_logits"])
    code = fill_inputs("davs_faceid_in", (2, 256))
    people = run(NETWORKS["davs_people"], variables("davs_people"), code)
    close(people[:, ::40], want["faceid_logits_sub"])


def test_every_weight_has_its_place_and_shape():
    names = {
        f"{key}.{name}": np.broadcast_to(np.float32(0), shape)
        for key, parameters in manifest().items()
        for name, shape in parameters.items()
    }
    networks = davs_networks(names)
    assert len(networks) == 8
    assert sum(map(len, networks.values())) == len(names) - 42
    for network in networks:
        shapes = models_io.shapes(NETWORKS[network])
        found = {k: np.shape(v) for k, v in flatten_dict(variables(network)).items()}
        assert found == shapes


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_small_networks(resolution):
    module = Davs(resolution, 0.25)
    args = models_io.example_inputs(module, 2)
    drawn, weights = jax.eval_shape(module.init_with_output, jax.random.key(0), *args)
    assert [picture.shape for picture in drawn] == [(2, resolution, resolution, 3)] * 2
    assert weights["params"]["decoder"]["conv7_2"]["conv_transpose"]["bias"].size == 3
    encode = partial(module.apply, method="encode_identity")
    early = jax.eval_shape(encode, weights, args[1]).early
    judge = WordsOfIdentity(5, 20, resolution, 0.25)
    assert (5, *early.shape[1:]) == judge.input_shapes[0]
    if resolution > 32:
        judge = Discriminator(2, resolution, 0.25)
        args = models_io.example_inputs(judge, 2)
        logits, _ = jax.eval_shape(judge.init_with_output, jax.random.key(0), *args)
        assert [x.shape for x in logits] == [(2, 30, 30), (2,)]


def test_upsample_aligns_corners():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype("f")
    y = np.asarray(upsample(x))
    rows = np.arange(6) * 2 / 5
    columns = np.arange(10) * 4 / 9
    for n, i, j, c in ((0, 0, 0, 0), (1, 5, 9, 3), (1, 3, 6, 2), (0, 2, 1, 1)):
        one_row = [np.interp(columns[j], np.arange(5), r) for r in x[n, :, :, c]]
        assert y[n, i, j, c] == pytest.approx(
            np.interp(rows[i], np.arange(3), one_row), rel=1e-5
        )
    np.testing.assert_array_equal(
        upsample(x[:, :1, :1]), x[:, :1, :1].repeat(2, 1).repeat(2, 2)
    )


def test_dropout_is_in_the_upper_branches_alone():
    module = Hourglass(1, 8, 1.0)
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 8)).astype("f")
    weights = jax.jit(module.init)(jax.random.key(0), x)
    # The lower branch is all that is left when everything above is dropped.
    key = {"dropout": jax.random.key(1)}
    y, _ = module.apply(weights, x, train=True, rngs=key, mutable=["batch_stats"])
    calm = module.clone(dropout=0.0)
    z, state = calm.apply(
        weights,
        x,
        train=True,
        mutable=["batch_stats", "intermediates"],
        capture_intermediates=True,
    )
    lower = state["intermediates"]["b3_1"]["__call__"][0]
    np.testing.assert_allclose(y, upsample(lower), atol=1e-5)
    assert np.abs(z - y).max() > 0.1
