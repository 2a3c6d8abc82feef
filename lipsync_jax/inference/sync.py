"""`lipsync sync`: a face and speech in, a lip-synced video out."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np

from lipsync_jax import assets
from lipsync_jax.audio.load import stream_audio
from lipsync_jax.errors import AssetError, AudioError, FaceError, MediaError
from lipsync_jax.faces.aligned import align
from lipsync_jax.faces.detect import FixedBox, make_detector
from lipsync_jax.faces.face import Detector
from lipsync_jax.faces.track import TrackedFrame, track
from lipsync_jax.inference.driver import driving_faces
from lipsync_jax.inference.prefetch import prefetch
from lipsync_jax.inference.redraw import composite, redraw
from lipsync_jax.inference.source import Transform, frames_of, play
from lipsync_jax.media.images import FrameFolder, is_image
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.media.writer import VideoWriter

Progress = Callable[[int, int], None]  # frames written, frames in all

QUIET = 1e-3  # peak amplitude under which speech is called silent (-60 dBFS)


@dataclass(frozen=True)
class SyncOptions:
    """What a user can choose; the defaults are the command line's.

    Attributes:
      pads: top, bottom, left, right, added around the detected box in pixels.
      box: top, bottom, left, right of a fixed box instead of detection.
      smoothing: "gaussian", "original" or "none", of boxes over time.
      transform: resize, rotation and crop of video frames.
      static: use the first frame only.
      fps: frames per second when the face is a still image.
      detector: "auto", "mediapipe" or "haar".
      landmarker: path of face_landmarker.task; None looks in the cache.
      speaker: which face: "largest", "left", "right", an index or "x,y".
      blend: "feather", or "hard" for the original's rectangle.
      on_no_face: "pass" leaves such frames as they are, "error" stops.
      loop: "restart" or "pingpong" when the speech is longer than the video.
      mel_shift: frames by which the windows of speech are moved.
      crf: x264 quality.
      preset: x264's trade of speed for file size.
      lossless: exact pixels instead.
      frames_out: folder for the output frames as PNG files.
    """

    pads: tuple[int, int, int, int] = (0, 10, 0, 0)
    box: tuple[int, int, int, int] | None = None
    smoothing: str = "gaussian"
    transform: Transform = field(default_factory=Transform)
    static: bool = False
    fps: float = 25.0
    detector: str = "auto"
    landmarker: Path | None = None
    speaker: str = "largest"
    blend: str = "feather"
    on_no_face: str = "pass"
    loop: str = "restart"
    mel_shift: int = 0
    crf: int = 18
    preset: str = "ultrafast"
    lossless: bool = False
    frames_out: Path | None = None


@dataclass(frozen=True)
class SyncReport:
    """What a run did.

    Attributes:
      out: the video written.
      frames: how many frames it has.
      fps: frames per second of it.
      no_face: (first, last) of each run of output frames without a face.
      notes: what the user should know, a sentence each.
    """

    out: Path
    frames: int
    fps: float
    no_face: list[tuple[int, int]]
    notes: list[str]


def sync(
    synthesizer,
    face: str | os.PathLike,
    audio: str | os.PathLike,
    out: str | os.PathLike,
    options: SyncOptions | None = None,
    progress: Progress | None = None,
) -> SyncReport:
    """Makes the face say the audio.

    Decoding with detection, the network, and blending with encoding each run in a
    thread of their own, joined by short queues.

    Args:
      synthesizer: a compiled network (`lipsync_jax.systems.SYNTHESIZERS`).
      face: video or still image.
      audio: any file with an audio stream.
      out: MP4 to write; it appears when it is complete.
      options: see `SyncOptions`.
      progress: called with (frames written, frames in all).

    Raises:
      LipSyncError: any input that cannot be used; nothing is left under `out`.
    """
    options = options or SyncOptions()
    audio = Path(audio)
    reader = _open_face(Path(face), options)
    fps = float(reader.info.fps)
    samples, peak = _measure(audio, synthesizer.sample_rate)
    count = synthesizer.frame_count(samples, fps)
    if count == 0:
        raise AudioError(
            f"{audio}: {samples / synthesizer.sample_rate:.2f} s of sound is too "
            f"short; this network needs at least {synthesizer.min_seconds:g} s"
        )
    sound = stream_audio(audio, synthesizer.sample_rate)
    windows = synthesizer.windows(sound, fps, options.mel_shift)
    report = _write(
        synthesizer, reader, windows, count, audio, Path(out), options, progress
    )
    if peak < QUIET:
        note = f"{audio}: is silent throughout; the mouth will hardly move"
        report.notes.append(note)
    return report


def sync_to_video(
    synthesizer,
    face: str | os.PathLike,
    driver: str | os.PathLike,
    out: str | os.PathLike,
    options: SyncOptions | None = None,
    progress: Progress | None = None,
    audio: str | os.PathLike | None = None,
) -> SyncReport:
    """Makes the face say what another face says.

    The result is as long as the driver.

    Args:
      synthesizer: a compiled network (`lipsync_jax.systems.VIDEO_SYNTHESIZERS`).
      face, out, options, progress: as for `sync`.
      driver: video of the other face; see `driver.driving_faces`.
      audio: sound track of the result; None for the driver's own, if it has one.

    Raises:
      LipSyncError: any input that cannot be used; nothing is left under `out`.
    """
    options = options or SyncOptions()
    reader = _open_face(Path(face), options)
    watched = VideoReader(driver, fps=reader.info.fps)
    if watched.info.is_image:
        raise MediaError(f"{driver}: is a still image; a driver has to be a video")
    if audio is None and watched.info.has_audio:
        audio = driver
    count = sum(1 for _ in watched.frames())
    size = watched.info.width, watched.info.height
    # The two videos are looked at in different threads.
    detector, _ = find_faces(replace(options, box=None), size)
    with closing(detector):
        faces = driving_faces(watched, detector, synthesizer.size)
        with closing(prefetch(faces, synthesizer.batch_size)) as faces:
            return _write(
                synthesizer, reader, faces, count, audio, Path(out), options, progress
            )


def _open_face(face: Path, options: SyncOptions) -> VideoReader:
    still_rate = Fraction(options.fps).limit_denominator(1001)
    return VideoReader(face, fps=still_rate if is_image(face) else None)


def _write(
    synthesizer,
    reader: VideoReader,
    windows: Iterable[np.ndarray],
    count: int,
    audio: str | os.PathLike | None,
    out: Path,
    options: SyncOptions,
    progress: Progress | None,
) -> SyncReport:
    """Redraws `count` frames, each with what drives it, and writes them."""
    face, fps = reader.info.path, reader.info.fps
    transform = Transform() if reader.info.is_image else options.transform
    size = transform.size(reader.info.width, reader.info.height)
    detector, reason = find_faces(options, size)
    notes = [reason]

    def look(images: Iterable[np.ndarray]) -> Iterator[TrackedFrame]:
        frames = track(
            images,
            detector,
            pads=options.pads,
            smoothing=options.smoothing,
            speaker=options.speaker,
            # The original looks at every frame, so its smoothing must, too.
            every=3 if options.smoothing == "gaussian" else 1,
        )
        return align(frames) if synthesizer.aligned else frames

    faceless: list[int] = []
    with ExitStack() as stack:
        if not isinstance(detector, FixedBox):
            stack.enter_context(closing(detector))
        writer = stack.enter_context(
            VideoWriter(
                out,
                *size,
                fps,
                audio=audio,
                crf=options.crf,
                preset=options.preset,
                lossless=options.lossless,
            )
        )
        pictures = FrameFolder(options.frames_out) if options.frames_out else None
        read = frames_of(reader, transform)
        if options.static:
            read = _first_only(read)
        tracked = play(read, count, look, options.loop)
        ahead = synthesizer.batch_size
        tracked = stack.enter_context(closing(prefetch(tracked, ahead)))
        drawn = redraw(tracked, windows, synthesizer)
        drawn = stack.enter_context(closing(prefetch(drawn, ahead)))
        for index, item in enumerate(drawn):
            if item.patch is None:
                faceless.append(index)
                if options.on_no_face == "error":
                    raise FaceError(_no_face(face, index, float(fps)))
            image = composite(item, options.blend)
            writer.write(image)
            if pictures is not None:
                pictures.write(image)
            if progress is not None:
                progress(index + 1, count)
        if len(faceless) == count:
            raise FaceError(
                f"{face}: no face in any of {count} frames; check --rotate and "
                "--resize_factor, try another --detector, or give --box top bottom "
                "left right"
            )
    ranges = _ranges(faceless)
    if ranges:
        listed = ", ".join(f"{a}-{b}" if a < b else str(a) for a, b in ranges[:5])
        more = f" and {len(ranges) - 5} more ranges" if len(ranges) > 5 else ""
        notes.append(
            f"no face in {len(faceless)} of {count} frames ({listed}{more}); "
            "they were left as they are"
        )
    return SyncReport(out, count, float(fps), ranges, notes)


def _measure(audio: Path, sample_rate: int) -> tuple[int, float]:
    """Samples and peak amplitude of an audio file: one quick pass before the work."""
    samples, peak = 0, 0.0
    for block in stream_audio(audio, sample_rate):
        samples += block.size
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
    return samples, peak


def find_faces(
    options: SyncOptions, size: tuple[int, int]
) -> tuple[Detector | FixedBox, str]:
    """The detector that the options ask for, and a note saying which and why.

    Args:
      options: `box`, `detector` and `landmarker` matter.
      size: width and height of the frames.
    """
    if options.box is not None:
        box = FixedBox(*options.box)
        box.within(size[1], size[0])  # wrong before anything is opened
        return box, f"faces: the box {box}"
    model, missing = options.landmarker, ""
    if model is None and options.detector != "haar":
        try:
            model = assets.find("face_landmarker") or assets.fetch("face_landmarker")
        except AssetError as error:
            if options.detector == "mediapipe":
                raise
            missing = f" ({error})"
    detector, reason = make_detector(options.detector, model)
    return detector, f"faces: {reason}{missing}"


def _first_only(read: Callable) -> Callable:
    """A clip of which only the first frame exists."""

    def first(start: int, stop: int | None) -> Iterator[np.ndarray]:
        return read(start, 1)

    return first


def _no_face(face: Path, index: int, fps: float) -> str:
    return (
        f"{face}: no face in output frame {index} ({index / fps:.2f} s); pass "
        "--on_no_face pass to leave such frames as they are, or --box top bottom "
        "left right"
    )


def _ranges(indices: list[int]) -> list[tuple[int, int]]:
    """[2, 3, 4, 9] -> [(2, 4), (9, 9)]."""
    runs = groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0])
    return [(run[0][1], run[-1][1]) for run in (list(group) for _, group in runs)]
