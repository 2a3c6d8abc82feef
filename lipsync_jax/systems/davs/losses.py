"""Losses of DAVS (section 8), and how well codes find each other (section 11)."""

import jax
import jax.numpy as jnp
import optax

from lipsync_jax.nn.norm import unit_length

# Rows and columns of the mouth in an aligned face, as shares of its side.
MOUTH = (170 / 256, 234 / 256), (64 / 256, 192 / 256)


def bce(logits: jax.Array, target: jax.Array | float) -> jax.Array:
    """Mean binary cross entropy; `target` is the probability that should be."""
    return optax.sigmoid_binary_cross_entropy(logits, target).mean()


def word_loss(logits: jax.Array, word: jax.Array) -> jax.Array:
    """Mean cross entropy of logits (B, words) with labels (B,)."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, word).mean()


def accuracy(logits: jax.Array, word: jax.Array) -> jax.Array:
    """Share of logits (B, words) whose largest is the label's, (B,)."""
    return (logits.argmax(-1) == word).astype(jnp.float32).mean()


def uniformity(logits: jax.Array) -> jax.Array:
    """Mean square by which probabilities (B, words) differ from a guess's, as shares.

    The original takes differences, not shares: with N words its loss is this over N**2.
    """
    return jnp.square(logits.shape[-1] * jax.nn.softmax(logits) - 1).mean()


def together(codes: jax.Array) -> jax.Array:
    """Codes (B, T, D) of sequences as vectors (B, T * D) of unit length."""
    return unit_length(codes.reshape(codes.shape[0], -1))


def distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """Euclidean, of every row of (B, D) from every other: (B, B).

    Differentiable at 0, too.
    """
    squared = jnp.square(a[:, None] - b).sum(-1)
    apart = squared > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1)), 0)


def contrastive(a: jax.Array, b: jax.Array, margin: float) -> jax.Array:
    """Moves equal rows of (B, D) together and all others at least `margin` apart."""
    pairs = distances(a, b)
    same = jnp.eye(len(a), dtype=bool)
    loss = jnp.where(same, pairs, jnp.maximum(margin - pairs, 0))
    return jnp.square(loss).sum() / (2 * len(a))


def mouth_mask(resolution: int) -> jax.Array:
    """1 where the mouth is in an aligned face, else 0: (R, R, 1)."""
    rows, columns = (
        slice(*(int(share * resolution) for share in edges)) for edges in MOUTH
    )
    return jnp.zeros((resolution, resolution, 1)).at[rows, columns].set(1)


def reconstruction(
    drawn: jax.Array, target: jax.Array, weight: float, mouth_weight: float
) -> jax.Array:
    """Mean absolute error of pictures (..., R, R, 3) in levels of 255.

    Args:
      drawn: in [0, 1].
      target: of the same shape.
      weight: of the whole picture's mean error.
      mouth_weight: of the same where errors outside the mouth count as 0.
    """
    weights = weight + mouth_weight * mouth_mask(drawn.shape[-2])
    return 255 * (jnp.abs(drawn - target) * weights).mean()


def restlessness(drawn: jax.Array, first: jax.Array) -> jax.Array:
    """How much pictures change outside the mouth, from one to the next.

    Args:
      drawn: (B, T, R, R, 3); each is to be like the one before, not the other way.
      first: (B, R, R, 3), what was before the first.

    Returns:
      Mean absolute change per frame, summed over frames.
    """
    before = jnp.concatenate([first[:, None], drawn[:, :-1]], axis=1)
    change = jnp.abs(drawn - jax.lax.stop_gradient(before))
    around = 1 - mouth_mask(drawn.shape[-2])
    return drawn.shape[1] * (change * around).mean()


def retrieval(queries: jax.Array, gallery: jax.Array) -> dict[str, jax.Array]:
    """How well rows of (N, D) find their partners in (N, D).

    Returns:
      recall_k: share of queries with their partner among the k nearest.
      median_rank, mean_rank: of the partners; 1 is the nearest.
    """
    pairs = distances(queries, gallery)
    rank = (pairs < jnp.diagonal(pairs)[:, None]).sum(1)
    recall = {f"recall_{k}": (rank < k).mean() for k in (1, 5, 10, 50)}
    return {
        **recall,
        "median_rank": jnp.floor(jnp.median(rank)) + 1,
        "mean_rank": rank.mean() + 1,
    }
