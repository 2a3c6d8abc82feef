"""Download the files that some features need, once."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("asset", nargs="?", help="which file; lists them if omitted")
    parser.add_argument(
        "--from", dest="source", type=Path, help="take a local copy; no download"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Fetches one asset, or lists what there is and what is in the cache."""
    from lipsync_jax import assets
    from lipsync_jax.errors import OptionError

    if args.asset is None:
        rows = [
            {
                "asset": name,
                "path": str(assets.cache_dir() / asset.file),
                "present": assets.find(name) is not None,
                "purpose": asset.purpose,
                "licence": asset.licence,
                "url": asset.url,
                "sha256": asset.sha256,
            }
            for name, asset in assets.ASSETS.items()
        ]
        if args.json:
            print(json.dumps(rows, indent=2))
        for row in rows if not args.json else ():
            state = "in the cache" if row["present"] else "not fetched"
            print(f"{row['asset']}: {row['purpose']}; {state}: {row['path']}")
        return
    if args.asset not in assets.ASSETS:
        raise OptionError(
            f"no asset {args.asset!r}; there are: {', '.join(assets.ASSETS)}"
        )
    path = assets.fetch(args.asset, args.source)
    print(json.dumps({"asset": args.asset, "path": str(path)}) if args.json else path)
