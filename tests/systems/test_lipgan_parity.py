"""LipGAN's networks equal the original's outputs under the golden parameters.

Tolerances are those the goldens came with: float32 noise of the originals.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from lipgan_parity import GOLDENS, converted, golden, inputs, layers, manifest, paths
from parity import fill_inputs, rgb

from lipsync_jax import models_io
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.nn.norm import BatchNorm, InstanceNorm
from lipsync_jax.systems.lipgan.model import VARIANTS, distance, keras_order

GENERATORS = {
    "gen_mel_residual": "lipgan",
    "gen_mel_basic": "lipgan_basic",
    "gen_mfcc_residual": "lipgan_mfcc",
    "gen_mfcc_basic": "lipgan_mfcc_basic",
}
DISCRIMINATORS = {"disc_mel": "lipgan_disc", "disc_mfcc": "lipgan_mfcc_disc"}
NETWORKS = GENERATORS | DISCRIMINATORS
UNIT = json.loads((GOLDENS / "unit.json").read_text())


def run(module, variables, *args, **kwargs):
    """Applies a network as one compiled program, in full float32 precision."""
    with jax.default_matmul_precision("highest"):
        apply = jax.jit(lambda v, *a: module.apply(v, *a, **kwargs))
        return jax.tree.map(np.asarray, apply(variables, *args))


def run_with_layers(network, *args, **kwargs):
    """The output, and each layer's with its statistics compared to the golden's."""
    ours = converted(network)
    assert ours.network == NETWORKS[network]
    output, state = run(
        ours.module,
        ours.variables,
        *args,
        **kwargs,
        capture_intermediates=True,
        mutable="intermediates",
    )
    found = {
        "/".join(path[:-1]): np.asarray(value[0], np.float64)
        for path, value in flatten_dict(state["intermediates"]).items()
    }
    where = paths(network, NETWORKS[network])
    stages = golden("stages", network)[network]
    for layer, row in zip(layers(network), stages, strict=True):
        value = found[where[layer]]
        mean, std, *first = row.astype(np.float64)
        spread = 1e-4 * (abs(mean) + std)
        np.testing.assert_allclose(
            [value.mean(), value.std()], [mean, std], rtol=0, atol=spread, err_msg=layer
        )
        if where[layer] != "prediction/conv":  # there, RGB and BGR differ
            scale = 1e-4 * max(std, 1e-3)
            np.testing.assert_allclose(
                value.ravel()[:8], first, rtol=0, atol=scale, err_msg=layer
            )
    return output, found


@pytest.mark.parametrize("network", GENERATORS)
def test_generator(network):
    want = golden("forward", network)
    drawn, found = run_with_layers(network, *inputs(network))
    np.testing.assert_allclose(rgb(drawn)[:, ::3, ::3], want["out"], rtol=0, atol=1e-5)

    module = VARIANTS[GENERATORS[network]]
    face = f"face_encoder_blocks_{len(module.face) - 1}_1"
    audio = f"audio_encoder_{len(module.audio) - 1}"
    code = np.concatenate([found[face], found[audio]], axis=-1)
    scale = 1e-5 * np.abs(want["embedding"]).max()
    np.testing.assert_allclose(code, want["embedding"], rtol=0, atol=scale)


@pytest.mark.parametrize("network", ["gen_mel_residual", "gen_mfcc_basic"])
def test_folded_generator(network):
    ours = converted(network)
    folded = fold_batch_norm(ours.variables, ours.module.norm_epsilon)
    drawn = run(ours.module.clone(folded=True), folded, *inputs(network))
    want = golden("forward", network)["out"]
    np.testing.assert_allclose(rgb(drawn)[:, ::3, ::3], want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", DISCRIMINATORS)
def test_discriminator(network):
    want = golden("forward", network)
    audio, face = inputs(network)
    (mine, heard), _ = run_with_layers(network, face, audio, method="embed")
    np.testing.assert_allclose(mine, want["face_embedding"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(heard, want["audio_embedding"], rtol=0, atol=2e-6)
    ours = converted(network)
    distance = run(ours.module, ours.variables, face, audio)
    np.testing.assert_allclose(distance, want["d"][:, 0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_weight_has_its_place_and_shape(network):
    shapes = models_io.shapes(VARIANTS[NETWORKS[network]])
    found = flatten_dict(converted(network).variables)
    assert {path: value.shape for path, value in found.items()} == shapes
    count = sum(int(np.prod(shape)) for shape in manifest()[network].values())
    counts = {"gen_mel_residual": 49_573_971, "gen_mfcc_residual": 71_370_579}
    assert count == counts.get(network, count)


@pytest.mark.parametrize("name", VARIANTS)
def test_keras_order_has_every_layer_once(name):
    module = VARIANTS[name]
    layers = [path for order in keras_order(module).values() for path in order]
    params = {
        "/".join(path[1:-1]) for path in models_io.shapes(module) if path[0] == "params"
    }
    assert len(layers) == len(set(layers))
    assert set(layers) == params


@pytest.mark.parametrize("name", ["lipgan_48", "lipgan_disc_48"])
def test_small_networks(name):
    module = VARIANTS[name].clone(width=0.25)
    assert module.resolution == 48
    args = models_io.example_inputs(module, 2)
    output, variables = jax.eval_shape(
        module.init_with_output, jax.random.key(0), *args
    )
    assert output.shape == ((2, 48, 48, 3) if name == "lipgan_48" else (2,))
    assert variables["params"]["audio_encoder_0"]["conv"]["bias"].shape == (8,)


def test_instance_norm():
    want = UNIT["instance_norm"]
    x = fill_inputs("lipgan/unit/in", (2, 3, 4, 5), None, None)
    weights = {"scale": np.array([want["gamma"]]), "bias": np.array([want["beta"]])}
    y = np.asarray(InstanceNorm().apply({"params": weights}, x))
    np.testing.assert_allclose(y.ravel()[:8], want["out_first8"], rtol=1e-5)
    found = [y.mean(), y.std(), np.abs(y).sum()]
    keys = ("out_mean", "out_std", "sum_abs")
    np.testing.assert_allclose(found, [want[key] for key in keys], rtol=1e-5)


def test_running_averages_of_keras():
    want = UNIT["batch_norm"]
    norm = BatchNorm(1e-3, 1 - want["momentum"], keras_average=True)
    params = {
        key: np.array(want[k]) for key, k in (("scale", "gamma"), ("bias", "beta"))
    }
    # Where the averages begin makes no difference.
    stats = {"mean": np.full(3, want["initial_moving_mean"])}
    stats["var"] = np.full(3, want["initial_moving_variance"])
    for step, row in enumerate(want["steps"]):
        x = fill_inputs(f"lipgan/unit/bn{step}", (3, 2, 2, 3), None, None)
        y, state = norm.apply(
            {"params": params, "batch_stats": stats},
            x,
            train=True,
            mutable=["batch_stats"],
        )
        stats = state["batch_stats"]
        assert jnp.abs(y).mean() == pytest.approx(row["loss_train_mode"], rel=1e-5)
        for key, name in (("mean", "moving_mean"), ("var", "moving_variance")):
            np.testing.assert_allclose(stats[key], row[name], rtol=1e-5, atol=1e-6)
    y = norm.apply({"params": params, "batch_stats": stats}, x)
    np.testing.assert_allclose(
        np.ravel(y)[:8], want["predict_after_first8"], rtol=1e-5, atol=1e-6
    )


def test_running_averages_of_one_pixel():
    norm = BatchNorm(1e-3, 0.2, keras_average=True)
    x = jnp.array([[[[3.0]]]])
    variables = norm.init(jax.random.key(0), x)
    y, state = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    assert y == 0
    assert state["batch_stats"]["mean"] == pytest.approx(3)
    assert state["batch_stats"]["var"] == 0


def test_equal_codes_have_a_gradient():
    code = jnp.array([[0.6, 0.8], [1.0, 0.0]])
    other = jnp.array([[0.6, 0.8], [0.0, 1.0]])
    np.testing.assert_allclose(distance(code, other), [0, np.sqrt(2)], rtol=1e-6)
    slope = jax.grad(lambda a: distance(a, other).sum())(code)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(slope, [[0, 0], [half, -half]], rtol=1e-6)


def test_a_constant_example_has_a_gradient():
    weights = {"scale": jnp.ones(1), "bias": jnp.full(1, 0.5)}

    def norm(x):
        return InstanceNorm().apply({"params": weights}, x)

    x = jnp.full((1, 2, 2, 3), 7.0)
    assert (norm(x) == 0.5).all()
    slope = jax.grad(lambda x: (norm(x) ** 2 * jnp.arange(3)).sum())(x)
    assert jnp.isfinite(slope).all()
