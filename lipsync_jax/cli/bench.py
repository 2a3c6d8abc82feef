"""Measure network, pipeline, training step or input pipeline on this machine."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add = parser.add_argument
    add(
        "part",
        nargs="?",
        choices=("all", "network", "pipeline", "train", "loader"),
        default="all",
        help="network: frames/s of the network alone; pipeline: a whole sync run; all: "
        "these two; train: a training step; loader: the input pipeline of training",
    )
    add("--network", default="wav2lip", help="generator to measure, random weights")
    add("--batch_size", type=int, help="default 16; train: the configuration's")
    add(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="arithmetic; PyTorch on a GPU answers bfloat16 with float16",
    )
    add("--rounds", type=int, default=5, help="turns of three timed network calls")
    add("--compare", choices=("torch",), help="measure PyTorch in the same run")
    add("--config", default="wav2lip", help="train: name of a published configuration")
    add("--steps", type=int, default=15, help="train: steps that are timed")
    add("--no_sync", action="store_true", help="train: without the sync loss")
    add("--data", help="train, loader: prepared dataset; train without one: noise")
    add("--split", default="train", help="loader: of the dataset")
    add(
        "--system",
        choices=("wav2lip", "expert"),
        default="wav2lip",
        help="loader: whose examples",
    )
    add("--face", type=Path, help="video for the pipeline; default: drawn, 1920x1080")
    add(
        "--seconds",
        type=float,
        default=6.0,
        help="of the drawn clip; loader: of each loader",
    )
    add(
        "--detector",
        choices=("auto", "mediapipe", "haar"),
        default="auto",
        help="as for lipsync sync",
    )
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Measures and prints."""
    from lipsync_jax.cli.setup_jax import prepare

    prepare()
    result: dict = {}
    if args.part in ("all", "network"):
        from lipsync_jax.bench.network import bench_network

        result |= bench_network(
            args.network,
            args.batch_size or 16,
            args.dtype,
            args.rounds,
            bool(args.compare),
        )
    if args.part in ("all", "pipeline"):
        result |= _pipeline(args)
    if args.part == "train":
        from lipsync_jax.bench.train_step import bench_train

        result = bench_train(
            args.config,
            args.batch_size,
            args.dtype,
            args.steps,
            not args.no_sync,
            args.data,
            bool(args.compare),
        )
    if args.part == "loader":
        result = _loader(args)
    if args.json:
        print(json.dumps(result, indent=2))
        return
    for key, value in result.items():
        print(f"{key + ':':34}{value}")


def _loader(args: argparse.Namespace) -> dict:
    from lipsync_jax.bench.loader import bench_loader
    from lipsync_jax.errors import OptionError

    if args.data is None:
        raise OptionError("bench loader needs --data, a folder `lipsync build` printed")
    return bench_loader(
        Path(args.data),
        args.split,
        args.system,
        args.batch_size or 16,
        seconds=args.seconds,
    )


def _pipeline(args: argparse.Namespace) -> dict:
    import jax.numpy as jnp

    from lipsync_jax import models_io
    from lipsync_jax.bench.inputs import random_variables
    from lipsync_jax.bench.pipeline import bench_pipeline
    from lipsync_jax.errors import OptionError
    from lipsync_jax.inference.sync import SyncOptions
    from lipsync_jax.systems import SYNTHESIZERS

    module = models_io.build(args.network)
    system, _ = models_io.NETWORKS[args.network]
    if system not in SYNTHESIZERS:
        raise OptionError(f"network {args.network} draws no faces; choose a generator")
    synthesizer = SYNTHESIZERS[system](
        module,
        random_variables(module),
        batch_size=args.batch_size or 16,
        dtype=jnp.dtype(args.dtype),
    )
    options = SyncOptions(detector=args.detector)
    return bench_pipeline(synthesizer, args.face, args.seconds, options)
