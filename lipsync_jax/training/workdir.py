"""The folder of one run: whose it is, and what a killed process left behind."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lipsync_jax.errors import ConfigError, OutputError

# What may differ when a run goes on: how long, how watched, on which machines. The
# data may be mounted elsewhere there.
MAY_CHANGE = {
    "data.directory",
    "steps",
    "log_every",
    "eval_every",
    "eval_batches",
    "save_every",
    "keep",
    "profile",
    "threads",
    "mesh.fsdp",
}

# Temporary names: of `write`, and of `models_io.save`.
_LEFTOVERS = (".*.part", "samples/.*.part", ".model*.*", ".best*.*")


def check(workdir: Path, config: ConfigDict) -> None:
    """Refuses a folder in which another configuration was trained.

    Raises:
      ConfigError: names the first keys that differ.
      OutputError: the folder's configuration cannot be read.
    """
    path = workdir / "config.json"
    if not path.exists():
        return
    try:
        before = flat(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read: {error}") from None
    now = flat(as_json(config))
    missing = object()
    changed = [
        key
        for key in sorted(before.keys() | now.keys())
        if key not in MAY_CHANGE and before.get(key, missing) != now.get(key, missing)
    ]
    if changed:
        shown = ", ".join(
            f"{key} was {before.get(key, 'absent')!r}, is {now.get(key, 'absent')!r}"
            for key in changed[:3]
        )
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise ConfigError(
            f"{workdir}: holds a run of another configuration ({shown}{more}); "
            "choose another --workdir or set these back"
        )


def claim(workdir: Path, config: ConfigDict) -> None:
    """Writes config.json, and removes what a killed process left half-written.

    Raises:
      OutputError: the folder cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        for pattern in _LEFTOVERS:
            for path in workdir.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        write(workdir / "config.json", json.dumps(as_json(config), indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{workdir}: cannot be written: {error.strerror}") from None


def as_json(config: ConfigDict) -> dict[str, Any]:
    """The configuration as JSON values; what is not one, as text."""
    return json.loads(json.dumps(config.to_dict(), default=str))


def write(path: Path, content: str | bytes) -> None:
    """Writes a file that appears whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots."""
    result = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
