"""What a clip is: the choices that change a prepared dataset's content."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lipsync_jax import assets
from lipsync_jax.data.schema import FPS
from lipsync_jax.errors import AssetError, OptionError
from lipsync_jax.faces.detect import make_detector


@dataclass(frozen=True)
class Settings:
    """How videos become clips.

    Attributes:
        size: side of the square crops in pixels.
        min_seconds: length of the shortest clip.
        max_seconds: length of the longest clip; does not matter with `whole`.
        min_faces: least share of a clip's frames that show the face.
        whole: each video is one clip, cuts and gaps included, as in datasets whose
            lists and texts are about whole files.
        detector: "auto", "mediapipe" or "haar".
        landmarker: MediaPipe's `face_landmarker.task`; None looks in the cache.
        expert: model folder of a sync expert that checks and mends the sound's
            offset; None leaves sound and mouth as they are.
        max_offset: largest offset that is mended, in frames.
        min_confidence: least confidence of the measured offset.

    Raises:
        OptionError: a value that makes no sense.
    """

    size: int = 160
    min_seconds: float = 1.0
    max_seconds: float = 10.0
    min_faces: float = 0.5
    whole: bool = False
    detector: str = "auto"
    landmarker: Path | None = None
    expert: Path | None = None
    max_offset: int = 10
    min_confidence: float = 0.0

    def __post_init__(self):
        if not 32 <= self.size <= 1024:
            raise OptionError(f"size {self.size}: must be between 32 and 1024 pixels")
        if self.min_seconds <= 0:
            raise OptionError(f"min_seconds {self.min_seconds:g}: must be positive")
        if self.max_seconds < self.min_seconds:
            raise OptionError(
                f"max_seconds {self.max_seconds:g}: must not be below min_seconds "
                f"{self.min_seconds:g}"
            )

    @property
    def min_frames(self) -> int:
        """Frames of the shortest clip."""
        return max(1, round(self.min_seconds * FPS))

    @property
    def max_frames(self) -> int:
        """Frames of the longest clip."""
        return max(self.min_frames, round(self.max_seconds * FPS))

    def identity(self) -> dict[str, object]:
        """The values as JSON, to tell datasets apart; call on settled settings.

        Raises:
            ModelError: there is no model at `expert`.
        """
        values = asdict(self)
        del values["landmarker"]
        if self.expert is not None:
            from lipsync_jax import models_io

            values["expert"] = models_io.describe(self.expert)["weights_sha256"]
        return values


def settle(settings: Settings) -> tuple[Settings, str]:
    """Replaces "auto" by the detector there is, so that all workers use the same.

    Returns:
        Settings with that detector, and a sentence that says which it is and why.

    Raises:
        AssetError, EnvironmentProblem, OptionError: the detector cannot be opened.
    """
    model, missing = settings.landmarker, ""
    if model is None and settings.detector != "haar":
        try:
            model = assets.find("face_landmarker") or assets.fetch("face_landmarker")
        except AssetError as error:
            if settings.detector == "mediapipe":
                raise
            missing = f" ({error})"
    detector, reason = make_detector(settings.detector, model)
    detector.close()
    settled = replace(settings, detector=detector.name, landmarker=model)
    return settled, f"faces: {reason}{missing}"
