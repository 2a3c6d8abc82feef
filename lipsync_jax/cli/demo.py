"""Run the whole chain on a drawn clip, with no download."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the clip")


def run(args: argparse.Namespace) -> int:
    """Checkpoint file -> converter -> drawn clip -> synced video."""
    from lipsync_jax.cli.main import main
    from lipsync_jax.demo.checkpoint import write_untrained
    from lipsync_jax.demo.clip import write_clip
    from lipsync_jax.errors import OutputError

    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{args.out}: cannot be created: {error.strerror}") from None
    checkpoint, model = args.out / "untrained.pth", args.out / "model"

    _say("1/4 a checkpoint in the published layout, with random weights")
    write_untrained(checkpoint)
    _say(f"2/4 lipsync convert {checkpoint} --out {model}")
    if code := main(["convert", str(checkpoint), "--out", str(model)]):
        return code
    _say("3/4 a drawn speaker, and other words for her")
    video, speech = write_clip(args.out, args.seconds)
    command = ["sync", "--model", str(model), "--face", str(video)]
    command += ["--audio", str(speech), "--out", str(args.out / "synced.mp4")]
    _say(f"4/4 lipsync {' '.join(command)}")
    code = main(command)
    _say(
        "The weights are random, so the mouth is a grey patch. The chain is the point."
    )
    return code


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
