"""What Lip2Wav's networks do beyond the goldens: keys, targets, padding, sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lip2wav_parity import TINY, apply, inputs, variables

from lipsync_jax import models_io
from lipsync_jax.systems.lip2wav.decoder import LocationSensitiveAttention, Memory
from lipsync_jax.systems.lip2wav.layers import NormedConv, ZoneoutLSTM, zoneout
from lipsync_jax.systems.lip2wav.model import VARIANTS


def test_zoneout_holds_the_given_share_of_units():
    lstm = ZoneoutLSTM(1000, rate=0.25)
    state = jnp.full((4, 1000), 7.0), jnp.full((4, 1000), 7.0)
    weights = lstm.init(jax.random.key(0), state, jnp.ones((4, 3)))
    (cell, hidden), output = lstm.apply(
        weights, state, jnp.ones((4, 3)), True, rngs={"dropout": jax.random.key(1)}
    )
    assert (cell == 7).mean() == pytest.approx(0.25, abs=0.03)
    assert (hidden == 7).mean() == pytest.approx(0.25, abs=0.03)
    assert not (output == 7).any()
    assert not ((cell == 7) == (hidden == 7)).all()
    assert zoneout(3.0, 1.0, 0.75) == 2.5


def test_dropout_of_the_prenet_depends_on_the_key_alone():
    weights, given = variables(TINY), inputs("tiny.infer")
    module = TINY.clone(dropout=0.5)

    @jax.jit
    def say(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return module.apply(weights, given["faces"], given["emb"], rngs=rngs).mel

    np.testing.assert_array_equal(say(1), say(1))
    assert abs(say(1) - say(2)).max() > 1e-3
    without_key = apply(module, weights, given["faces"], given["emb"]).mel
    want = apply(TINY, weights, given["faces"], given["emb"]).mel
    np.testing.assert_array_equal(without_key, want)


def test_a_step_is_told_the_target_or_hears_itself():
    weights, given = variables(TINY), inputs("tiny.eval")
    args = given["faces"], given["emb"], given["mel"]
    alone = apply(TINY, weights, *args[:2]).before
    told = apply(TINY, weights, *args).before
    np.testing.assert_allclose(
        apply(TINY, weights, *args, forced=False).before, alone, rtol=0, atol=1e-6
    )
    # Told after the fifth step only: until the sixth it hears itself.
    forced = np.arange(12) == 4
    mixed = apply(TINY, weights, *args, forced=forced).before
    np.testing.assert_allclose(mixed[:, :10], alone[:, :10], rtol=0, atol=1e-6)
    assert abs(mixed[:, 10:12] - alone[:, 10:12]).max() > 1e-3
    assert abs(mixed[:, 10:] - told[:, 10:]).max() > 1e-4


def test_padding_makes_no_difference():
    weights, given = variables(TINY), inputs("tiny.infer")
    faces = given["faces"].copy()
    lengths = np.array([7, 7])
    # One layer with a 5x5x5 kernel sees two faces further; seven of its kind, eight.
    module = TINY.clone(encoder=TINY.encoder[:1])
    weights["params"]["encoder_LSTM"] = {
        way: {"gates": {**gates["gates"], "kernel": np.ones((4 * 36 + 8, 32)) / 50}}
        for way, gates in weights["params"]["encoder_LSTM"].items()
    }
    said = apply(module, weights, faces, given["emb"], lengths=lengths)
    faces[:, 9:] = 1
    again = apply(module, weights, faces, given["emb"], lengths=lengths)
    np.testing.assert_array_equal(said.mel, again.mel)
    assert (said.alignments[:, 7:] == 0).all()


def test_width_and_resolution():
    module = VARIANTS["lip2wav_chess"].clone(width=0.125)
    shapes = models_io.shapes(module)
    first = ("params", "encoder_convolutions", "conv_layer_1", "conv", "bias")
    assert shapes[first] == (8,)
    said = jax.eval_shape(
        lambda key: module.init_with_output(key, *models_io.example_inputs(module))[0],
        jax.random.key(0),
    )
    assert said.mel.shape == said.before.shape == (1, 240, 80)
    assert said.alignments.shape == (1, 90, 120)


def test_new_weights():
    def largest(module, *args):
        weights = module.init(jax.random.key(0), *args)["params"]
        return jax.tree.map(lambda leaf: abs(leaf).max(), weights)

    def between(share, value, limit):
        assert share * limit < value <= limit

    lstm = ZoneoutLSTM(16, rate=0.1)
    gates = largest(lstm, lstm.zero_state(1), jnp.ones((1, 48)))["gates"]
    between(0.9, gates["kernel"], (6 / (64 + 64)) ** 0.5)
    assert gates["bias"] == 0
    conv = largest(NormedConv(TINY.encoder[0][1]), jnp.ones((1, 1, 4, 4, 3)))["conv"]
    between(0.9, conv["kernel"], (6 / (125 * (3 + 4))) ** 0.5)
    memory = Memory(jnp.ones((1, 3, 4)), jnp.ones((1, 3, 8)))
    attention = LocationSensitiveAttention(TINY.attention)
    found = largest(attention, jnp.ones((1, 5)), memory, jnp.ones((1, 3)))
    between(0.5, found["attention_variable_projection"], (3 / 8) ** 0.5)


def test_bfloat16_says_nearly_the_same():
    weights, given = variables(TINY), inputs("tiny.eval")
    args = given["faces"], given["emb"], given["mel"]
    want = apply(TINY, weights, *args)
    said = apply(TINY.clone(dtype=jnp.bfloat16), weights, *args)
    assert said.mel.dtype == said.alignments.dtype == np.float32
    assert 0 < abs(said.mel - want.mel).max() < 0.05 * abs(want.mel).max()
