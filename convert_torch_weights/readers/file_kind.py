"""Tells what a file is that is no checkpoint.

Most failed conversions are failed downloads: a web page, a pointer, nothing at all,
or the file of another framework.
"""

import re
from pathlib import Path

from lipsync_jax.errors import CheckpointError

_TENSORFLOW_TABLE_END = bytes.fromhex("57fb808b247547db")
_TENSORFLOW_DATA_NAME = re.compile(r"\.data-\d{5}-of-\d{5}$")


def refuse_other_kinds(path: Path) -> None:
    """Raises CheckpointError when the file is recognisably something else."""
    if not path.exists():
        raise CheckpointError("there is no such file")
    if path.is_dir():
        raise CheckpointError(
            "is a folder; expected a checkpoint file. If your browser unpacked a "
            "downloaded checkpoint, download it without unpacking"
        )
    if not path.is_file():
        raise CheckpointError(
            "is not a regular file; save the checkpoint to disk first"
        )
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1024)
        file.seek(max(0, size - len(_TENSORFLOW_TABLE_END)))
        tail = file.read()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()

    if size == 0:
        raise CheckpointError("is empty; download it again")
    if text.startswith(b"<"):
        raise CheckpointError(
            "is a web page, not a checkpoint: the download link answered with a page "
            f"of {size} bytes. Open the link in a browser and save the file it offers"
        )
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            "is a Git LFS pointer, not the checkpoint it stands for; run `git lfs "
            "pull` in its repository, or download the file itself"
        )
    if (
        tail == _TENSORFLOW_TABLE_END
        or text.startswith(b"model_checkpoint_path:")
        or _TENSORFLOW_DATA_NAME.search(path.name)
    ):
        raise CheckpointError(
            "is part of a TensorFlow checkpoint whose other files are not beside it; "
            "give one that has both X.index and X.data-00000-of-00001"
        )
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        raise CheckpointError(
            "is a safetensors file; expected a checkpoint written by torch.save"
        )
