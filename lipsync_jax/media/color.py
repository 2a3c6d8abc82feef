"""Between the YUV of video files and RGB, by the matrix and range a file states.

swscale's fast YUV -> RGB darkens a picture by one level, and its exact one is several
times slower than what is done here: one affine map per pixel, exact to rounding.
Chroma is repeated on the way in and averaged on the way out, so that the chroma of
untouched pixels survives a decode and an encode unchanged.
"""

import functools

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc, VideoReformatter

from lipsync_jax.opencv import cv2

# Code points of ITU-T H.273 (FFmpeg's AVCOL_SPC_*).
RGB, BT709, BT601 = 0, 1, 6
_LUMA_WEIGHTS = {  # weight of red and of blue in luma
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    BT601: (0.299, 0.114),
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
}
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
_YUV420 = ("yuv420p", "yuvj420p", "yuva420p")


def usual_matrix(width: int, height: int) -> int:
    """The matrix players assume for a size: BT.709 from 720p on, else BT.601."""
    hd = max(width, height) >= 1280 or min(width, height) >= 720
    return BT709 if hd else BT601


@functools.cache
def rgb_to_yuv_map(matrix: int, full_range: bool) -> np.ndarray:
    """Affine map (3, 4) from (R, G, B, 1) to (Y, U, V), all in 0..255."""
    red, blue = _LUMA_WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    u = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    v = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    spans, offset = ((255, 255, 255), 0) if full_range else ((219, 224, 224), 16)
    scale = np.array(spans) / 255
    return np.column_stack([scale[:, None] * [luma, u, v], [offset, 128, 128]])


@functools.cache
def yuv_to_rgb_map(matrix: int, full_range: bool) -> np.ndarray:
    """Affine map (3, 4) from (Y, U, V, 1) to (R, G, B): the inverse."""
    forward = rgb_to_yuv_map(matrix, full_range)
    linear = np.linalg.inv(forward[:, :3])
    return np.column_stack([linear, -linear @ forward[:, 3]])


class RGBConverter:
    """Converts decoded frames to RGB, scaled if they have another size.

    Alpha is dropped. HDR (PQ, HLG) is mapped to standard dynamic range with diffuse
    white at white; 10 bits become 8. Keeps its work space, because large new arrays
    cost more than the arithmetic.
    """

    def __init__(self, width: int, height: int):
        self._size = (width, height)
        self._reformatter = VideoReformatter()
        self._chroma = np.empty((2, height, width), np.uint8)
        self._yuv = np.empty((height, width, 3), np.uint8)

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Returns (height, width, 3) RGB uint8, contiguous, owned by the caller."""
        # swscale refuses frames whose matrix it does not know.
        if frame.format.is_rgb or frame.format.has_palette:
            frame.colorspace = RGB
        elif frame.colorspace not in _LUMA_WEIGHTS:  # most often: not stated
            frame.colorspace = usual_matrix(frame.width, frame.height)
        if frame.color_trc in _HDR:
            frame = self._reformat(
                frame,
                "rgb24",
                dst_color_trc=ColorTrc.BT709,
                dst_color_primaries=ColorPrimaries.BT709,
            )
        if frame.format.is_rgb or frame.format.has_palette:
            # Copied: rows may be padded, and the memory may be the decoder's.
            return self._reformat(frame, "rgb24").to_ndarray().copy()

        full_range = frame.color_range == ColorRange.JPEG or (
            frame.format.name.startswith("yuvj")
        )
        matrix = frame.colorspace
        if frame.format.name not in _YUV420 or (
            (frame.width, frame.height) != self._size
        ):
            frame = self._reformat(frame, "yuv444p")
        luma, u, v = (_pixels(plane) for plane in frame.planes[:3])
        for plane, full in zip((u, v), self._chroma, strict=True):
            cv2.resize(plane, self._size, full, interpolation=cv2.INTER_NEAREST)
        cv2.merge([luma, *self._chroma], self._yuv)
        return cv2.transform(self._yuv, yuv_to_rgb_map(matrix, full_range))

    def _reformat(self, frame: av.VideoFrame, format: str, **target) -> av.VideoFrame:
        width, height = self._size
        return self._reformatter.reformat(
            frame, width=width, height=height, format=format, **target
        )


class YUV420Converter:
    """Converts RGB arrays of one even size to limited-range 4:2:0 frames."""

    def __init__(self, width: int, height: int, matrix: int):
        self._shape = (height, width)
        self._map = rgb_to_yuv_map(matrix, full_range=False)
        self._yuv = np.empty((height, width, 3), np.uint8)
        self._chroma = np.empty((2, height, width), np.uint8)

    def __call__(self, rgb: np.ndarray) -> av.VideoFrame:
        """Converts (height, width, 3) RGB uint8."""
        height, width = self._shape
        # Into the frame's own memory: PyAV 18.1 takes arrays for frames of another
        # height where half of it is odd.
        frame = av.VideoFrame(width, height, "yuv420p")
        luma, *halves = (_pixels(plane) for plane in frame.planes)
        cv2.transform(rgb, self._map, self._yuv)
        cv2.split(self._yuv, [luma, *self._chroma])
        for full, half in zip(self._chroma, halves, strict=True):
            cv2.resize(full, half.shape[::-1], half, interpolation=cv2.INTER_AREA)
        return frame


def _pixels(plane: av.video.plane.VideoPlane) -> np.ndarray:
    """A plane's own samples, without the padding of its rows."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]
