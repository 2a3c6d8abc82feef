"""Convert a published checkpoint into a model folder."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="+",
        help=".pth, TorchScript .pt or Keras .h5 file, or TensorFlow's .index; several "
        "if the network is published in parts (lpips)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="model folder to write; a file's other networks go into folders beside it",
    )
    parser.add_argument(
        "--network",
        help="what the file holds, or which of its networks to take; if omitted, it is "
        "recognised, and all are taken",
    )
    parser.add_argument(
        "--resolution",
        type=int,
        help="crop size, for weights that fit several (wav2lip_sam: 192, 256, 384)",
    )


def run(args: argparse.Namespace) -> None:
    """Converts and prints the path of the model folder; notes the others."""
    from convert_torch_weights import convert_all

    checkpoint, *others = args.checkpoint

    def note(text: str) -> None:
        print(f"{checkpoint}: {text}", file=sys.stderr)

    first = None
    for converted in convert_all(
        checkpoint, args.network, resolution=args.resolution, others=others
    ):
        if first is None:
            first = converted
            print(_save(converted, args.out), flush=True)
        else:
            name = converted.network.removeprefix(f"{first.network}_")
            folder = args.out.with_name(f"{args.out.name}_{name}")
            note(f"{converted.network} is in {_save(converted, folder)}")
    if first.absent:
        note(
            f"holds no {', '.join(first.absent)}; sync needs none of them, training "
            "begins with new ones"
        )


def _save(converted, folder: Path) -> Path:
    from lipsync_jax import models_io

    return models_io.save(
        folder,
        converted.network,
        converted.variables,
        arguments=converted.arguments,
        metadata=converted.metadata,
    )
