"""Imports published checkpoints into JAX, without the framework they came from.

from convert_torch_weights import convert
converted = convert("wav2lip_gan.pth")
converted.module.apply(converted.variables, mel, face)
"""

from convert_torch_weights.conversion import Converted, convert, convert_all

__all__ = ["Converted", "convert", "convert_all"]
