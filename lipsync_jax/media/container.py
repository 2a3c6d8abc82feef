"""Opening media files: which are accepted, and what is wrong with the others."""

import contextlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition

from lipsync_jax.errors import MediaError

# Only real containers, and only the file itself. Play lists (HLS, concat, DASH) name
# other files or URLs, which a hostile input could use to read or fetch them; FFmpeg
# would also draw a plain text file as "ANSI art".
_DEMUXERS = (
    "mov,matroska,avi,flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,asf,rm,mxf,nut,"
    "dv,gif,apng,yuv4mpegpipe,ogg,wav,w64,mp3,aac,loas,flac,aiff,au,caf,amr,ac3,eac3,"
    "dts,ape,wv,tta,voc"
)
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}

# Containers whose header states how long the content is. Elsewhere FFmpeg estimates
# the duration from the file size, so a missing end cannot be seen.
_STATES_DURATION = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv", "flac"}
_MISSING_END = 0.5  # seconds: headers round, and count a long last frame

_BACKWARD, _FORWARD = -1, 3600  # plausible steps from frame to frame, in seconds


def open_media(path: Path | str) -> InputContainer:
    """Opens a video or audio file for demuxing.

    Raises:
        MediaError: the file is absent, empty, incomplete or of no known format.
    """
    path = Path(path)
    if path.is_dir():
        raise MediaError(f"{path}: is a folder; give a video or audio file")
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror}") from None
    if not head:
        raise MediaError(f"{path}: is empty (0 bytes); download or copy it again")
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1"):
        raise MediaError(f"{path}: is a HEIC photo; save it as JPEG or PNG")
    try:
        # An absolute path cannot be mistaken for a protocol ("concat:…"). Tags in old
        # encodings must not stop a file from opening.
        return av.open(
            str(path.absolute()), options=_OPTIONS, metadata_errors="replace"
        )
    except av.FFmpegError:
        if head[4:8] == b"ftyp":
            problem = (
                "is an incomplete MP4: its index (the moov box) is missing or damaged; "
                "download or copy it again"
            )
        else:
            problem = (
                "is not a video or audio file in a known format, or its beginning is "
                "damaged; give for example MP4, MOV, MKV, WebM, AVI, WAV or MP3"
            )
        raise MediaError(f"{path}: {problem}") from None


def video_stream(container: InputContainer) -> av.VideoStream | None:
    """The moving picture of a file; cover art does not count."""
    return _preferred(
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    )


def audio_stream(container: InputContainer) -> av.AudioStream | None:
    """The sound track a player would choose."""
    return _preferred(container.streams.audio)


def _preferred(streams: Iterable[av.stream.Stream]) -> av.stream.Stream | None:
    """The first stream marked as default, or the first, of those with a decoder."""
    streams = [stream for stream in streams if stream.codec_context is not None]
    default = [s for s in streams if s.disposition & Disposition.default]
    return next(iter(default + streams), None)


def describe_streams(container: InputContainer) -> str:
    """What a file holds, for error messages: "video h264, audio aac"."""
    names = []
    for stream in container.streams:
        codec = stream.codec_context
        names.append(f"{stream.type} {codec.name if codec else 'of unknown codec'}")
    return ", ".join(names) or "nothing"


def start_time(container: InputContainer) -> Fraction:
    """Time stamp, in seconds, of the earliest stream: the file's time 0."""
    return Fraction(container.start_time or 0, av.time_base)


def decode(
    container: InputContainer, stream: av.stream.Stream
) -> Iterator[av.frame.Frame]:
    """Decodes one stream from the container's position to its end.

    Packets before the first frame may be undecodable: recordings of broadcasts start in
    the middle of a group of pictures, and so does decoding after a seek.

    Raises:
        MediaError: decoding breaks, or the file ends before its header says.
    """
    time = 0.0  # of the last frame
    started = False
    own_end = any_end = Fraction(0)  # of the packets read: this stream's, all streams'
    try:
        for packet in _packets(container):
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                any_end = max(any_end, end)
                if packet.stream is stream:
                    own_end = max(own_end, end)
            if packet.stream is not stream:
                continue
            if packet.is_corrupt and container.format.name in _STATES_DURATION:
                raise _damage(container, stream, time, "a packet is cut off")
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if started:
                    raise
                continue
            for frame in frames:
                started = True
                time = frame.time if frame.pts is not None else time
                yield frame
    except av.FFmpegError as error:
        raise _damage(container, stream, time, error.strerror) from None
    _check_end(container, stream, own_end, any_end)


def _packets(container: InputContainer) -> Iterator[av.Packet]:
    """All packets, then one to flush each decoder."""
    # PyAV, at the very end, trips over streams that appeared after the opening.
    with contextlib.suppress(IndexError):
        yield from container.demux()


def _damage(
    container: InputContainer, stream: av.stream.Stream, time: float, reason: str
) -> MediaError:
    return MediaError(
        f"{container.name}: is damaged: {stream.type} decodes up to {time:.2f} s only "
        f"({reason}); download or copy it again"
    )


def _check_end(
    container: InputContainer,
    stream: av.stream.Stream,
    own_end: Fraction,
    any_end: Fraction,
) -> None:
    """Raises MediaError if a header promised more than was read."""
    if container.format.name not in _STATES_DURATION:
        return
    if stream.duration is not None:
        start = (stream.start_time or 0) * stream.time_base
        declared, read = stream.duration * stream.time_base, own_end - start
    elif container.duration is not None:
        declared, read = Fraction(container.duration, av.time_base), any_end
    else:
        return
    if read < declared - _MISSING_END:
        raise MediaError(
            f"{container.name}: is incomplete: its header states {float(declared):.2f} "
            f"s of {stream.type}, the data ends at {float(read):.2f} s; "
            "download or copy it again"
        )


def check_time_step(path: str, before: Fraction, now: Fraction) -> None:
    """Raises MediaError where time stamps jump so far that time has no meaning."""
    if not _BACKWARD <= now - before <= _FORWARD:
        raise MediaError(
            f"{path}: its time stamps jump from {float(before):.2f} s to "
            f"{float(now):.2f} s; convert the file to MP4 first"
        )
