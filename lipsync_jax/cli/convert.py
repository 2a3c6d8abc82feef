"""Convert a published checkpoint into a model folder."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        help=".pth, TorchScript .pt or Keras .h5 file, or TensorFlow's .index",
    )
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--network", help="what the file holds; recognised if omitted")
    parser.add_argument(
        "--resolution",
        type=int,
        help="crop size, for weights that fit several (wav2lip_sam: 192, 256, 384)",
    )


def run(args: argparse.Namespace) -> None:
    """Converts and prints the model folder's path."""
    from convert_torch_weights import convert
    from lipsync_jax import models_io

    converted = convert(args.checkpoint, args.network, resolution=args.resolution)
    folder = models_io.save(
        args.out,
        converted.network,
        converted.variables,
        arguments=converted.arguments,
        metadata=converted.metadata,
    )
    print(folder)
