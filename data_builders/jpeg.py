"""Face crops as JPEG bytes."""

import numpy as np

from lipsync_jax.opencv import cv2

QUALITY = 95  # the original's


def encode(image: np.ndarray) -> bytes:
    """Encodes (H, W, 3) RGB uint8."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()


def decode(data: bytes) -> np.ndarray:
    """Decodes to (H, W, 3) RGB uint8."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
