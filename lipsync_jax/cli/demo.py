"""Train on drawn talkers and lip-sync one, with no download; writes a report."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="two minutes instead of ten: shows that everything runs and learns a bit",
    )


def run(args: argparse.Namespace) -> None:
    """Runs the demo; prints the folder with report.html and result.mp4."""
    from lipsync_jax.demo.run import FULL, QUICK, run_demo

    run_demo(args.out, QUICK if args.quick else FULL)
    print(args.out)
