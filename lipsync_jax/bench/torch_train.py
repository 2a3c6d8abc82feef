"""Program that times a training step in plain PyTorch: CONFIGURATION BATCH_SIZE.

The steps of the published programs, as far as they are compared: in float32, with the
networks of `torch_networks`, on noise.
"""

import importlib
import sys
from collections.abc import Callable

import torch
from ml_collections import ConfigDict
from torch import nn

from lipsync_jax import models_io
from lipsync_jax.bench import torch_networks
from lipsync_jax.bench.turns import answer
from lipsync_jax.systems.lipgan.losses import SYNCED, UNSYNCED
from lipsync_jax.systems.wav2lip.examples import WINDOW

Step = Callable[[], None]


def _wav2lip(config: ConfigDict, batch_size: int) -> Step:
    """Windows of five pictures against L1, as while the sync loss is off."""
    return _l1(config, batch_size * WINDOW)


def _l1(config: ConfigDict, pictures: int) -> Step:
    """The generator against L1."""
    generator, (heard, face) = _generator(config, pictures)
    optimizer = _adam(generator, config)
    target = face[:, 3:]

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.l1_loss(generator(heard, face), target).backward()
        optimizer.step()

    return step


def _adversarial(config: ConfigDict, batch_size: int) -> Step:
    """LipGAN with its discriminator: two updates of that, one of the generator."""
    method = config.method
    generator, (heard, face) = _generator(config, batch_size)
    width = {"width": config.arguments.width}  # that of the generator
    module = models_io.build(method.discriminator, width)
    discriminator, _ = torch_networks.build(module, batch_size)
    optimizer = _adam(generator, config)
    other_optimizer = _adam(discriminator, config)
    target, others = face[:, 3:], heard.roll(1, 0)

    def contrast(faces: torch.Tensor, heard: torch.Tensor, label: int) -> torch.Tensor:
        distance = discriminator(faces, heard)
        apart = (method.margin - distance).clamp(min=0)
        return (apart if label == UNSYNCED else distance).square().mean()

    def learn(faces: torch.Tensor, heard: torch.Tensor, label: int) -> None:
        other_optimizer.zero_grad()
        contrast(faces, heard, label).backward()
        other_optimizer.step()

    def step() -> None:
        generator.eval()
        with torch.no_grad():
            fake = generator(heard, face)
        learn(fake, heard, UNSYNCED)  # what the coin says makes no difference in time
        with torch.no_grad():
            contrast(target, others, UNSYNCED)
        learn(target, heard, SYNCED)
        generator.train()
        discriminator.requires_grad_(False)
        optimizer.zero_grad()
        drawn = generator(heard, face)
        loss = nn.functional.l1_loss(drawn, target)
        loss = loss + method.adversarial_weight * contrast(drawn, heard, SYNCED)
        loss.backward()
        optimizer.step()
        discriminator.requires_grad_(True)

    return step


# `config.task` -> its step
STEPS: dict[str, Callable[[ConfigDict, int], Step]] = {
    "wav2lip": _wav2lip,
    "lipgan_unet": _l1,
    "lipgan": _adversarial,
}


def _generator(
    config: ConfigDict, pictures: int
) -> tuple[nn.Module, list[torch.Tensor]]:
    module = models_io.build(config.network, config.arguments)
    network, inputs = torch_networks.build(module, pictures)
    return network.train(), inputs


def _adam(network: nn.Module, config: ConfigDict) -> torch.optim.Optimizer:
    settings = config.optimizer
    return torch.optim.Adam(
        network.parameters(),
        settings.learning_rate,
        (settings.b1, settings.b2),
        settings.eps,
    )


def main(name: str, batch_size: int) -> None:
    """Times steps of a published configuration."""
    config = importlib.import_module(f"configs.{name}").get_config()
    step = STEPS[config.task](config, batch_size)

    def call() -> None:
        step()
        torch_networks.wait()

    answer(call)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
