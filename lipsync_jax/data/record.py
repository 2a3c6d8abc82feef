"""From the bytes of a record to a clip, copying as little as possible.

TFDS's own reader turns every frame into an array element; here they stay inside the
parsed message until one is asked for.
"""

import math

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

from lipsync_jax.data.schema import LANDMARKS, MOUTH, Clip
from lipsync_jax.errors import DataError


class DamagedRecord(DataError):
    """A record that holds no usable clip."""


def parse(record: bytes) -> Clip:
    """The clip of one record.

    Args:
      record: as `schema.to_example` wrote it, serialised by TFDS.

    Returns:
      The clip; its arrays are read-only.

    Raises:
      DamagedRecord: the bytes are something else, or parts do not fit each other.
    """
    if not record:
        raise DamagedRecord("it is empty")
    try:
        fields = tf_example_pb2.Example.FromString(record).features.feature
        frames = fields["frames"].bytes_list.value
        clip = Clip(
            id=_text(fields["id"]),
            frames=frames,
            box=_array(fields["box"], np.float32, 4),
            landmarks=_array(fields["landmarks"], np.float32, LANDMARKS, 2),
            valid=_array(fields["valid"], np.uint8).astype(bool),
            fps=fields["fps"].float_list.value[0],
            audio=_array(fields["audio"], np.int16),
            speaker=_text(fields["speaker"]),
            label=fields["label"].int64_list.value[0],
            text=_text(fields["text"]),
            source=_text(fields["source"]),
            mouth=_array(fields["mouth"], np.float32, len(MOUTH)),
        )
    except (DecodeError, IndexError, ValueError) as error:
        raise DamagedRecord(f"it is no clip record ({error})") from None
    if not len(frames) == len(clip.valid) == len(clip.box):
        raise DamagedRecord(
            f"it has {len(frames)} frames, {len(clip.valid)} marks and "
            f"{len(clip.box)} boxes"
        )
    if not clip.fps > 0 or not math.isfinite(clip.fps):
        raise DamagedRecord(f"it has {clip.fps} frames per second")
    return clip


def _text(feature: tf_feature_pb2.Feature) -> str:
    return feature.bytes_list.value[0].decode()


def _array(feature: tf_feature_pb2.Feature, dtype: type, *shape: int) -> np.ndarray:
    return np.frombuffer(feature.bytes_list.value[0], dtype).reshape(-1, *shape)
