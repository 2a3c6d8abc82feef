"""DAVS's losses equal the original's."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from davs_parity import GOLDENS
from parity import fill_inputs

from lipsync_jax.systems.davs import losses

WANT = json.loads((GOLDENS / "losses.json").read_text())


def codes(name):
    return fill_inputs(f"davs_loss_{name}", (5, 24))


def unit(x):
    return losses.together(x[:, None])


def test_adversarial():
    patches = fill_inputs("davs_loss_logits", (4, 1, 6, 6))
    joint = fill_inputs("davs_loss_joint", (4, 1))
    real, fake = losses.bce(patches, 1.0), losses.bce(patches, 0.0)
    np.testing.assert_allclose(real, WANT["gan_bce_real"], rtol=1e-5)
    np.testing.assert_allclose(fake, WANT["gan_bce_fake"], rtol=1e-5)
    soft = 0.1 * np.array(WANT["gan_soft"]["random_draws"])
    targets = (patches, soft[0]), (joint, soft[1]), (patches, 1 - soft[2])
    targets = *targets, (joint, 1 - soft[3])
    found = [losses.bce(logits, target) for logits, target in targets]
    np.testing.assert_allclose(found, WANT["gan_soft"]["values"][:4], rtol=1e-5)


@pytest.mark.parametrize("margin", [1, 1.5])
def test_contrastive(margin):
    a, b = unit(codes("a")), unit(codes("b"))
    np.testing.assert_allclose(losses.distances(a, b), WANT["l2_sim"], rtol=1e-5)
    found = losses.contrastive(a, b, margin)
    want = WANT[f"l2contrastive_margin_{margin}"]
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_contrastive_of_close_codes():
    common = fill_inputs("davs_loss_common", (1, 24))
    a, b = (unit(0.2 * codes(name) + common) for name in "ab")
    found = losses.contrastive(a, b, 1)
    np.testing.assert_allclose(found, WANT["l2contrastive_close_margin_1"], rtol=1e-5)


def test_gradient_of_contrastive():
    def loss(a, b):
        return losses.contrastive(unit(a), unit(b), 1.5)

    for index, name in enumerate("ab"):
        found = jax.grad(loss, index)(jnp.asarray(codes("a")), jnp.asarray(codes("b")))
        want = np.array(WANT[f"l2contrastive_grad_{name}"])
        scale = 1e-5 * np.abs(want).max()
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=scale)


def test_equal_codes_have_a_gradient():
    a = unit(np.repeat(codes("a")[:1], 2, axis=0))
    found = jax.grad(losses.contrastive)(a, a, 1.0)
    assert np.isfinite(found).all()


def test_words():
    logits = fill_inputs("davs_loss_cls", (6, 500))
    want = WANT["cross_entropy"]
    labels = jnp.array(want["labels"])
    found = losses.word_loss(logits, labels)
    np.testing.assert_allclose(found, want["value"], rtol=1e-5)
    found = losses.uniformity(logits) / 500**2
    np.testing.assert_allclose(found, WANT["l2_softmax"], rtol=1e-5)
    right = logits.argmax(-1)
    assert losses.accuracy(logits, right) == 1
    wrong = right + (np.arange(6) > 1)
    assert losses.accuracy(logits, wrong) == pytest.approx(1 / 3)


def test_mouth():
    published = np.asarray(losses.mouth_mask(256))[..., 0]
    assert published.sum() == 64 * 128
    assert published[170:234, 64:192].all()
    small = np.asarray(losses.mouth_mask(64))[..., 0]
    assert small.sum() == 16 * 32
    assert small[42:58, 16:48].all()


def test_pictures():
    rng = np.random.default_rng(0)
    drawn, target = rng.random((2, 2, 3, 64, 64, 3))
    first = rng.random((2, 64, 64, 3))
    mouth = np.asarray(losses.mouth_mask(64))
    error = np.abs(255 * drawn - 255 * target)
    want = 4 * error.mean() + 8 * (error * mouth).mean()
    found = losses.reconstruction(drawn, target, 4, 8)
    np.testing.assert_allclose(found, want, rtol=1e-5)

    want = 0
    before = first
    for now in drawn.swapaxes(0, 1):
        want += np.abs(now * (1 - mouth) - before * (1 - mouth)).mean()
        before = now
    np.testing.assert_allclose(losses.restlessness(drawn, first), want, rtol=1e-5)
    # What comes before is not to follow what comes after.
    slope = jax.grad(losses.restlessness)(jnp.asarray(drawn), jnp.asarray(first))
    sign = np.sign(drawn[:, 0] - first) * (1 - mouth) / first.size
    np.testing.assert_allclose(slope[:, 0], sign, rtol=1e-5)


def test_retrieval():
    a = fill_inputs("davs_ret_a", (40, 16))
    b = 0.55 * a + 0.8 * fill_inputs("davs_ret_b", (40, 16))
    a, b = unit(a), unit(b)
    for queries, gallery, name in ((b, a, "(A,B)"), (a, b, "(B,A)")):
        found = losses.retrieval(queries, gallery)
        *recall, median, mean = WANT["retrieval"][f"L2retrieval{name}"]
        ours = [100 * found[f"recall_{k}"] for k in (1, 5, 10, 50)]
        np.testing.assert_allclose(ours, recall, rtol=1e-5)
        assert found["median_rank"] == median
        assert found["mean_rank"] == pytest.approx(mean)
