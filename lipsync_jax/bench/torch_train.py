"""A training step of the generator in plain PyTorch, as a speed baseline only.

The layers of `torch_network`, in training mode, with L1 and Adam, the way the published
program trains while its sync loss is off. Needs the `test` extra. As a program it runs
one turn of timed steps for each line it reads and prints the seconds.
"""

import json
import sys

import torch

from lipsync_jax.bench.network import random_inputs, turn
from lipsync_jax.bench.torch_network import TorchWav2Lip
from lipsync_jax.systems.wav2lip.model import Wav2Lip


def main(frames: int) -> None:
    """Answers each line of standard input with a JSON list of seconds."""
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    tables = Wav2Lip()
    network = TorchWav2Lip(tables).train().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    mel, face = (
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(device)
        for x in random_inputs(tables, frames)
    )
    target = face[:, 3:]

    def call() -> None:
        optimizer.zero_grad()
        (network(mel, face) - target).abs().mean().backward()
        optimizer.step()
        if gpu:
            torch.cuda.synchronize()

    for _ in sys.stdin:
        print(json.dumps(turn(call)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
