"""The published networks in plain PyTorch, as a speed baseline only.

Each is its Flax module's `__call__`, over the module's own rows. A system that is to be
compared gets a class here and a line in `NETWORKS`.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen
import numpy as np
import torch

from lipsync_jax.bench.inputs import random_inputs
from lipsync_jax.bench.torch_layers import InstanceNorm, Network, batch_norm
from lipsync_jax.nn.blocks import Conv
from lipsync_jax.nn.norm import KERAS_EPSILON
from lipsync_jax.systems.lipgan import model as lipgan
from lipsync_jax.systems.wav2lip.model import Wav2Lip

Tensor = torch.Tensor
_ATTENTION = Conv(1, kernel=7, norm=False, activation=None, bias=False)


class TorchWav2Lip(Network):
    """Wav2Lip's generators of all sizes."""

    def forward(self, mel: Tensor, face: Tensor) -> Tensor:
        """(N, 1, 80, 16), (N, 6, S, S) -> (N, 3, S, S)."""
        tables = self.module
        x = self.rows(mel, tables.audio, "audio_encoder")
        if tables.refine_audio:
            row = Conv(tables.audio[-1].features, kernel=1)
            x = self.rows(x, (row, row), "audio_refine")
            x = torch.nn.functional.normalize(x, dim=1)
        skips = []
        for index, rows in enumerate(tables.encoder):
            face = self.rows(face, rows, f"face_encoder_blocks_{index}")
            skips.append(face)
        for index, rows in enumerate(tables.decoder):
            skip = skips.pop()
            x = self.rows(x, rows, f"face_decoder_blocks_{index}", skip.shape[2:])
            if tables.attention:
                x = x * self._attend(skip) + x
            x = torch.cat([x, skip], dim=1)
        x = self.rows(x, tables.output_rows, "output_block")
        row = Conv(3, kernel=1, norm=False, activation=None)
        x = self.block(x, row, f"output_block_{len(tables.output_rows)}")
        return torch.sigmoid(x) if tables.output == "sigmoid" else torch.tanh(x)

    def _attend(self, x: Tensor) -> Tensor:
        pooled = torch.stack([x.mean(1), x.amax(1)], dim=1)
        return torch.sigmoid(self.block(pooled, _ATTENTION, "sam_sa_conv1"))


class _LipGANNetwork(Network):
    """What LipGAN's two networks have in common."""

    def rows(
        self,
        x: Tensor,
        rows: Sequence[Conv | lipgan.Residual],
        name: str,
        size: Sequence[int] = (),
    ) -> Tensor:
        """As for `Network`; the two blocks of a residual row have two numbers."""
        for index, row in enumerate(rows):
            label = f"{name}_{index}"
            if isinstance(row, lipgan.Residual):
                x = x + super().rows(x, [Conv(row.features)] * 2, label)
            else:
                x = self.block(x, row.scaled(self.module.width), label, size)
        return x


class TorchLipGAN(_LipGANNetwork):
    """LipGAN's generators."""

    norm = staticmethod(partial(batch_norm, epsilon=KERAS_EPSILON, momentum=0.2))

    def forward(self, audio: Tensor, face: Tensor) -> Tensor:
        """(N, 1, 80, 27), (N, 6, S, S) -> (N, 3, S, S)."""
        tables = self.module
        skips = []
        for index, rows in enumerate(tables.face):
            face = self.rows(face, rows, f"face_encoder_blocks_{index}")
            skips.append(face)
        code = self.rows(audio, tables.audio, "audio_encoder")
        x = torch.cat([skips.pop(), code], dim=1)
        for index, rows in enumerate(tables.decoder):
            skip = skips.pop()
            x = self.rows(x, rows, f"face_decoder_blocks_{index}", skip.shape[2:])
            x = torch.cat([skip, x], dim=1)
        x = self.rows(x, lipgan.OUTPUT, "output")
        return torch.sigmoid(self.block(x, lipgan.PREDICTION, "prediction"))


class TorchLipGANDiscriminator(_LipGANNetwork):
    """LipGAN's discriminators."""

    norm = InstanceNorm

    def forward(self, face: Tensor, audio: Tensor) -> Tensor:
        """(N, 3, S, S), (N, 1, 80, 27) -> distances (N,)."""

        def code(x: Tensor, name: str) -> Tensor:
            x = self.rows(x, self.module.tables[name], name).flatten(1)
            return torch.nn.functional.normalize(x, dim=1)

        apart = code(face, "face_encoder") - code(audio, "audio_encoder")
        return apart.norm(dim=1)


NETWORKS: dict[type[flax.linen.Module], type[Network]] = {
    Wav2Lip: TorchWav2Lip,
    lipgan.LipGAN: TorchLipGAN,
    lipgan.LipGANDiscriminator: TorchLipGANDiscriminator,
}


def build(
    module: flax.linen.Module, batch_size: int, dtype: str = "float32"
) -> tuple[Network, list[Tensor]]:
    """A module's network with random weights, in eval mode, and noise to call it with.

    Both are on the GPU if there is one, in the memory layout that is faster there.

    Args:
      module: of a class in `NETWORKS`.
      batch_size: examples of noise.
      dtype: "float32" or "bfloat16", which is float16 on a GPU and float32 without.
    """
    gpu = torch.cuda.is_available()
    half = gpu and dtype == "bfloat16"
    place = {
        "device": "cuda" if gpu else "cpu",
        "dtype": torch.float16 if half else torch.float32,
    }
    # channels_last on tensor cores, the default on CPUs.
    layout = torch.channels_last if gpu else torch.contiguous_format

    def tensor(x: np.ndarray) -> Tensor:
        x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        return x.to(**place).contiguous(memory_format=layout)

    inputs = [tensor(x) for x in random_inputs(module, batch_size)]
    network = NETWORKS[type(module)](module).eval()
    with torch.no_grad():
        network(*(x[:1] for x in inputs))  # makes the layers
    return network.to(**place, memory_format=layout), inputs


def wait() -> None:
    """Returns when the GPU has nothing left to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
