"""The generator's layers in plain PyTorch, as a speed baseline only.

Built from the same table rows, with batch norm as a layer of its own, the way the
published programs run it. Needs the `test` extra. As a program it runs one turn of
timed calls for each line it reads and prints the seconds.
"""

import json
import sys

import torch
from torch import nn

from lipsync_jax.bench.network import random_inputs, turn
from lipsync_jax.nn.blocks import Conv, Rows
from lipsync_jax.systems.wav2lip.model import Wav2Lip


class Block(nn.Module):
    """One table row."""

    def __init__(self, channels: int, row: Conv):
        super().__init__()
        padding = row.kernel // 2 if row.padding is None else row.padding
        if row.transposed:
            layer = nn.ConvTranspose2d(
                channels,
                row.features,
                row.kernel,
                row.stride,
                padding,
                output_padding=row.stride - 1,
            )
        else:
            layer = nn.Conv2d(channels, row.features, row.kernel, row.stride, padding)
        self.layers = nn.Sequential(layer, nn.BatchNorm2d(row.features))
        self.residual = row.residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, features, H', W')."""
        y = self.layers(x)
        return torch.relu(y + x if self.residual else y)


class TorchWav2Lip(nn.Module):
    """The 96-pixel generator with random weights, in eval mode."""

    def __init__(self, tables: Wav2Lip):
        super().__init__()
        self.audio = _sequence(1, tables.audio)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        channels, skips = 6, []
        for rows in tables.encoder:
            self.encoder.append(_sequence(channels, rows))
            channels = rows[-1].features
            skips.append(channels)
        channels = tables.audio[-1].features
        for rows in tables.decoder:
            self.decoder.append(_sequence(channels, rows))
            channels = rows[-1].features + skips.pop()
        last = tables.output_rows[-1].features
        self.output = nn.Sequential(
            _sequence(channels, tables.output_rows), nn.Conv2d(last, 3, 1), nn.Sigmoid()
        )
        self.eval()

    def forward(self, mel: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
        """(N, 1, 80, 16), (N, 6, S, S) -> (N, 3, S, S)."""
        skips = []
        for block in self.encoder:
            face = block(face)
            skips.append(face)
        x = self.audio(mel)
        for block in self.decoder:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return self.output(x)


def _sequence(channels: int, rows: Rows) -> nn.Sequential:
    inputs = [channels, *[row.features for row in rows[:-1]]]
    return nn.Sequential(*[Block(c, row) for c, row in zip(inputs, rows, strict=True)])


def main(batch_size: int, dtype: str) -> None:
    """Answers each line of standard input with a JSON list of seconds."""
    gpu = torch.cuda.is_available()
    kind = torch.float16 if gpu and dtype == "bfloat16" else torch.float32
    place = {"device": "cuda" if gpu else "cpu", "dtype": kind}
    # Each gets its faster layout: channels_last on tensor cores, the default on CPUs.
    layout = torch.channels_last if gpu else torch.contiguous_format
    tables = Wav2Lip()
    network = TorchWav2Lip(tables).to(**place).to(memory_format=layout)
    mel, face = (
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        .to(**place)
        .contiguous(memory_format=layout)
        for x in random_inputs(tables, batch_size)
    )

    def call() -> None:
        with torch.inference_mode():
            network(mel, face)
        if gpu:
            torch.cuda.synchronize()

    for _ in sys.stdin:
        print(json.dumps(turn(call)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
