"""Training DAVS's identity encoder: to tell people apart (section 9, stage A).

The published program lacks it; what it tells of it is the head of 40 145 people, fully
connected after a dropout. Here there are as many people as the dataset has.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lipsync_jax.nn.norm import unit_length
from lipsync_jax.nn.pixels import from_levels, to_levels
from lipsync_jax.systems.davs import losses
from lipsync_jax.systems.davs.examples_identity import identity_examples
from lipsync_jax.systems.davs.model_judges import PersonClassifier
from lipsync_jax.systems.davs.stage import Stage, State, people_of
from lipsync_jax.training.task import Batch, Metrics

_SHOWN = 8  # faces in a preview


class DavsIdentityTask(Stage):
    """The identity encoder and a classifier of people, one cross entropy.

    Held-out clips show other people: there the nearest face should be the same
    person's.
    """

    best = ("recall_1", "max")

    def __init__(self, config: ConfigDict):
        """As for `Stage`; looks up who speaks in the dataset."""
        people = people_of(config, config.data.train)
        self._count = len(people)
        if config.eval_batches:
            others = people_of(config, config.data.eval).keys() - people.keys()
            people |= {name: len(people) + i for i, name in enumerate(sorted(others))}
        super().__init__(config)
        self.examples = identity_examples(self.generator.resolution, people)

    def judges(self) -> dict[str, nn.Module]:
        """See `Stage`."""
        dropout = self._config.method.dropout
        person = PersonClassifier(self._count, dropout=dropout, **self._sizes())
        return {"person": person}

    def train_step(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """One step of both networks."""
        faces, person = _faces(batch), jnp.repeat(batch["person"], 2)

        def loss(params: dict[str, Any]) -> tuple[jax.Array, tuple[Any, Metrics]]:
            identity, new = self.generator.apply(
                {
                    "params": params["generator"],
                    "batch_stats": state.generator.batch_stats,
                },
                faces,
                train=True,
                method="encode_identity",
                mutable=["batch_stats"],
            )
            logits = self.modules["person"].apply(
                {"params": params["person"]},
                identity.code,
                train=True,
                rngs={"dropout": key},
            )
            value = losses.word_loss(logits, person)
            right = losses.accuracy(logits, person)
            return value, (new["batch_stats"], {"loss": value, "accuracy": right})

        params = {name: getattr(state, name).params for name in self.modules}
        grads, (stats, metrics) = jax.grad(loss, has_aux=True)(params)
        metrics["grad_norm"] = optax.global_norm(grads)
        return self._updated(state, grads, {"generator": stats}), metrics

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """Share of faces whose nearest is another of the same person."""
        person = jnp.repeat(batch["person"], 2)
        right = person[self._nearest(state, batch)] == person
        return {"recall_1": right.astype(jnp.float32).mean()}

    def preview(self, state: State, batch: Batch) -> jax.Array:
        """Of each clip's first face: [face | the nearest of all others].

        Returns:
          (n, R, 2 * R, 3) uint8.
        """
        faces, nearest = _faces(batch), self._nearest(state, batch)
        first = slice(0, 2 * _SHOWN, 2)
        rows = jnp.concatenate([faces[first], faces[nearest[first]]], axis=2)
        return to_levels(rows)

    def _nearest(self, state: State, batch: Batch) -> jax.Array:
        """Of each of the batch's faces the number of the one most like it, (2B,)."""
        variables = state.generator.inference_variables
        identity = self.generator.apply(
            variables, _faces(batch), method="encode_identity"
        )
        codes = unit_length(identity.code)
        likeness = codes @ codes.T
        return jnp.where(jnp.eye(len(codes), dtype=bool), -2, likeness).argmax(1)


def _faces(batch: Batch) -> jax.Array:
    """(2B, R, R, 3) in [0, 1], the two of each clip beside each other."""
    faces = from_levels(batch["faces"])
    return faces.reshape(-1, *faces.shape[2:])
