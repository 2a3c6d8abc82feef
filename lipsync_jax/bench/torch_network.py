"""Program that times a generator in plain PyTorch: NETWORK BATCH_SIZE DTYPE."""

import sys

import torch

from lipsync_jax import models_io
from lipsync_jax.bench import torch_networks
from lipsync_jax.bench.turns import answer


def main(network: str, batch_size: int, dtype: str) -> None:
    """Times calls in eval mode."""
    module = models_io.build(network)
    generator, inputs = torch_networks.build(module, batch_size, dtype)

    def call() -> None:
        with torch.inference_mode():
            generator(*inputs)
        torch_networks.wait()

    answer(call)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
