"""What a worker does with a video."""

import atexit
import threading
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data_builders.av_sync import Aligner, open_aligner
from data_builders.clips import read_clips
from data_builders.settings import Settings
from data_builders.store import Outcome, Store
from data_builders.video import Rejection, Video
from lipsync_jax.errors import AudioError, FaceError, MediaError, OutputError
from lipsync_jax.faces.detect import make_detector
from lipsync_jax.faces.face import Detector


@dataclass(frozen=True)
class Work:
    """Turns a video into stored clips. Can be pickled.

    Attributes:
        settings: settled (see `settings.settle`).
        store: where the clips go.
    """

    settings: Settings
    store: Store

    def __call__(self, video: Video) -> Outcome:
        """Does it; that a video cannot be used is an outcome, too.

        Raises:
            OutputError: the store cannot be written.
            LipSyncError: detector or expert cannot be opened.
        """
        settings = self.settings
        detector = _detector(
            settings.detector, settings.landmarker, threading.get_ident()
        )
        align = _aligner(settings.expert, settings.max_offset, settings.min_confidence)
        try:
            return self.store.save(video, read_clips(video, settings, detector, align))
        except OutputError:
            raise
        except (MediaError, AudioError, FaceError) as error:
            reason, detail = "unreadable", str(error)
        except Exception:  # one odd file must not stop a build of a hundred thousand
            reason, detail = "failed", traceback.format_exc()
        return self.store.save(video, [Rejection(video.name, reason, detail)])

    def give_up(self, video: Video) -> Outcome:
        """Stores that a video brings down the process that reads it."""
        detail = "the process that read it died twice (out of memory, or a crash)"
        return self.store.save(video, [Rejection(video.name, "crash", detail)])


@cache
def _detector(kind: str, model: Path | None, thread: int) -> Detector:
    """Opened once in each thread of each worker, and closed when the worker ends."""
    detector, _ = make_detector(kind, model)
    atexit.register(detector.close)
    return detector


@cache
def _aligner(
    folder: Path | None, max_offset: int, min_confidence: float
) -> Aligner | None:
    if folder is None:
        return None
    return open_aligner(folder, max_offset, min_confidence)
