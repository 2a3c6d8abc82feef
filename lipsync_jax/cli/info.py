"""Describe a model folder or a media file."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("path", type=Path, help="model folder, video, image or audio")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Prints what is at the path."""
    rows = describe(args.path)
    if args.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for key, value in rows.items():
        print(f"{key + ':':16}{value}")


def describe(path: Path) -> dict[str, object]:
    """Facts about a model folder (its weights are checked) or a media file."""
    if path.is_dir() or not path.exists():
        from lipsync_jax import models_io

        model = models_io.load(path)
        return {"kind": "model", **model.metadata}

    from lipsync_jax.media.reader import probe

    info = probe(path)
    return {
        "kind": "image" if info.is_image else "video",
        "path": str(info.path),
        "size": f"{info.width}x{info.height}",
        "fps": str(info.fps),
        "duration": info.duration,
        "frames": info.frame_count,
        "rotation": info.rotation,
        "codec": info.codec,
        "audio": info.has_audio,
    }
