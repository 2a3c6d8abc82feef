"""A detector that follows a script, and frames that carry their number."""

import numpy as np

from lipsync_jax.faces.face import Face

HEIGHT, WIDTH = 120, 400


def face(x, y=60.0, width=40.0, landmarks=None):
    """A face of aspect 1.3 around (x, y)."""
    half = np.array([width / 2, 0.65 * width])
    return Face(
        np.array([x - half[0], y - half[1], x + half[0], y + half[1]], np.float32),
        landmarks,
    )


def frames(count, shot_of=lambda index: 0):
    """`count` textured frames; frames of one shot differ by their number only."""
    for index in range(count):
        rng = np.random.default_rng(shot_of(index))
        image = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        image = image.repeat(8, 0).repeat(8, 1)
        image[0, 0] = index % 256, index // 256, 0
        yield image


class Script:
    """Sees in frame i the faces `script(i)`; `near` sees them all, as if close."""

    name = "script"

    def __init__(self, script):
        self.script = script
        self.looked = []
        self.searched = []

    def search(self, image):
        index = self._index(image)
        self.searched.append(index)
        return self.script(index)

    def near(self, image, box):
        index = self._index(image)
        self.looked.append(index)
        return self.script(index)

    def close(self):
        pass

    @staticmethod
    def _index(image):
        return int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])
