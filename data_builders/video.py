"""What the parts of this package hand to each other."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Video:
    """A file of a dataset and what its lists say about it.

    Attributes:
        path: of the file.
        name: its path below the source folder, with "/"; unique within the dataset.
        split: "train", "validation", …; "" where it depends on the speaker.
        speaker, label, text: see `data.schema.Clip`.
    """

    path: Path
    name: str
    split: str = ""
    speaker: str = ""
    label: int = -1
    text: str = ""

    @property
    def id(self) -> str:
        """The name as a file name."""
        return self.name.replace("/", "_")


@dataclass(frozen=True)
class Rejection:
    """A stretch of a video that becomes no clip.

    Attributes:
        video: its name.
        reason: a few words, the same for all of a kind.
        detail: about this one.
        start, stop: in seconds; None for the whole video.
    """

    video: str
    reason: str
    detail: str = ""
    start: float | None = None
    stop: float | None = None


@dataclass(frozen=True)
class Moved:
    """A clip whose sound was moved by whole frames to fit the mouth."""

    clip: str
    frames: int


class Unusable(Exception):
    """A clip that breaks a rule. Caught where clips are made; see `Rejection`."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
