"""Lip2Wav's networks equal the original's outputs under the golden parameters.

Tolerances are those the goldens came with: float32 noise of the originals.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from lip2wav_parity import (
    NETWORKS,
    TINY,
    apply,
    cases,
    filled,
    filled_tensor,
    golden,
    inputs,
    manifest,
    variables,
)

from lipsync_jax import models_io
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.systems.lip2wav.decoder import (
    Attention,
    DecoderCell,
    Memory,
    Postnet,
    State,
)
from lipsync_jax.systems.lip2wav.layers import ZoneoutLSTM
from lipsync_jax.systems.lip2wav.model import VARIANTS

SMOOTHING = Attention(units=8, filters=4, smoothing=True, cumulative=False)


def speak(case, module, **kwargs):
    """What a network says of a golden case's inputs."""
    weights = variables(module.clone(folded=False), "mild" in cases()[case])
    if module.folded:
        weights = fold_batch_norm(weights, module.norm_epsilon)
    given = inputs(case)
    nobody = np.zeros((cases()[case]["batch"], module.speaker_size), np.float32)
    speaker, mel = given.get("emb", nobody), given.get("mel")
    return apply(module, weights, given["faces"], speaker, mel, **kwargs)


def compare(said, want, every=(1, 1, 1), atol=1e-5):
    """Holds what is said to a golden of which some frames are kept."""
    mel, before, steps = every
    found = {
        "mel_outputs": said.mel[:, ::mel],
        "decoder_output": said.before[:, ::before],
        "alignments": said.alignments[:, :, ::steps],
    }
    for name, value in found.items():
        np.testing.assert_allclose(value, want[name], rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    ("case", "module", "lengths"),
    [
        ("tiny.eval", TINY, None),
        ("tiny.infer", TINY.clone(fps=20), None),
        ("tiny.eval_masked", TINY, np.array([10, 7])),
        ("tiny.eval_smoothing", TINY.clone(attention=SMOOTHING), None),
    ],
)
def test_small_network(case, module, lengths):
    said = speak(case, module.clone(dropout=0), lengths=lengths)
    compare(said, golden(case))


@pytest.mark.parametrize(
    ("case", "folded"),
    [
        ("chem.eval", False),
        ("av48.infer", False),
        ("dl.infer", True),
        ("lrw.eval", True),
        ("lrw.infer_sharp", False),
    ],
)
def test_network(case, folded):
    module = NETWORKS[case.split(".")[0]].clone(dropout=0, folded=folded)
    compare(speak(case, module), golden(case), every=(4, 8, 12))


@pytest.mark.parametrize("network", ["tiny", "dl"])
def test_every_layer(network):
    module = NETWORKS[network].clone(dropout=0)
    _, state = speak(
        f"{network}.eval",
        module,
        capture_intermediates=True,
        mutable="intermediates",
    )
    found = {
        "/".join(path[:-1]): np.asarray(value[0], np.float64)
        for path, value in flatten_dict(state["intermediates"]).items()
        if len(path) > 1
    }
    places = {"encoder_outputs": "encoder_LSTM", "attention_keys": "memory_layer"}
    for stage, (mean, std, *first) in cases()[f"{network}.eval"]["stages"].items():
        if stage.startswith("conv_layer"):
            place = f"encoder_convolutions/{stage.removesuffix('_')}"
        else:
            place = stage.replace("postnet_", "postnet_convolutions/conv_layer_")
        value = found[places.get(stage, place)]
        np.testing.assert_allclose(
            [value.mean(), value.std(), *value.ravel()[:8]],
            [mean, std, *first],
            rtol=1e-4,
            atol=1e-4 * std,
            err_msg=stage,
        )


@pytest.mark.parametrize("network", ["tiny", "chem"])
def test_decoder_step(network):
    case = f"{network}.decoder_step"
    module, given, want = NETWORKS[network], inputs(case), golden(case)
    weights = variables(module)["params"]
    keys = given["memory"] @ weights["memory_layer"]["kernel"]
    state = State(
        (given["c1"], given["h1"]),
        (given["c2"], given["h2"]),
        given["context"],
        given["cumulated"],
        given["prev_frame"],
    )
    cell = DecoderCell(
        n_mels=module.n_mels,
        reduction=2,
        prenet=module.prenet,
        units=module.decoder_units,
        attention=module.attention,
        dropout=0,
        zoneout=0.1,
    )
    state, (frames, alignment) = apply(
        cell, {"params": weights["decoder"]}, state, Memory(given["memory"], keys)
    )
    found = {
        "frames": frames,
        "alignments": alignment,
        "context": state.context,
        "cumulated": state.attended,
        **dict(zip(("c1", "h1"), state.lstm_1, strict=True)),
        **dict(zip(("c2", "h2"), state.lstm_2, strict=True)),
    }
    for name, value in found.items():
        np.testing.assert_allclose(value, want[name], rtol=0, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(state.frame, frames[:, -module.n_mels :])


@pytest.mark.parametrize("train", [False, True])
def test_postnet(train):
    case = f"tiny.postnet_{'train' if train else 'eval'}"
    want, all_weights = golden(case), variables(TINY)
    name = "postnet_convolutions"
    weights = {kind: all_weights[kind][name] for kind in ("params", "batch_stats")}
    postnet = Postnet(TINY.postnet, width=1, dropout=0)
    x = inputs(case)["x"]
    y, state = apply(postnet, weights, x, train=train, mutable="batch_stats")
    np.testing.assert_allclose(y, want["residual"], rtol=0, atol=1e-5)
    for layer, stats in state["batch_stats"].items():
        for key, moment in (("mean", "moving_mean"), ("var", "moving_variance")):
            place = f"{name}/{layer}_{name}/batch_normalization/{moment}"
            if train:
                np.testing.assert_allclose(
                    stats["norm"][key], want[place], rtol=0, atol=1e-6
                )


@pytest.mark.parametrize("train", [False, True])
def test_zoneout(train, monkeypatch):
    case = f"unit.zoneout_{'train' if train else 'eval'}"
    given, want = inputs(case), golden(case)
    if train:  # the masks of the golden: the same at every step
        held = iter([0, 3] * 3)

        def bernoulli(key, p, shape):
            assert p == pytest.approx(0.9)
            return jnp.broadcast_to(jnp.arange(shape[1]) % 10 != next(held), shape)

        monkeypatch.setattr(jax.random, "bernoulli", bernoulli)
    gates = {
        "kernel": filled_tensor("zoneout_cell/kernel", (25, 80)),
        "bias": filled_tensor("zoneout_cell/bias", (80,)),
    }
    lstm = ZoneoutLSTM(20, rate=0.1)
    state = given["c"], given["h"]
    for step in range(3):
        state, output = lstm.apply(
            {"params": {"gates": gates}},
            state,
            given["x"][step],
            train,
            rngs={"dropout": jax.random.key(0)},
        )
        for name, value in {"output": output, "c": state[0], "h": state[1]}.items():
            np.testing.assert_allclose(value, want[name][step], rtol=0, atol=1e-6)


@pytest.mark.parametrize("network", ["tiny", "chem", "av48", "dl", "lrw"])
def test_every_weight_has_its_published_name_and_shape(network):
    shapes = {name: value.shape for name, value in filled(NETWORKS[network]).items()}
    assert shapes == manifest()[network]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("lip2wav_chem", 43_623_104),
        ("lip2wav_chess", 31_588_528),
        ("lip2wav_dl", 16_418_992),
        ("lip2wav_lrw", 55_121_328),
    ],
)
def test_parameter_counts(name, count):
    shapes = models_io.shapes(VARIANTS[name])
    found = sum(np.prod(s) for path, s in shapes.items() if path[0] == "params")
    assert found == count


@pytest.mark.parametrize(
    ("name", "mel_frames", "mel_overlap"),
    [
        ("lip2wav_chem", 240, 40),
        ("lip2wav_chess", 240, 40),
        ("lip2wav_dl", 240, 48),
        ("lip2wav_lrw", 80, 32),
    ],
)
def test_mel_frames_last_as_long_as_faces(name, mel_frames, mel_overlap):
    module = VARIANTS[name]
    assert module.mel_frames(module.frames) == mel_frames
    assert module.mel_frames(module.overlap) == mel_overlap
