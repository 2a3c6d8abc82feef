"""Files that are downloaded once: where they are, and how they get there."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lipsync_jax.checksum import sha256
from lipsync_jax.errors import AssetError


@dataclass(frozen=True)
class Asset:
    """A file of fixed content.

    Attributes:
      file: its name in the cache.
      url: where its publisher offers it.
      sha256: hex digest of the only content accepted.
      licence: its terms.
      purpose: what it is for.
    """

    file: str
    url: str
    sha256: str
    licence: str
    purpose: str


ASSETS = {
    "face_landmarker": Asset(
        "face_landmarker.task",
        "https://storage.googleapis.com/mediapipe-models/face_landmarker/"
        "face_landmarker/float16/1/face_landmarker.task",
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        "Apache-2.0 (Google)",
        "face detection and landmarks (--detector mediapipe)",
    )
}


def cache_dir() -> Path:
    """`$LIPSYNC_CACHE`, or the user's cache folder."""
    if folder := os.environ.get("LIPSYNC_CACHE"):
        return Path(folder).expanduser()
    import pooch

    return Path(pooch.os_cache("lipsync_jax"))


def find(name: str) -> Path | None:
    """The asset in the cache, or None when it was never fetched.

    Raises:
      AssetError: the cached file is damaged.
    """
    asset = ASSETS[name]
    path = cache_dir() / asset.file
    if not path.is_file():
        return None
    if sha256(path) != asset.sha256:
        raise AssetError(
            f"{path}: damaged (checksum differs); delete it and run: "
            f"lipsync fetch {name}"
        )
    return path


def fetch(name: str, source: Path | None = None) -> Path:
    """Puts an asset into the cache, by download or from a local file.

    Args:
      name: key of `ASSETS`.
      source: a copy obtained by other means; checked like a download.

    Raises:
      AssetError: no network, or content that is not the asset's.
    """
    import pooch

    asset = ASSETS[name]
    path = cache_dir() / asset.file
    if source is None:
        pooch.get_logger().setLevel("WARNING")
        try:
            pooch.retrieve(
                asset.url,
                known_hash=f"sha256:{asset.sha256}",
                fname=asset.file,
                path=path.parent,
            )
        except Exception as error:  # requests, urllib and OS errors alike
            raise AssetError(
                f"{name}: cannot download {asset.url} ({type(error).__name__}); get "
                f"the file elsewhere and run: lipsync fetch {name} --from FILE"
            ) from None
        return path
    if not source.is_file():
        raise AssetError(f"{source}: no such file")
    if sha256(source) != asset.sha256:
        raise AssetError(
            f"{source}: is not {asset.file} (sha256 must be {asset.sha256})"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    os.close(handle)
    shutil.copyfile(source, temporary)
    os.replace(temporary, path)
    return path
